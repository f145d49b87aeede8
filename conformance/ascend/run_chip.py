"""The one chip that a whole run uses: chosen once, waited for, and looked at with each timing."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from filelock import FileLock

from conformance.ascend.chip_guard import ChipGuard
from conformance.ascend.devices import Device, choose_devices, require_usable
from conformance.ascend.locks import WAIT_S, MachineLocks
from conformance.ascend.npu_table import HOT_C, Chip, NpuTable
from conformance.ascend.occupancy import (
    ChipUse,
    NoFreeChipError,
    Occupancy,
    chip_use,
    first_idle,
    process_tree,
)
from conformance.errors import BoardError

# npu-smi lists a process for a moment after it has ended.
SETTLING_S = 2.0
LOOK_EVERY_S = 5.0


@dataclass(frozen=True)
class ChipChoice:
    """What a run chooses its chip from.

    Attributes:
        devices: Every chip that ACL sees.
        wanted: ACL ids of ``--chips=``; none leaves the choice to the run.
        agreed: The file in which workers of the run agree.
        say: Tells the user that the run waits, and for whom.
        wait_s: Seconds to wait for a chip that another suite leases.
    """

    devices: Sequence[Device]
    wanted: Sequence[int]
    agreed: Path
    say: Callable[[str], None]
    wait_s: float = WAIT_S


class RunChip:
    """The chip of a run.

    Args:
        read_table: Asks npu-smi; ``NpuSmi.table``.
        locks: The machine's locks.
        choice: What to choose from.
        root_pid: The process above all workers and tools of the run; default: this one.
    """

    def __init__(
        self,
        read_table: Callable[[], NpuTable],
        locks: MachineLocks,
        choice: ChipChoice,
        root_pid: int | None = None,
    ) -> None:
        self._read = read_table
        self._locks = locks
        self._choice = choice
        self._root_pid = root_pid or os.getpid()

    @cached_property
    def device(self) -> Device:
        """The chip that the whole run uses; its workers agree on it through the run's folder.

        One batch size on another chip than the next would mistake a bad chip for a bad batch size.
        A single chip of ``--chips=`` is used as it is; of several the first idle one that no other
        suite leases and no unkillable tool uses. Where there is none and another suite leases one
        of them, the run waits for it.

        Raises:
            BoardError: The wanted chip does not exist, no chip is healthy and idle, or another
                suite still leases it when the time to wait is over.
        """
        devices, wanted, agreed = self._choice.devices, self._choice.wanted, self._choice.agreed
        if wanted:
            devices = choose_devices(devices, wanted)
            if len(devices) == 1:
                return devices[0]
        agreed.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(agreed.with_suffix(".lock")):
            if agreed.exists():
                return choose_devices(devices, [json.loads(agreed.read_text("utf-8"))])[0]
            chosen = self._first_free(devices)
            agreed.write_text(json.dumps(chosen.acl_id), "utf-8")
        return chosen

    def _first_free(self, devices: Sequence[Device]) -> Device:
        """Return the first idle device that is free, waiting while another suite leases one."""
        limit, told = time.monotonic() + self._choice.wait_s, ""
        last_look = False
        while True:
            leased = self._leased(devices)
            holders = "; ".join(f"{device.chip} is {why}" for device, why in leased.items())
            taken, own = leased | self._unusable(devices), process_tree(self._root_pid)
            try:
                return first_idle(devices, self._read, taken=taken, own_pids=own)[0]
            except NoFreeChipError as error:
                if last_look and not holders:
                    raise
                if time.monotonic() >= limit:
                    raise self._still_leased(error) from None
            if holders and holders != told:
                self._choice.say(f"waiting for a chip, {self._at_most}: {holders}")
                told = holders
            last_look = not holders
            time.sleep(LOOK_EVERY_S if holders else SETTLING_S)

    @property
    def _at_most(self) -> str:
        return f"at most {self._choice.wait_s / 3600:.3g} h"

    def _still_leased(self, error: NoFreeChipError) -> BoardError:
        return BoardError(
            "no chip became free",
            got=error.got,
            expected=f"{error.expected}, after {self._at_most}",
            next_step="wait until the other suite has ended, or use other chips with --chips=",
        )

    def _leased(self, devices: Sequence[Device]) -> dict[Device, str]:
        """Name who leases the devices; one that nothing may run on is not worth a wait."""
        usable = [device for device in devices if device.chip.health.usable]
        usable = [device for device in usable if not self._locks.unusable(device.chip.key)]
        held = {device: self._locks.holder(device.chip.key) for device in usable}
        return {device: f"leased by {holder}" for device, holder in held.items() if holder}

    def _unusable(self, devices: Sequence[Device]) -> dict[Device, str]:
        """Tell which of the devices an unkillable tool uses."""
        errors = {device: self._locks.unusable(device.chip.key) for device in devices}
        return {device: f"{error.what}: {error.got}" for device, error in errors.items() if error}

    def spoils_timing(self) -> str:
        """Return why the chip cannot be timed right now; empty if nothing speaks against it.

        To be asked by whoever holds the chip, or another worker is taken for a stranger.

        Raises:
            BoardError: The chip is gone, or its health forbids its use.
        """
        chip, use = self._look()
        if use.occupancy is Occupancy.BUSY:
            time.sleep(SETTLING_S)
            chip, use = self._look()
        if not chip.health.fit_for_timing:
            return f"the chip's health is {chip.health}"
        if chip.hot:
            return f"hot chip: {chip.temperature_c:g} °C, it must stay below {HOT_C:g} °C"
        return "" if use.occupancy is Occupancy.IDLE else f"chip {use.occupancy}: {use.detail}"

    def _look(self) -> tuple[Chip, ChipUse]:
        """Ask npu-smi how the chip is now, and who uses it."""
        tables: list[NpuTable] = []

        def read() -> NpuTable:
            tables.append(self._read())
            return tables[-1]

        key = self.device.chip.key
        use = chip_use(read, key, own_pids=process_tree(self._root_pid))
        chip = next(chip for chip in tables[-1].chips if chip.key == key)
        require_usable(chip)
        return chip, use

    def guard(self) -> ChipGuard:
        """Return what looks after the chip when a tool on it had to be stopped."""
        return ChipGuard(self.device, self._locks, self._read)
