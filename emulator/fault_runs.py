"""How a tool's process goes wrong: it stops, hangs, dies, or leaves something running."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

from emulator.faults import Fault
from emulator.marker import say

LONGEST_HANG_S = 300.0
"""A hang ends by itself after this time, so that no test can leave a process for good."""


def strike(faults: list[Fault]) -> None:
    """Let each fault act on the running process; some never return."""
    for fault in faults:
        EFFECTS[fault.do](**fault.options)


def leave(status: int = 1, text: str = "", last_words: str = "") -> None:
    """Print a text, or last words on stderr, and end the process at once, without clearing up."""
    if text:
        say(text)
    if last_words:
        print(last_words, file=sys.stderr)
    sys.stderr.flush()
    os._exit(status)


def tell(text: str) -> None:
    """Print a text and go on."""
    say(text)


def die(number: int = signal.SIGKILL) -> None:
    """Be killed by a signal, as by the kernel's memory killer or a fault in native code."""
    signal.signal(number, signal.SIG_DFL) if number != signal.SIGKILL else None
    os.kill(os.getpid(), number)


def hang(seconds: float = LONGEST_HANG_S, *, stubborn: bool = False) -> None:
    """Do nothing for a long time; a stubborn process ignores every signal but SIGKILL."""
    if stubborn:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
    time.sleep(min(seconds, LONGEST_HANG_S))


def leave_child(seconds: float = 60.0, *, orphan: bool = False) -> None:
    """Leave a process behind in a group of its own; an orphan has no parent but init either.

    The process keeps the tool's output open, as a real one would.
    """
    if os.fork():
        if orphan:
            os.wait()
        return
    os.setsid()
    if orphan and os.fork():
        os._exit(0)
    time.sleep(min(seconds, LONGEST_HANG_S))
    os._exit(0)


EFFECTS: dict[str, Callable[..., None]] = {
    "leave": leave,
    "tell": tell,
    "die": die,
    "hang": hang,
    "leave_child": leave_child,
}
