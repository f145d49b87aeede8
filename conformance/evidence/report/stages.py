"""The checks by stage, the worst first, as rows of a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from conformance.check import Check, Direction, Status
from conformance.evidence.bundle import MadeCheck
from conformance.evidence.report import shown

# Every stage is shown, also without checks: a stage that was left out must not go unnoticed.
STAGES: dict[str, tuple[str, ...]] = {
    "Weights and ONNX": ("checkpoint", "export"),
    "Images": ("dataset", "input"),
    "Conversion": ("atc",),
    "Agreement": ("agreement", "om"),
    "Accuracy": ("accuracy",),
    "Throughput": ("throughput",),
    "Baseline": ("regression",),
}
OTHER = "Other"
MAX_ROWS = 1_000


@dataclass(frozen=True)
class Row:
    """One check as it is shown; ``used_pct`` is the share of its bound that a value takes up."""

    check: Check
    test: str
    stage: str
    place: str
    value: str
    bound: str
    margin: str
    used_pct: float | None

    @property
    def details(self) -> tuple[tuple[str, str], ...]:
        """What there is to say beside the numbers, by name."""
        check = self.check
        classes = ", ".join(f"{part} {value}" for part, value in check.classes.items())
        named = (
            ("reason", check.reason or ""),
            ("detail", check.detail),
            ("next", check.hint),
            ("bound from", check.source),
            ("rests on", classes),
            ("test", self.test),
        )
        return tuple((name, text) for name, text in named if text)


@dataclass(frozen=True)
class Stage:
    """One stage: how many checks have which status, and the rows that are shown."""

    name: str
    counts: dict[Status, int]
    rows: tuple[Row, ...]

    @property
    def total(self) -> int:
        """Number of its checks, shown or not."""
        return sum(self.counts.values())


def stages_of(checks: Sequence[MadeCheck]) -> tuple[Stage, ...]:
    """Return every stage with its checks; beyond a limit the good ones are left out first."""
    several = len({made.check.coordinates.get("model") for made in checks}) > 1
    by_stage: dict[str, list[MadeCheck]] = {}
    for made in sorted(checks, key=_order)[:MAX_ROWS]:
        by_stage.setdefault(stage_name(made.check.id), []).append(made)
    counts: dict[str, Counter[Status]] = {}
    for made in checks:
        counts.setdefault(stage_name(made.check.id), Counter())[made.check.status] += 1
    names = [*STAGES, *([OTHER] if OTHER in counts else [])]
    return tuple(
        Stage(name, dict(counts.get(name, {})), tuple(_rows(name, by_stage.get(name, ()), several)))
        for name in names
    )


def stage_name(check_id: str) -> str:
    """Return the stage of a check by the first word of its id."""
    first = check_id.partition(".")[0]
    return next((name for name, words in STAGES.items() if first in words), OTHER)


def _order(made: MadeCheck) -> tuple[int, str, int, str]:
    """Sort the worst first, then by id, batch size and the rest of the place."""
    check = made.check
    batch = check.coordinates.get("batch", 0)
    number = batch if isinstance(batch, int) else 0
    return -check.status.rank, check.id, number, shown.place(check.coordinates)


def _rows(stage: str, checks: Iterable[MadeCheck], several: bool) -> Iterable[Row]:
    for made in checks:
        check = made.check
        yield Row(
            check=check,
            test=made.test,
            stage=stage,
            place=shown.place(
                {n: v for n, v in check.coordinates.items() if several or n != "model"}
            ),
            value=check.reason or ""
            if check.value is None
            else shown.number(check.value, check.unit),
            bound=shown.bound(check.direction, check.bound) if check.value is not None else "",
            margin="" if check.margin is None else shown.number(check.margin),
            used_pct=used_pct(check),
        )


def used_pct(check: Check) -> float | None:
    """Return how much of its bound a value takes up, in percent; beyond 100 it does not hold.

    None where that is no proportion: a bound of 0, a negative number, an equality.
    """
    if check.margin is None:
        return None
    value, bound = float(check.value or 0), float(check.bound or 0)
    if check.direction is Direction.AT_LEAST:
        value, bound = bound, value
    if bound <= 0:
        return None if value <= 0 else 1e9
    return 100 * value / bound if value >= 0 else 0.0
