"""Machine-wide locks, so that two suites of two users on one board meet.

All locks are ``flock`` on files in one folder that every user may write. The kernel releases them
when their holder dies. Order, so that nobody waits in a circle: artifacts, then chips, then the
machine, then npu-smi; nobody asks for an artifact while holding a chip.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum
from pathlib import Path

import msgspec

from conformance.ascend.lock_files import (
    LockFolder,
    print_line,
    read_json,
    write_text,
)
from conformance.ascend.tool_run import Survivor
from conformance.errors import BoardError, ConformanceError

# Not the user's TMPDIR: the same folder for every user of the machine.
MACHINE_FOLDER = Path("/tmp/ascend-conformance.locks")  # noqa: S108 - shared on purpose, no links
Chip = tuple[int, int]
# Another suite may be tuning, which takes half a day.
WAIT_S = 24 * 3600.0


class Rank(IntEnum):
    """The order in which one thread may take locks: only upwards."""

    CHIPS = 1
    MACHINE = 2
    NPU_SMI = 3


class _Held(threading.local):
    """What this thread holds, by rank."""

    def __init__(self) -> None:
        self.ranks: list[Rank] = []


_held = _Held()


def held() -> tuple[Rank, ...]:
    """Return the ranks of the locks that this thread holds, lowest first."""
    return tuple(_held.ranks)


@dataclass(frozen=True)
class MachineLocks:
    """The locks of one machine.

    Attributes:
        folder: Where they are; made on first use with mode 1777.
        say: Tells the user of a long wait.
    """

    folder: Path = MACHINE_FOLDER
    say: Callable[[str], None] = print_line

    @property
    def _files(self) -> LockFolder:
        return LockFolder(self.folder, self.say)

    @contextlib.contextmanager
    def chips(self, chips: Sequence[Chip], *, wait_s: float) -> Iterator[None]:
        """Lease chips, named (NPU, chip), for as long as the block runs.

        Raises:
            BoardError: One is still held by another suite after ``wait_s`` seconds, or is used by
                a tool that could not be killed. The error names the holder.
        """
        with self._ranked(Rank.CHIPS), contextlib.ExitStack() as stack:
            for chip in sorted(set(chips)):  # one order for all, so that nobody deadlocks
                stack.enter_context(self._files.locked(_name(chip), fcntl.LOCK_EX, wait_s))
                self._refuse_unusable(chip)
            yield

    def holder(self, chip: Chip) -> str:
        """Name who leases a chip right now; empty if nobody does."""
        return self._files.holder(_name(chip))

    @contextlib.contextmanager
    def machine(self, *, exclusive: bool, wait_s: float) -> Iterator[None]:
        """Hold the machine: exclusively to measure time, shared for every other heavy step.

        Raises:
            BoardError: It was not to be had within ``wait_s`` seconds.
        """
        mode = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        with self._ranked(Rank.MACHINE), contextlib.ExitStack() as stack:
            # Everyone passes the gate, so that a queue of sharers cannot keep a timer out forever.
            with self._files.locked("machine-gate", fcntl.LOCK_EX, wait_s):
                stack.enter_context(self._files.locked("machine", mode, wait_s))
            yield

    @contextlib.contextmanager
    def npu_smi(self, *, wait_s: float) -> Iterator[None]:
        """Hold the right to call npu-smi, which must not run twice at a time."""
        with self._ranked(Rank.NPU_SMI), self._files.locked("npu-smi", fcntl.LOCK_EX, wait_s):
            yield

    def mark_unusable(self, chip: Chip, survivors: Sequence[Survivor]) -> None:
        """Keep a chip from being leased until the named processes are gone.

        Raises:
            BoardError: The mark cannot be written. What is left of it keeps the chip from being
                leased too.
        """
        descriptor = self._files.open(_unusable_name(chip))
        try:
            write_text(descriptor, json.dumps([asdict(survivor) for survivor in survivors]))
        except OSError as error:
            raise BoardError(
                f"a tool on the chip cannot be killed, and that cannot be noted: {error.strerror}",
                got=_told(survivors),
                expected="room for the note",
                where={"NPU": chip[0], "chip": chip[1], "file": self._unusable_path(chip)},
                next_step="make room, use another chip with --chips=, or restart the machine",
            ) from None
        finally:
            os.close(descriptor)

    def unusable(self, chip: Chip) -> BoardError | None:
        """Return why a chip must not be used: a tool on it could not be killed and still runs."""
        path = self._unusable_path(chip)
        if not path.exists():
            return None
        descriptor = self._files.open(_unusable_name(chip))
        try:
            survivors = msgspec.convert(read_json(descriptor), list[Survivor])
        except msgspec.ValidationError as error:
            return _unreadable(chip, path, error)
        finally:
            os.close(descriptor)
        stuck = [survivor for survivor in survivors if survivor.is_running()]
        return _stuck(chip, stuck) if stuck else None

    def _unusable_path(self, chip: Chip) -> Path:
        return self.folder / f"{_unusable_name(chip)}.lock"

    def _refuse_unusable(self, chip: Chip) -> None:
        if error := self.unusable(chip):
            raise error

    @contextlib.contextmanager
    def _ranked(self, rank: Rank) -> Iterator[None]:
        if _held.ranks and _held.ranks[-1] >= rank:
            raise ConformanceError(
                "locks are taken in the wrong order",
                got=f"{rank.name} while holding {_held.ranks[-1].name}",
                expected="chips, then the machine, then npu-smi, each once",
                next_step="this is a mistake in the suite: report it",
            )
        _held.ranks.append(rank)
        try:
            yield
        finally:
            _held.ranks.remove(rank)


def _name(chip: Chip) -> str:
    return f"chip-{chip[0]}-{chip[1]}"


def _unusable_name(chip: Chip) -> str:
    return f"{_name(chip)}-unusable"


def _told(survivors: Sequence[Survivor]) -> str:
    return "; ".join(f"{s.pid} ({s.state}) {s.command}" for s in survivors)


def _stuck(chip: Chip, stuck: Sequence[Survivor]) -> BoardError:
    return BoardError(
        "chip is used by a tool that could not be killed",
        got=_told(stuck),
        expected="no process on it",
        where={"NPU": chip[0], "chip": chip[1]},
        next_step="use another chip with --chips=, or restart the machine",
    )


def _unreadable(chip: Chip, path: Path, error: msgspec.ValidationError) -> BoardError:
    return BoardError(
        "chip may be used by a tool that could not be killed: the note about it is damaged",
        got=error,
        expected="a list of processes",
        where={"NPU": chip[0], "chip": chip[1], "file": path},
        next_step=f"see that no process uses the chip and have {path} removed, or use another "
        "chip with --chips=",
    )
