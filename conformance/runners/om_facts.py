"""What a measurement on a chip found, apart from the scores."""

from __future__ import annotations

from typing import Literal

import msgspec


class OmFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a measurement on a chip found, apart from the scores.

    Attributes:
        tool: The inference tool.
        method: Whether it ran the run's images or generated input.
        chip: The chip, as npu-smi calls it.
        rates_fps: Rate of the chip alone, images per second, one a round.
        spoiled: Why the timing decides nothing; empty if nothing speaks against it.
        notes: Oddities of the tool that are no errors.
        slowest_stage: The stage that limits the end-to-end rate.
        emulated: Whether anything bore the mark of an emulated board.
        om_sha256: Digest of the model.
    """

    tool: Literal["benchmark", "ais_bench"]
    method: Literal["dataset", "pure"]
    chip: str
    rates_fps: list[float]
    spoiled: str
    notes: list[str]
    slowest_stage: str
    emulated: bool
    om_sha256: str

    @property
    def fps(self) -> float:
        """Rate over all rounds, which count alike."""
        return len(self.rates_fps) / sum(1 / rate for rate in self.rates_fps)
