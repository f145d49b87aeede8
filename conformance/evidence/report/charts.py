"""What a chart shows: rows with a bar or a dot and marks on one scale, in percent of its width.

Positions are percentages, so that a chart is as wide as the page and its letters stay legible.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from conformance.check import Check, Direction, Status

LOOKS = {
    Status.PASS: "good",
    Status.FAIL: "bad",
    Status.ERROR: "bad",
    Status.INCONCLUSIVE: "unsure",
    Status.BLOCKED: "unsure",
    Status.SKIP: "plain",
}
MARKS = {"published": "published", "bound": "bound", "baseline": "baseline"}


@dataclass(frozen=True)
class Mark:
    """A figure that a value is compared with: ``published``, ``bound`` or ``baseline``."""

    kind: str
    pct: float
    text: str


@dataclass(frozen=True)
class Bar:
    """One row of a chart.

    Attributes:
        label: What was measured.
        value: The value, or why there is none.
        pct: Where the value lies; None if there is none.
        look: ``good``, ``bad``, ``unsure`` or ``plain``, drawn solid, hatched, dotted or hollow.
        marks: What it is compared with.
        whisker: Ends of its interval.
        note: A word on the value, such as its share of the published figure.
    """

    label: str
    value: str
    pct: float | None = None
    look: str = "plain"
    marks: tuple[Mark, ...] = ()
    whisker: tuple[float, float] | None = None
    note: str = ""

    @property
    def described(self) -> str:
        """The row in words, for those who do not see it."""
        told = [self.value, self.note, *(f"{MARKS[mark.kind]} {mark.text}" for mark in self.marks)]
        return ", ".join(filter(None, told))


@dataclass(frozen=True)
class Panel:
    """Rows on one scale; ``shape`` is ``bar`` where the scale begins at 0, else ``dot``."""

    title: str
    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...]
    shape: str = "bar"


@dataclass(frozen=True)
class Chart:
    """Panels under one heading, and what has to be said of them."""

    panels: tuple[Panel, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def bars(self) -> tuple[Bar, ...]:
        """The rows of all panels."""
        return tuple(bar for panel in self.panels for bar in panel.bars)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of marks that are drawn, for the legend."""
        drawn = {mark.kind for bar in self.bars for mark in bar.marks}
        return tuple(kind for kind in MARKS if kind in drawn)

    @property
    def looks(self) -> tuple[str, ...]:
        """The looks of the values that are drawn, for the legend."""
        drawn = {bar.look for bar in self.bars if bar.pct is not None}
        return tuple(look for look in ("good", "bad", "unsure", "plain") if look in drawn)


@dataclass(frozen=True)
class Scale:
    """A linear scale from ``low`` to ``high``."""

    low: float
    high: float

    def pct(self, value: float) -> float:
        """Return where a value lies, in percent; what lies outside is at the edge."""
        return round(min(max(100 * (value - self.low) / (self.high - self.low), 0.0), 100.0), 2)

    def ticks(self, unit: str = "") -> tuple[tuple[float, str], ...]:
        """Return round values of the scale, with their places."""
        step = _round_step(self.high - self.low)
        first = math.ceil(self.low / step - 1e-9)
        values = [step * count for count in range(first, first + 8)]
        inside = [value for value in values if value <= self.high + 1e-9 * step]
        return tuple((self.pct(value), f"{value:,g}{unit}") for value in inside)


def scale_from_zero(values: Sequence[float]) -> Scale:
    """Return a scale from 0 that holds every value with a little room."""
    return Scale(0.0, 1.04 * max([*values, 0.0]) or 1.0)


def scale_around(values: Sequence[float]) -> Scale:
    """Return a scale that holds every value with room on both sides."""
    room = max(0.08 * (max(values) - min(values)), 0.5)
    return Scale(min(values) - room, max(values) + room)


def _round_step(span: float) -> float:
    rough = span / 5
    power = 10.0 ** math.floor(math.log10(rough))
    return float(
        power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    )


def figure(check: Check) -> float | None:
    """Return a check's value as a finite number; None if it is none."""
    value = check.value
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def look_of(check: Check) -> str:
    """Return how a check's value is drawn; what is only recorded never looks good."""
    if check.status is Status.PASS and check.direction is Direction.RECORDED:
        return "plain"
    return LOOKS[check.status]
