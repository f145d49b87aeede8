"""What is being done, and how far it is, told to whoever wants to see it.

Long steps of the library wrap themselves in ``step``. Whoever runs them decides once, as with
logging, where that is shown; otherwise nothing is.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress

EVERY_S = 10.0

Advance = Callable[[int], None]


class Display(Protocol):
    """Shows steps; one may lie within another."""

    def step(self, what: str, total: int, lasts: str) -> AbstractContextManager[Advance]:
        """Show a step for as long as the block runs; see ``step``."""


_shown_on: list[Display] = []


@contextlib.contextmanager
def shown_on(display: Display) -> Iterator[None]:
    """Show the steps of this process on a display for as long as the block runs."""
    _shown_on.append(display)
    try:
        yield
    finally:
        _shown_on.remove(display)


@contextlib.contextmanager
def step(
    what: str, *, total: int = 0, lasts: str = "", otherwise: Display | None = None
) -> Iterator[Advance]:
    """Say what is done for as long as the block runs; yield what counts its parts.

    Args:
        what: What is done, such as ``convert squeezenet1_1-bs16 with ATC``.
        total: Parts that it has; 0 if that is not known beforehand.
        lasts: How long it may take, for a reader; empty if it is soon over.
        otherwise: Shows it where nobody asked to see steps; None for nothing.
    """
    display = _shown_on[-1] if _shown_on else otherwise
    if display is None:
        yield lambda _: None
        return
    with display.step(what, total, lasts) as advance:
        yield advance


def at_most(seconds: float) -> str:
    """Say a time limit, such as ``at most 60 min``."""
    return f"at most {seconds:.0f} s" if seconds < 120 else f"at most {seconds / 60:.0f} min"


def opening(what: str, lasts: str) -> str:
    """Return the line that says what begins."""
    return f"{what} ({lasts})" if lasts else what


class Bars:
    """Draws a bar for each step on a terminal.

    Args:
        stream: The terminal.
        begin: Called before the first of nested steps: ends a line that somebody else began.
    """

    def __init__(self, stream: TextIO, begin: Callable[[], None] = lambda: None) -> None:
        self._stream = stream
        self._begin = begin
        self._bars: Progress | None = None

    @contextlib.contextmanager
    def step(self, what: str, total: int, lasts: str) -> Iterator[Advance]:
        """Draw one more bar."""
        with self._drawn() as bars:
            task = bars.add_task(opening(what, lasts), total=total or None)
            yield lambda count: bars.advance(task, count)
            if not total:  # it has ended, however many parts it had
                bars.update(task, total=1, completed=1)

    @contextlib.contextmanager
    def _drawn(self) -> Iterator[Progress]:
        if self._bars:
            yield self._bars
            return
        # Workers that prepare images import this module to start, and show nothing.
        from rich.console import Console
        from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn
        from rich.progress import TimeRemainingColumn as Remaining

        self._begin()
        columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeElapsedColumn())
        console = Console(file=self._stream)
        with Progress(
            *columns, Remaining(), console=console, redirect_stdout=False, redirect_stderr=False
        ) as bars:
            self._bars = bars
            try:
                yield bars
            finally:
                self._bars = None


@dataclass
class _Running:
    """A step that runs."""

    what: str
    total: int
    done: int = 0
    began_s: float = field(default_factory=time.monotonic)

    def __str__(self) -> str:
        counted = f"{self.done} of {self.total}, " if self.total else ""
        counted = counted or (f"{self.done} done, " if self.done else "")
        return f"{self.what}: {counted}{time.monotonic() - self.began_s:.0f} s"


class Lines:
    """Says in a line what begins, and now and then how far it is.

    Args:
        say: Prints the line that says what begins.
        say_more: Prints a line from another thread.
        every_s: Time between two lines of one step.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        say_more: Callable[[str], None],
        every_s: float = EVERY_S,
    ) -> None:
        self._say = say
        self._say_more = say_more
        self._every_s = every_s
        self._running: list[_Running] = []

    @contextlib.contextmanager
    def step(self, what: str, total: int, lasts: str) -> Iterator[Advance]:
        """Say the outermost step at once, and of the innermost how far it is."""
        found = _Running(what, total)
        if not self._running:
            self._say(opening(what, lasts))
        self._running.append(found)

        def advance(count: int) -> None:
            found.done += count

        try:
            with contextlib.nullcontext() if len(self._running) > 1 else self._now_and_then():
                yield advance
        finally:
            self._running.remove(found)

    @contextlib.contextmanager
    def _now_and_then(self) -> Iterator[None]:
        ended = threading.Event()
        thread = threading.Thread(target=self._tell_until, args=(ended,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _tell_until(self, ended: threading.Event) -> None:
        while not ended.wait(self._every_s):
            if self._running:
                self._say_more(f"  {self._running[-1]}")
