"""ACL's device ids: what ``--device`` means, mapped to the chips that npu-smi lists.

ACL numbers chips by their logical id, and ``ASCEND_RT_VISIBLE_DEVICES`` renumbers them from 0.
npu-smi does not honour that variable (CANN environment variable reference).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from conformance.ascend.board import PresentBoard
from conformance.ascend.npu_table import Chip
from conformance.ascend.socs import soc_version_of
from conformance.errors import BoardError

VISIBLE = "ASCEND_RT_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Device:
    """One chip under both its names.

    Attributes:
        acl_id: What the inference tools call it (``-device_id=``, ``--device``).
        logic_id: ACL's number before renumbering.
        chip: What npu-smi calls it.
        soc_version: ATC's name for it, None where npu-smi's is ambiguous.
    """

    acl_id: int
    logic_id: int
    chip: Chip
    soc_version: str | None


def acl_devices(board: PresentBoard, variables: Mapping[str, str]) -> tuple[Device, ...]:
    """Return every chip that ACL sees, by rising ACL id.

    Args:
        board: A board with chips.
        variables: The vendor environment's variables.

    Raises:
        BoardError: npu-smi gives two chips one id, or ``ASCEND_RT_VISIBLE_DEVICES`` is set and
            leaves no device.
    """
    by_logic_id = _by_logic_id(board)
    visible = _visible(sorted(by_logic_id), variables)
    return tuple(
        Device(acl_id, logic_id, chip := by_logic_id[logic_id], soc_version_of(chip.name))
        for acl_id, logic_id in enumerate(visible)
    )


def _by_logic_id(board: PresentBoard) -> dict[int, Chip]:
    """Number the chips: by npu-smi's own mapping, else its Device column, else by their order."""
    keys = {(mapped.npu, mapped.chip): mapped.logic_id for mapped in board.mapping}
    if all(chip.key in keys for chip in board.chips):
        return _each_its_own([(keys[chip.key], chip) for chip in board.chips], "Chip Logic ID")
    stated = [(chip.device, chip) for chip in board.chips if chip.device is not None]
    if len(stated) == len(board.chips):
        return _each_its_own(stated, "Device")
    return dict(enumerate(board.chips))


def _each_its_own(numbered: Sequence[tuple[int, Chip]], column: str) -> dict[int, Chip]:
    """Return the chips by their ids; two of one id would hide one of them.

    Raises:
        BoardError: Two chips have the same id. Which of them a tool would run on is not known.
    """
    counts = Counter(number for number, _ in numbered)
    if repeated := [f"{chip}: {number}" for number, chip in numbered if counts[number] > 1]:
        raise BoardError(
            f"npu-smi gives several chips the same id in its column {column}",
            got="; ".join(repeated),
            expected="an id of its own for each chip, by which an inference tool is told its chip",
            next_step="install a driver whose npu-smi tells them apart, or leave the chips of one "
            "card to this machine or container",
        )
    return dict(numbered)


def _visible(logic_ids: Sequence[int], variables: Mapping[str, str]) -> list[int]:
    """Apply the variable as CANN does: rising ids only, and it stops at the first bad one."""
    if VISIBLE not in variables:
        return list(logic_ids)
    visible: list[int] = []
    for word in variables[VISIBLE].split(","):
        good = word.isdecimal() and int(word) in logic_ids
        if not good or (visible and int(word) <= visible[-1]):
            break
        visible.append(int(word))
    if not visible:
        raise BoardError(
            f"{VISIBLE} leaves no device",
            got=repr(variables[VISIBLE]),
            expected=f"rising ids out of {list(logic_ids)}, joined by commas without blanks",
            next_step=f"unset {VISIBLE}, or correct it",
        )
    return visible


def choose_devices(devices: Sequence[Device], wanted: Sequence[int]) -> tuple[Device, ...]:
    """Return the wanted devices in the order in which they were wanted.

    Args:
        devices: What ACL sees.
        wanted: ACL ids.

    Raises:
        BoardError: One does not exist, or its health forbids its use.
    """
    by_id = {device.acl_id: device for device in devices}
    if unknown := [acl_id for acl_id in wanted if acl_id not in by_id]:
        raise BoardError(
            "a chip that was asked for does not exist",
            got=unknown,
            expected="; ".join(f"{d.acl_id} = {d.chip}" for d in devices),
            next_step="correct --chips=",
        )
    chosen = tuple(by_id[acl_id] for acl_id in wanted)
    for device in chosen:
        require_usable(device.chip)
    return chosen


def require_usable(chip: Chip) -> None:
    """Refuse a chip whose health forbids its use; a Warning only spoils its timing.

    Raises:
        BoardError: Health is Alarm, Critical or UNKNOWN.
    """
    if not chip.health.usable:
        raise BoardError(
            "chip is not healthy",
            got=chip.health,
            expected="OK",
            where={"chip": chip},
            next_step=f"see `npu-smi info -t health -i {chip.npu}`; use another chip with --chips=",
        )
