"""Machine-wide locks, so that two suites of two users on one board meet.

All locks are ``flock`` on files in one folder that every user may write. The kernel releases them
when their holder dies. Order, so that nobody waits in a circle: artifacts, then chips, then the
machine, then npu-smi; nobody asks for an artifact while holding a chip. ATC's lock comes between
artifacts and chips, for tuning needs a chip too.
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

from conformance.ascend.lock_files import LockFolder, print_line, read_json, write_text
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
        """Keep a chip from being leased until the named processes are gone."""
        text = json.dumps([asdict(survivor) for survivor in survivors])
        descriptor = self._files.open(_unusable_name(chip))
        try:
            write_text(descriptor, text)
        finally:
            os.close(descriptor)

    def users_that_cannot_be_killed(self, chip: Chip) -> tuple[Survivor, ...]:
        """Return the processes that keep a chip from being used and still run."""
        path = self.folder / f"{_unusable_name(chip)}.lock"
        if not path.exists():
            return ()
        descriptor = self._files.open(_unusable_name(chip))
        try:
            noted = read_json(descriptor)
        finally:
            os.close(descriptor)
        survivors = [Survivor(**facts) for facts in noted] if isinstance(noted, list) else []
        return tuple(survivor for survivor in survivors if survivor.is_running())

    def _refuse_unusable(self, chip: Chip) -> None:
        if stuck := self.users_that_cannot_be_killed(chip):
            raise BoardError(
                "chip is used by a tool that could not be killed",
                got="; ".join(f"{s.pid} ({s.state}) {s.command}" for s in stuck),
                expected="no process on it",
                where={"NPU": chip[0], "chip": chip[1]},
                next_step="use another chip with --chips=, or restart the machine",
            )

    @contextlib.contextmanager
    def _ranked(self, rank: Rank) -> Iterator[None]:
        if _held.ranks and _held.ranks[-1] >= rank:
            raise ConformanceError(
                "locks are taken in the wrong order",
                got=f"{rank.name} while holding {_held.ranks[-1].name}",
                expected="ATC, then chips, then the machine, then npu-smi, each once",
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
