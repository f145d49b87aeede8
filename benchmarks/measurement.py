"""Two ways to do one job, timed in turns, so that a busy machine slows both alike."""

from __future__ import annotations

import dataclasses
import gc
import statistics
import time
from collections.abc import Callable, Sequence

Action = Callable[[], object]


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        job: What is done.
        ours: Our figure, with its unit.
        theirs: The opponent's figure, or empty where there is none.
        ratio: How many times faster, as `median (min to max)`, or empty.
        goal: What is asked for.
        met: Whether the goal is met; None where there is none.
    """

    job: str
    ours: str
    theirs: str = ""
    ratio: str = ""
    goal: str = ""
    met: bool | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Duel:
    """Seconds per round of both sides."""

    theirs_s: tuple[float, ...]
    ours_s: tuple[float, ...]

    @property
    def ratios(self) -> tuple[float, ...]:
        """How many times faster we were, round by round."""
        return tuple(t / o for t, o in zip(self.theirs_s, self.ours_s, strict=True))

    def row(self, job: str, items: int, unit: str, goal: float | None = None) -> Row:
        """Make the table's line; ``items`` is the work of one round, ``goal`` the least ratio."""
        ratios, median = self.ratios, statistics.median(self.ratios)
        return Row(
            job,
            ours=f"{items / statistics.median(self.ours_s):,.0f} {unit}",
            theirs=f"{items / statistics.median(self.theirs_s):,.0f} {unit}",
            ratio=f"{median:.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
            goal="" if goal is None else f"≥ {goal:g}",
            met=None if goal is None else median >= goal,
        )


def duel(theirs: Sequence[Action], ours: Sequence[Action], *, rounds: int) -> Duel:
    """Time both sides' actions pair by pair, the order changing with every pair.

    A first pair is run unmeasured, so that neither side pays for imports and cold caches.
    """
    theirs[0]()
    ours[0]()
    timed = [_round(theirs, ours) for _ in range(rounds)]
    return Duel(tuple(t for t, _ in timed), tuple(o for _, o in timed))


def _round(theirs: Sequence[Action], ours: Sequence[Action]) -> tuple[float, float]:
    gc.collect()
    their_s = our_s = 0.0
    for number, (their, our) in enumerate(zip(theirs, ours, strict=True)):
        if number % 2:
            our_s += _seconds(our)
            their_s += _seconds(their)
        else:
            their_s += _seconds(their)
            our_s += _seconds(our)
    return their_s, our_s


def _seconds(action: Action) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start
