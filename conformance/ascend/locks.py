"""Machine-wide locks, so that two suites of two users on one board meet.

All locks are ``flock`` on files in one folder that every user may write. The kernel releases them
when their holder dies. Order, so that nobody waits in a circle: artifacts, then chips, then the
machine, then npu-smi; nobody asks for an artifact while holding a chip, and a heavy step lets go of
the machine while it asks for one. ATC's lock comes between artifacts and chips, for tuning needs a
chip too.
"""

from __future__ import annotations

import contextlib
import fcntl
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from conformance.ascend.lock_files import LockFolder, LocksUnusableError, print_line
from conformance.ascend.stuck_chips import StuckMark
from conformance.ascend.tool_run import Survivor
from conformance.errors import BoardError, ConformanceError

# Not the user's TMPDIR: the same folder for every user of the machine.
MACHINE_FOLDER = Path("/tmp/ascend-conformance.locks")  # noqa: S108 - shared on purpose, no links
Chip = tuple[int, int]
# Another suite may be tuning, which takes half a day.
WAIT_S = 24 * 3600.0


class Rank(IntEnum):
    """The order in which one thread may take locks: only upwards."""

    ATC = 0
    CHIPS = 1
    MACHINE = 2
    NPU_SMI = 3


class _Held(threading.local):
    """What this thread holds, by rank, and the heavy step that it is in."""

    def __init__(self) -> None:
        self.ranks: list[Rank] = []
        self.step: _HeavyStep | None = None


_held = _Held()
# Folders of locks that cannot be used, and were told so.
_told_unusable: set[Path] = set()


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
    def heavy_step(self) -> Iterator[None]:
        """Hold the machine shared for as long as the block works.

        A step within another one, or within a timing of our own, holds nothing more. Where the
        locks cannot be used the step works all the same, and that is told once.

        Raises:
            BoardError: Somebody times for longer than ``WAIT_S``.
        """
        if _held.step or Rank.MACHINE in _held.ranks:
            yield
            return
        _held.step = step = _HeavyStep(self)
        try:
            step.begin()
            yield
        finally:
            _held.step = None
            step.end()

    @contextlib.contextmanager
    def atc(self, *, wait_s: float) -> Iterator[None]:
        """Hold the right to run ATC: each one takes gigabytes and all cores.

        Raises:
            BoardError: It was not to be had within ``wait_s`` seconds.
        """
        with self._ranked(Rank.ATC), self._files.locked("atc", fcntl.LOCK_EX, wait_s):
            yield

    @contextlib.contextmanager
    def npu_smi(self, *, wait_s: float) -> Iterator[None]:
        """Hold the right to call npu-smi, which must not run twice at a time."""
        with self._ranked(Rank.NPU_SMI), self._files.locked("npu-smi", fcntl.LOCK_EX, wait_s):
            yield

    def mark_unusable(self, chip: Chip, survivors: Sequence[Survivor]) -> None:
        """Keep a chip from being leased until the named processes are gone.

        Raises:
            BoardError: There is no room for the mark.
        """
        StuckMark(self._files, *chip).write(survivors)

    def unusable(self, chip: Chip) -> BoardError | None:
        """Return why a chip must not be used: a tool on it could not be killed and still runs."""
        return StuckMark(self._files, *chip).error()

    def _refuse_unusable(self, chip: Chip) -> None:
        if error := self.unusable(chip):
            raise error

    @contextlib.contextmanager
    def _ranked(self, rank: Rank) -> Iterator[None]:
        if _held.ranks and _held.ranks[-1] >= rank:
            raise _wrong_order(f"{rank.name} while holding {_held.ranks[-1].name}")
        _held.ranks.append(rank)
        try:
            yield
        finally:
            _held.ranks.remove(rank)


class _HeavyStep:
    """The hold of one thread on the machine, which can be let go for a while."""

    def __init__(self, locks: MachineLocks) -> None:
        self._locks = locks
        self._hold = contextlib.ExitStack()

    def begin(self) -> None:
        try:
            self._hold.enter_context(self._locks.machine(exclusive=False, wait_s=WAIT_S))
        except LocksUnusableError as error:
            if self._locks.folder not in _told_unusable:
                _told_unusable.add(self._locks.folder)
                self._locks.say(f"{error}\n  until then heavy steps may disturb who times here")

    def end(self) -> None:
        self._hold.close()


@contextlib.contextmanager
def nothing_held() -> Iterator[None]:
    """Hold no lock of the machine while the block asks for an artifact.

    Whoever makes the artifact may wait for what we hold, so that a heavy step lets go of it.

    Raises:
        ConformanceError: A chip is leased, or the machine is held to time: those are not let go.
    """
    step, _held.step = _held.step, None
    if step:
        step.end()
    try:
        if _held.ranks:
            raise _wrong_order(f"an artifact while holding {_held.ranks[-1].name}")
        yield
    finally:
        _held.step = step
        if step:
            step.begin()


def _wrong_order(got: str) -> ConformanceError:
    return ConformanceError(
        "locks are taken in the wrong order",
        got=got,
        expected="artifacts, then ATC, then chips, then the machine, then npu-smi, each once",
        next_step="this is a mistake in the suite: report it",
    )


def _name(chip: Chip) -> str:
    return f"chip-{chip[0]}-{chip[1]}"
