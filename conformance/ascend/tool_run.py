"""What became of one run of a vendor tool."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import psutil

from conformance.errors import ToolError

TEXT_LIMIT = 8 * 2**20  # bytes of a log that are read; its end says how it ended


@dataclass(frozen=True)
class Survivor:
    """A process that could not be killed, or one that a tool left behind.

    Attributes:
        pid: Its id.
        started_at: When it started, in seconds since the epoch; with ``pid`` it names it for good.
        command: Its command line.
        state: What the kernel says of it, such as ``disk-sleep``.
    """

    pid: Annotated[int, msgspec.Meta(gt=0)]
    started_at: float
    command: str
    state: str

    def is_running(self) -> bool:
        """Whether this very process still exists; a later one of the same id does not count."""
        try:
            member = psutil.Process(self.pid)
            same = abs(member.create_time() - self.started_at) < 1
            return same and member.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:
            return True


@dataclass(frozen=True)
class Run:
    """What became of one run of a tool.

    Attributes:
        argv: The command.
        cwd: Where it ran.
        status: Its exit status; minus the signal's number if a signal ended it.
        ended_by: The tool itself, or the time limit.
        started_at: Seconds since the epoch, for telling fresh files from stale ones.
        duration_s: Wall clock from start to the end of the tool itself.
        limit_s: The time limit it had.
        stdout_path: What it printed.
        stderr_path: What it printed as errors.
        left_behind: Processes of the tool that outlived it; they were ended.
        survivors: Processes that could not be killed: the chip they use must not be used again.
    """

    argv: tuple[str, ...]
    cwd: Path
    status: int
    ended_by: Literal["itself", "time limit"]
    started_at: float
    duration_s: float
    limit_s: float
    stdout_path: Path
    stderr_path: Path
    left_behind: tuple[Survivor, ...]
    survivors: tuple[Survivor, ...]

    @property
    def timed_out(self) -> bool:
        """Whether the time limit ended it."""
        return self.ended_by == "time limit"

    @property
    def killed(self) -> bool:
        """Whether a signal ended it; a shell in between tells that by a status above 128."""
        return _signal_number(self.status) != 0

    @property
    def text(self) -> str:
        """What it printed, errors after the rest; of a huge log only the last part."""
        return _tail(self.stdout_path) + _tail(self.stderr_path)

    @property
    def strays(self) -> tuple[str, ...]:
        """A note for each process that the tool left behind; they were ended."""
        return tuple(
            f"{Path(self.argv[0]).name} left a process behind, which was ended: {stray.command}"
            for stray in self.left_behind
        )

    @property
    def ending(self) -> str:
        """How it ended, in words."""
        if self.timed_out:
            return f"still running after {self.duration_s:.0f} s, its time limit, and was stopped"
        number = _signal_number(self.status)
        if number == signal.SIGKILL:
            return "killed by SIGKILL, as the kernel does when memory runs out"
        if number:
            return f"killed by {signal.Signals(number).name}"
        return f"exit status {self.status}"

    def error(self, what: str, *, expected: object, next_step: str = "") -> ToolError:
        """Make the error that says how this run went wrong and where its log is."""
        return ToolError(
            what,
            got=self.ending,
            expected=expected,
            where={"command": " ".join(self.argv), "folder": self.cwd, "log": self.stdout_path}
            | {"last lines": last_lines(self.text)},
            next_step=next_step or f"read {self.stdout_path}",
        )

    def require_ended(self, tool: str) -> None:
        """Refuse a run that did not end by itself, or that left something unkillable.

        Raises:
            ToolError: Time limit, a signal, or survivors, which are named.
        """
        if self.survivors:
            names = "; ".join(f"{s.pid} ({s.state}) {s.command}" for s in self.survivors)
            raise self.error(
                f"{tool} cannot be killed: {names}",
                expected="a tool that ends when it is killed",
                next_step="do not use its chip until these processes are gone",
            )
        if self.timed_out or self.killed:
            raise self.error(f"{tool} did not end by itself", expected="a tool that ends by itself")


def _signal_number(status: int) -> int:
    """The signal behind an exit status, 0 if none; a shell in between adds it to 128."""
    number = -status if status < 0 else status - 128
    return number if number in set(signal.Signals) and number < signal.SIGRTMIN else 0


def last_lines(text: str, count: int = 6) -> str:
    """Return the last lines of a text that are not blank, as one message."""
    return "\n    ".join([line for line in text.splitlines() if line.strip()][-count:])


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TEXT_LIMIT))
        return file.read().decode("utf-8", "replace")
