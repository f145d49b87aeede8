"""Is there a board? Absent, broken, or present with its chips; and what class of evidence it is."""

from __future__ import annotations

import grp
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from conformance.ascend.environment import VendorEnvironment
from conformance.ascend.lock_files import user_name
from conformance.ascend.locks import MachineLocks
from conformance.ascend.npu_lists import MappedChip
from conformance.ascend.npu_smi import LIMIT_S, Answer, NpuSmi
from conformance.ascend.npu_table import Chip, parse_npu_table
from conformance.ascend.presence import STANDARD_FOLDERS
from conformance.ascend.tools import path_folders, programs_named, remedy
from conformance.ascend.versions import VersionFact
from conformance.errors import BoardError

BoardClass = Literal["device", "unverified", "emulated", "none"]
DRIVER_REMEDY = (
    "load the driver, restart after an upgrade, run as root or as a member of the driver's group "
    "(HwHiAiUser), and give a container /dev/davinci*, /dev/davinci_manager, /dev/devmm_svm and "
    "/dev/hisi_hdc"
)
# (pattern in npu-smi's text, what to do), most telling first.
REMEDIES = (
    (r"-8020|device is used", "another container or process owns the chip: end it, or use another"),
    (r"-8005|DrvMng|dcmi mod", DRIVER_REMEDY),
    (r"[Pp]ermission denied", "run as root or as a member of the group of /dev/davinci*"),
    (r"cannot open shared object", "add /usr/local/Ascend/driver/lib64 to LD_LIBRARY_PATH"),
)


@dataclass(frozen=True)
class AbsentBoard:
    """Nothing of a board is here.

    Attributes:
        missing: What was looked for.
    """

    missing: tuple[str, ...]

    @property
    def detail(self) -> str:
        """What is missing and what would provide it, for the reason of a skip."""
        return (
            f"no {' and no '.join(self.missing)}: run on a machine with an Ascend board and its "
            "driver, or pass --board=emulated"
        )


@dataclass(frozen=True)
class BrokenBoard:
    """Something of a board is here, but no chip of it can be listed.

    Attributes:
        text: npu-smi's own words, or what is missing.
        found: What is here: npu-smi, device nodes.
        user: Who asked.
        groups: The groups that this user is in.
        remedy: What to do.
    """

    text: str
    found: tuple[str, ...]
    user: str
    groups: tuple[str, ...]
    remedy: str

    def error(self) -> BoardError:
        """Make the error that every test on this board ends with."""
        return BoardError(
            "a board is here, but none of its chips can be listed",
            got=self.text,
            expected="chips listed by `npu-smi info`",
            where={"found": ", ".join(self.found), "user": self.user}
            | {"groups": ", ".join(self.groups)},
            next_step=self.remedy,
        )


@dataclass(frozen=True)
class PresentBoard:
    """A board with chips.

    Attributes:
        npu_smi: The tool, for further questions.
        chips: Every chip that npu-smi lists.
        mapping: The logical ids of ``npu-smi info -m``, where it has them.
        device_nodes: ``/dev/davinci*``.
        npu_smi_version: Version in its banner.
        emulated: Whether npu-smi's text carries the mark of an emulated board.
        text: What ``npu-smi info`` printed.
    """

    npu_smi: NpuSmi
    chips: tuple[Chip, ...]
    mapping: tuple[MappedChip, ...]
    device_nodes: tuple[Path, ...]
    npu_smi_version: str | None
    emulated: bool
    text: str


Board = AbsentBoard | BrokenBoard | PresentBoard


def find_board(
    environment: VendorEnvironment,
    *,
    locks: MachineLocks | None = None,
    dev: Path = Path("/dev"),
    folders: Sequence[Path] = STANDARD_FOLDERS,
    limit_s: float = LIMIT_S,
) -> Board:
    """Find out whether there is a board, by its device nodes and by asking npu-smi once.

    Args:
        environment: The environment of vendor tools.
        locks: The machine's locks.
        dev: Where device nodes are.
        folders: Where npu-smi may be besides PATH.
        limit_s: Time limit of one call of npu-smi.
    """
    nodes = tuple(sorted(dev.glob("davinci*")))
    places = list(programs_named("npu-smi", [*path_folders(environment.path), *folders]))
    programs = [path.absolute() for path in places if os.access(path, os.X_OK)]
    found = tuple(map(str, (*(programs[:1] or places), *nodes)))
    if not found:
        return AbsentBoard(("npu-smi on PATH", f"{dev}/davinci*"))
    if not programs:
        return _without_npu_smi(places, found)
    npu_smi = NpuSmi(programs[0], environment, locks or MachineLocks(), limit_s)
    answer = npu_smi.ask("info")
    try:
        table = parse_npu_table(answer.text)
    except BoardError as error:
        return _broken(str(error), found, error.next_step)
    if answer.timed_out or not table.chips:
        return _broken(f"{answer.ending}: {answer.text.strip()}", found, _remedy(answer))
    return PresentBoard(
        npu_smi=npu_smi,
        chips=table.chips,
        mapping=npu_smi.mapping(),
        device_nodes=nodes,
        npu_smi_version=table.version,
        emulated=table.emulated,
        text=answer.text,
    )


def board_class(
    board: Board, versions: Sequence[VersionFact], *, marked: bool = False
) -> BoardClass:
    """Derive the class of evidence from facts, never from a flag.

    Args:
        board: What was found.
        versions: What the installed software states about itself.
        marked: Whether any tool or ``.om`` besides npu-smi carried the mark of an emulated board.
    """
    if isinstance(board, PresentBoard) and board.emulated:
        return "emulated"
    if marked:
        return "emulated"
    if not isinstance(board, PresentBoard):
        return "none"
    has_driver = any(fact.component == "driver" for fact in versions)
    has_chip_node = any(re.fullmatch(r"davinci\d+", node.name) for node in board.device_nodes)
    return "device" if has_chip_node and has_driver else "unverified"


def _without_npu_smi(lame: Sequence[Path], found: tuple[str, ...]) -> BrokenBoard:
    if lame:
        return _broken(f"{lame[0]} cannot be executed", found, remedy(lame[0]))
    mount = "install the driver, or mount /usr/local/bin/npu-smi into the container"
    return _broken("npu-smi is missing", found, mount)


def _remedy(answer: Answer) -> str:
    if answer.timed_out:
        return "npu-smi hangs: end what else asks it, else restart the machine"
    fitting = (what for pattern, what in REMEDIES if re.search(pattern, answer.text))
    return next(fitting, "run `npu-smi info` by hand as this user and follow what it says")


def _broken(text: str, found: tuple[str, ...], next_step: str) -> BrokenBoard:
    return BrokenBoard(text, found, user_name(), tuple(_groups()), next_step)


def _groups() -> Iterator[str]:
    for number in sorted(set(os.getgroups()) | {os.getegid()}):
        try:
            yield grp.getgrgid(number).gr_name
        except KeyError:
            yield str(number)
