"""Where the time of a run went."""

from __future__ import annotations

from dataclasses import dataclass

from conformance.evidence.report import shown
from conformance.evidence.report.source import Source
from conformance.evidence.report.stages import OTHER, stage_name

MAX_SLOW = 8
FOUND = "found"


@dataclass(frozen=True)
class Span:
    """Something that took time; ``pct`` is its share of the longest beside it."""

    name: str
    text: str
    pct: float


@dataclass(frozen=True)
class Times:
    """The run's time by stage, by test and by what was built."""

    whole: str
    stages: tuple[Span, ...]
    tests: tuple[Span, ...]
    built: tuple[Span, ...]
    reused: int


def times_of(source: Source) -> Times:
    """Return where the time went; tests of several workers ran beside each other."""
    evidence = source.evidence
    stage_of = {made.test: stage_name(made.check.id) for made in evidence.checks}
    stages: dict[str, float] = {}
    tests: dict[str, float] = {}
    for test in evidence.tests:
        _add(tests, test.test, test.seconds)
        _add(stages, stage_of.get(test.test, OTHER), test.seconds)
    built: dict[str, float] = {}
    for record in source.artifacts:
        if record.event != FOUND:
            _add(built, f"{record.kind} {record.key[:8]}", record.seconds)
    whole = shown.elapsed(evidence.started, evidence.ended)
    return Times(
        whole=shown.duration(whole) if whole is not None and whole >= 0 else "not stated",
        stages=_spans(stages),
        tests=_spans(tests),
        built=_spans(built),
        reused=sum(record.event == FOUND for record in source.artifacts),
    )


def _add(spent: dict[str, float], name: str, seconds: float) -> None:
    spent[name] = spent.get(name, 0.0) + max(seconds, 0.0)


def _spans(seconds: dict[str, float]) -> tuple[Span, ...]:
    """Return the longest, each at least a hundredth of a second."""
    longest = [
        pair
        for pair in sorted(seconds.items(), key=lambda pair: -pair[1])[:MAX_SLOW]
        if pair[1] >= 0.01
    ]
    return tuple(
        Span(name, shown.duration(spent), round(100 * spent / longest[0][1], 1))
        for name, spent in longest
    )
