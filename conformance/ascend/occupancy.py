"""Is a chip idle? From npu-smi's process table, else from load and memory over some seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

import psutil

from conformance.ascend.devices import Device
from conformance.ascend.npu_table import Chip, NpuTable
from conformance.bounds import suite_bound
from conformance.errors import BoardError

SAMPLES = 5
BETWEEN_SAMPLES_S = 0.6
# A driver's own use of memory moves by less than this.
MEMORY_NOISE_PCT = suite_bound("chip.memory_noise_pct")


class NoFreeChipError(BoardError):
    """Every chip is in use or not healthy."""


class Occupancy(StrEnum):
    """Whether others use a chip."""

    IDLE = "idle"
    BUSY = "busy"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class ChipUse:
    """Whether a chip is used by others, and how that is known.

    Attributes:
        occupancy: Idle, busy or unknown; unknown makes a throughput inconclusive.
        detail: Processes, or the samples of load and memory.
    """

    occupancy: Occupancy
    detail: str


def chip_use(
    read_table: Callable[[], NpuTable],
    key: tuple[int, int],
    *,
    own_pids: Collection[int] = (),
    samples: int = SAMPLES,
    between_s: float = BETWEEN_SAMPLES_S,
) -> ChipUse:
    """Find out whether others use a chip.

    Args:
        read_table: Asks npu-smi; ``NpuSmi.table``.
        key: The chip's (NPU, chip).
        own_pids: Processes that do not count, because they are this suite's.
        samples: How often load and memory are looked at where there is no process table.
        between_s: Seconds between two looks.

    Raises:
        BoardError: npu-smi does not list the chip (any more).
    """
    table = read_table()
    _listed(table, key)
    if table.users is not None and key[0] in table.npus_spoken_of:
        on_it = [user for user in table.users if (user.npu, user.chip) == key]
        others = [f"{user.pid} {user.name}" for user in on_it if user.pid not in own_pids]
        if others:
            named = ", ".join(map(str.rstrip, others))
            return ChipUse(Occupancy.BUSY, f"processes: {named}")
        if on_it:  # the load is ours
            return ChipUse(Occupancy.IDLE, "no process on it but ours")
        return _without_process(read_table, key, _listed(table, key), samples, between_s)
    seen = [_listed(table, key)]
    for _ in range(samples - 1):
        time.sleep(between_s)
        seen.append(_listed(read_table(), key))
    return use_from_samples(seen)


def _without_process(
    read_table: Callable[[], NpuTable],
    key: tuple[int, int],
    chip: Chip,
    samples: int,
    between_s: float,
) -> ChipUse:
    """Judge a chip without a process: npu-smi does not name those of other containers.

    The load is an average of the last second or so, so it gets some time to fall to nothing.
    """
    loads = [chip.aicore_pct]
    while loads[-1] and len(loads) < samples:
        time.sleep(between_s)
        loads.append(_listed(read_table(), key).aicore_pct)
    if loads[-1]:
        return ChipUse(Occupancy.UNKNOWN, f"no process is named, but AICore load is {loads} %")
    return ChipUse(Occupancy.IDLE, "no process on it")


def first_idle(
    devices: Sequence[Device],
    read_table: Callable[[], NpuTable],
    *,
    taken: Mapping[Device, str] = MappingProxyType({}),
    own_pids: Collection[int] = (),
    between_s: float = BETWEEN_SAMPLES_S,
) -> tuple[Device, ChipUse]:
    """Return the first healthy device that nobody uses, else the first of which nothing is known.

    Args:
        devices: What ACL sees, by rising id.
        read_table: Asks npu-smi; ``NpuSmi.table``.
        taken: Devices that must be passed over, even if they are idle just now, each with why.
        own_pids: Processes that do not count, because they are this suite's.
        between_s: Seconds between two looks where there is no process table.

    Raises:
        NoFreeChipError: Every device is in use, taken or not healthy; says by whom and why.
    """
    found: list[tuple[Device, ChipUse]] = []
    for device in sorted(devices, key=lambda device: device in taken):
        if device.chip.health.usable:
            use = chip_use(read_table, device.chip.key, own_pids=own_pids, between_s=between_s)
            if use.occupancy is Occupancy.IDLE and device not in taken:
                return device, use
            found.append((device, use))
    for device, use in found:
        if use.occupancy is Occupancy.UNKNOWN and device not in taken:
            return device, use
    sick = [f"{d.chip}: {d.chip.health}" for d in devices if not d.chip.health.usable]
    used = [f"{d.chip}: {', '.join(filter(None, (use.detail, taken.get(d))))}" for d, use in found]
    raise NoFreeChipError(
        "no chip is free",
        got="; ".join([*sick, *used]),
        expected="a healthy chip without a process on it",
        next_step="end what runs there, or wait for it",
    )


def process_tree(root_pid: int) -> frozenset[int]:
    """Return a process and all below it; none if it is gone.

    Tools stay below the suite: their supervisor adopts what leaves its parent.
    """
    try:
        below = psutil.Process(root_pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return frozenset()
    return frozenset({root_pid, *(process.pid for process in below)})


def use_from_samples(seen: Sequence[Chip]) -> ChipUse:
    """Judge a chip by its AICore load and memory over some seconds.

    Any load, or memory that moves by more than 1 % of the total, is somebody's work. A 910 has its
    memory in the column HBM-Usage, and 0 of 0 in the other. Where npu-smi does not say the load,
    nothing is known: steady memory alone may be a model at rest.
    """
    loads = [chip.aicore_pct for chip in seen]
    memory, hbm = _stated(chip.memory_mb for chip in seen), _stated(chip.hbm_mb for chip in seen)
    detail = f"AICore load {loads} %, memory {[used for used, _ in memory or hbm]} MB"
    if memory and hbm:
        detail += f", HBM {[used for used, _ in hbm]} MB"
    if _moved(memory) or _moved(hbm) or any(loads):
        return ChipUse(Occupancy.BUSY, detail)
    if None in loads or max(len(memory), len(hbm)) < len(seen):
        return ChipUse(Occupancy.UNKNOWN, f"no process table and no full answer: {detail}")
    return ChipUse(Occupancy.IDLE, detail)


def _stated(pairs: Iterable[tuple[float, float] | None]) -> list[tuple[float, float]]:
    """Return (used, total) as far as npu-smi says it; 0 of 0 says nothing."""
    return [pair for pair in pairs if pair and pair[1]]


def _moved(memory: Sequence[tuple[float, float]]) -> bool:
    used = [used for used, _ in memory]
    total = max((total for _, total in memory), default=0.0)
    return total > 0 and 100 * (max(used) - min(used)) / total > MEMORY_NOISE_PCT


def _listed(table: NpuTable, key: tuple[int, int]) -> Chip:
    for chip in table.chips:
        if chip.key == key:
            return chip
    raise BoardError(
        "npu-smi does not list a chip that is in use",
        got="; ".join(map(str, table.chips)),
        expected=f"NPU {key[0]} chip {key[1]}",
        next_step="the chip fell off the bus: see the driver's log, and restart the machine",
    )
