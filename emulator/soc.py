"""The systems on chip that the emulator knows, read from socs.toml beside this file."""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

from emulator.tables import read_table


class Soc(NamedTuple):
    """What one system on chip looks like to npu-smi, and how fast it is.

    Attributes:
        version: Name as ATC takes it in ``--soc_version``.
        name: Name as npu-smi prints it.
        cann: Release of CANN that its published figures were measured with.
        driver: Driver release of that time.
        busses: PCI address of each chip.
        memory_mb: Used and total memory of an idle chip.
        power_w: Power as npu-smi prints it.
        process_table: Whether npu-smi lists processes.
        hugepages: Last figure of a chip's first row.
        name_width: Width of npu-smi's first column.
        tuned_gain: Device rate of a tuned model over that of an untuned one.
        fps: Device rate of one chip for SqueezeNet 1.1, untuned, by batch size.
    """

    version: str
    name: str
    cann: str
    driver: str
    busses: tuple[str, ...]
    memory_mb: tuple[int, int]
    power_w: str
    process_table: bool
    hugepages: str
    name_width: int
    tuned_gain: float
    fps: dict[int, float]

    def squeezenet_fps(self, batch: int) -> float:
        """Device rate at any batch size: published, or interpolated over log2 of the batch."""
        below = max((size for size in self.fps if size <= batch), default=min(self.fps))
        above = min((size for size in self.fps if size >= batch), default=max(self.fps))
        if below == above:
            return self.fps[below]
        share = math.log2(batch / below) / math.log2(above / below)
        return self.fps[below] + share * (self.fps[above] - self.fps[below])


@cache
def known_socs() -> dict[str, Soc]:
    """Every system on chip of socs.toml by its version name."""
    return {version: _soc(version, row) for version, row in read_table("socs").items()}


def _soc(version: str, row: dict[str, object]) -> Soc:
    fields = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
    fps = fields.pop("fps")
    assert isinstance(fps, dict)  # noqa: S101  the table above is ours; this narrows the type
    rates = {int(size): float(rate) for size, rate in fps.items()}
    return Soc(version=version, fps=rates, **fields)  # type: ignore[arg-type]  # the table is ours
