"""The head of the report: the verdict, why, what it rests on, and the figures that matter most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from conformance.check import Status
from conformance.evidence.gate import CLASSES
from conformance.evidence.report.charts import Bar, Chart, Panel
from conformance.evidence.report.flips import Flips
from conformance.evidence.report.source import Source
from conformance.evidence.verdict import RELEASE, Verdict

MAX_REASONS = 100
NOT_RELEASE = "NOT RELEASE EVIDENCE"
VERDICTS = {
    Verdict.CONFORMANT: ("good", "✓", "Every required check was made and holds."),
    Verdict.NOT_CONFORMANT: ("bad", "✕", "At least one check was measured and does not hold."),
    Verdict.INSUFFICIENT: (
        "unsure",
        "?",
        "Nothing failed, but something that is required is missing.",
    ),
}
MEANINGS = {
    ("weights", "published"): "the published file, proved by its digest",
    ("weights", "custom"): "a file that is not the published one",
    ("weights", "sample"): "fitted by the suite itself, not trained on ImageNet",
    ("images", "full"): "all 50,000 validation images",
    ("images", "subset"): "some images, not the full validation set",
    ("images", "sample"): "drawn by the suite itself, not photographs",
    ("board", "device"): "a real board, by its device nodes and driver",
    ("board", "unverified"): "a board that could not be proved to be real",
    ("board", "emulated"): "a program that imitates a board",
    ("board", "none"): "no board took part",
}


@dataclass(frozen=True)
class Headline:
    """The verdict as it is shown: its look, symbol, words and reasons."""

    look: str
    symbol: str
    title: str
    meaning: str
    gate: str
    reasons: tuple[str, ...]
    more_reasons: int
    alarms: tuple[str, ...]


@dataclass(frozen=True)
class Rest:
    """One class of evidence: its part, value, meaning, and whether a release accepts it."""

    part: str
    value: str
    meaning: str
    releasable: bool


@dataclass(frozen=True)
class Tile:
    """One figure at a glance."""

    name: str
    value: str
    note: str
    look: str = "plain"


def headline(source: Source, flips: Flips) -> Headline:
    """Return the verdict that the bundle states; what contradicts it at first sight is an alarm."""
    evidence, decision = source.evidence, source.evidence.decision
    alarms = [f"The run was interrupted: {evidence.interrupted}"] if evidence.interrupted else []
    alarms += [f"The run contradicts itself: {conflict}" for conflict in evidence.conflicts]
    if decision is None:
        text = "No gate was asked, so nothing says whether everything that is required was checked."
        return Headline("plain", "·", "NO VERDICT", text, "", (), 0, tuple(alarms))
    bad = sum(made.check.status in (Status.FAIL, Status.ERROR) for made in evidence.checks)
    if decision.verdict == Verdict.CONFORMANT and bad:
        alarms.append(
            f"The bundle states {decision.verdict}, but {bad} of its checks FAIL or ERROR."
        )
    if decision.verdict == Verdict.CONFORMANT and flips.confident:
        alarms.append(
            f"The bundle states {decision.verdict}, but decisions changed that rounding does not "
            f"explain, which is a bug: {flips.confident}."
        )
    unknown = ("bad", "!", "This is no verdict of this suite; do not trust the bundle.")
    known = {verdict.value: words for verdict, words in VERDICTS.items()}
    look, symbol, meaning = known.get(decision.verdict, unknown)
    return Headline(
        look=look,
        symbol=symbol,
        title=decision.verdict,
        meaning=meaning,
        gate=f"gate {decision.gate}, {decision.required} required checks",
        reasons=decision.reasons[:MAX_REASONS],
        more_reasons=max(len(decision.reasons) - MAX_REASONS, 0),
        alarms=tuple(alarms),
    )


def rests_on(source: Source) -> tuple[Rest, ...]:
    """Return the class of weights, images and board of every model, also where it is ``none``."""
    found = []
    for part, order in CLASSES.items():
        for model in source.models or ("",):
            value = source.class_of(part, model)
            meaning = MEANINGS.get((part, value), f"no {part} were used")
            found.append(Rest(part, value, meaning, value == order[0]))
    return tuple(dict.fromkeys(found))


def banner(source: Source, rests: tuple[Rest, ...]) -> str:
    """Return why this is not release evidence; empty if it is."""
    decision = source.evidence.decision
    lacking = [f"{rest.part}: {rest.value}" for rest in rests if not rest.releasable]
    if decision is None:
        lacking.append("no gate")
    elif decision.gate != RELEASE:
        lacking.append(f"gate {decision.gate}")
    elif NOT_RELEASE in decision.line and not lacking:
        lacking.append("the verdict says so")
    return "; ".join(lacking)


def tiles(
    source: Source, throughput: Chart, accuracy: Chart, error: Chart, flips: Flips
) -> tuple[Tile, ...]:
    """Return the figures at a glance; what was not measured says so."""
    return (
        _checks_tile(source),
        _tile("Top-1 accuracy", _worst_accuracy(accuracy), accuracy, ""),
        _tile("Throughput, best", _highest(throughput), throughput, "images/s"),
        _tile("Largest error", _highest(error), error, ""),
        _flips_tile(flips),
    )


def _checks_tile(source: Source) -> Tile:
    counts = Counter(made.check.status for made in source.evidence.checks)
    total = sum(counts.values())
    others = [f"{counts[s]} {s}" for s in reversed(Status) if counts[s] and s is not Status.PASS]
    look = "good" if counts[Status.PASS] == total else "unsure"
    if counts[Status.FAIL] or counts[Status.ERROR] or not total:
        look = "bad"
    note = ", ".join(others) or ("all hold" if total else "no check was made")
    return Tile("Checks that hold", f"{counts[Status.PASS]:,} of {total:,}", note, look)


def _tile(name: str, found: Bar | None, chart: Chart, unit: str) -> Tile:
    if found is None:
        note = chart.notes[0] if chart.notes else "nothing was measured"
        return Tile(name, "not measured", note.removeprefix("Not measured: "))
    looks = [bar.look for bar in chart.bars if bar.pct is not None]
    bad = f"{looks.count('bad')} of {len(looks)} do not hold" if "bad" in looks else ""
    note = " · ".join(filter(None, (found.label, found.note, bad)))
    worst = next(look for look in ("bad", "unsure", "good", "plain") if look in looks)
    return Tile(name, f"{found.value} {unit}".strip(), note, worst)


def _measured(panels: Iterator[Panel]) -> list[Bar]:
    return [bar for panel in panels for bar in panel.bars if bar.pct is not None]


def _worst_accuracy(chart: Chart) -> Bar | None:
    bars = _measured(panel for panel in chart.panels if panel.title.endswith("Top-1"))
    boards = [bar for bar in bars if bar.label.startswith("om")]
    return min(boards or bars, key=lambda bar: bar.pct or 0.0, default=None)


def _highest(chart: Chart) -> Bar | None:
    return max(_measured(iter(chart.panels)), key=lambda bar: bar.pct or 0.0, default=None)


def _flips_tile(flips: Flips) -> Tile:
    if not flips.images or (flips.notes and not flips.counts):
        note = flips.notes[0] if flips.notes else "no images were compared"
        return Tile("Changed decisions", "not known", note.removeprefix("Not known: "))
    note = f"{100 * flips.total / flips.images:.2f} % of images, on any engine"
    if flips.confident:
        note = f"confident, which rounding does not explain: {flips.confident} · {note}"
    look = "bad" if flips.confident else "plain"
    return Tile("Changed decisions", f"{flips.total:,} of {flips.images:,}", note, look)
