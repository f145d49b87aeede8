"""Look after a chip once a tool on it, or what it left behind, had to be stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from conformance.ascend.devices import Device, require_usable
from conformance.ascend.locks import MachineLocks
from conformance.ascend.npu_table import NpuTable
from conformance.ascend.tool_run import Run
from conformance.errors import BoardError

# Called with every run on a chip, before the run is judged.
AfterRun = Callable[[Run], None]


def nothing_to_do(_: Run) -> None:
    """For runs that use no chip."""


@dataclass(frozen=True)
class ChipGuard:
    """Called after a run on a chip; a good run costs nothing. A chip is never reset.

    Attributes:
        device: The leased chip.
        locks: The machine's locks: a chip with an unkillable tool is not leased again.
        read_table: Asks npu-smi; ``NpuSmi.table``.
    """

    device: Device
    locks: MachineLocks
    read_table: Callable[[], NpuTable]

    def __call__(self, result: Run) -> None:
        """Look at the chip after a run that was stopped, was killed or left processes behind.

        Raises:
            BoardError: The chip is gone or not healthy any more.
        """
        key = self.device.chip.key
        if result.survivors:
            self.locks.mark_unusable(key, result.survivors)
        if not (result.survivors or result.left_behind or result.timed_out or result.killed):
            return
        chips = {chip.key: chip for chip in self.read_table().chips}
        if key not in chips:
            raise BoardError(
                "the chip is gone after a tool on it was stopped",
                got="; ".join(map(str, chips.values())),
                expected=self.device.chip,
                where={"stopped": " ".join(result.argv), "log": result.stdout_path},
                next_step="restart the machine",
            )
        require_usable(chips[key])
