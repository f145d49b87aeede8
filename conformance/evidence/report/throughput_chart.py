"""Throughput per batch size against the published figures and the baseline."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from conformance.check import Check, Direction, Status
from conformance.evidence.baseline import REGRESSION
from conformance.evidence.bundle import Accepted
from conformance.evidence.report import shown
from conformance.evidence.report.charts import (
    Bar,
    Chart,
    Mark,
    Panel,
    Scale,
    figure,
    look_of,
    scale_from_zero,
)
from conformance.evidence.report.source import Source
from conformance.spec import Figure, Throughput

CARD = ("throughput.card", "throughput.recorded")
CHIP = ("throughput.chip",)
Key = tuple[int, bool]


@dataclass(frozen=True)
class _Baseline:
    """The accepted figures, and where this run is worse than they allow."""

    accepted: dict[Key, Accepted]
    regressed: set[Key]


def throughput_chart(source: Source) -> Chart:
    """Return one panel per model; every published batch size has a row, measured or not."""
    notes: list[str] = []
    panels = [panel for model in source.models if (panel := _panel(source, model, notes))]
    return Chart(tuple(panels), tuple(dict.fromkeys(notes)))


def _panel(source: Source, model: str, notes: list[str]) -> Panel | None:
    board = source.evidence.board
    made = [m.check for m in source.evidence.checks if m.check.coordinates.get("model") == model]
    measured = _measured(made, CARD) or _measured(made, CHIP)
    if not measured:
        why = "this run made no throughput check." if board else "this run had no board."
        notes.append(f"Not measured: {why}")
        return None
    soc = board.soc_version if board else str(measured[0].coordinates.get("soc", ""))
    spec = source.specs.get(model)
    table = spec.throughput_of(soc) if spec else None
    if spec and table is None:
        notes.append(f"No figure is published for {model} on {soc or 'a board of no stated SoC'}.")
    ids = {check.id for check in measured}
    accepted = {
        _key(kept): kept
        for kept in source.evidence.baseline
        if kept.id in ids and kept.coordinates.get("model", model) == model
    }
    if not accepted:
        notes.append("No baseline: this run was compared with no earlier one.")
    if lacking := sorted({_label(*_key(c)) for c in measured if _key(c) not in accepted}):
        notes += [f"The baseline has no figure for {', '.join(lacking)}."] if accepted else []
    regressed = {_key(c) for c in made if c.id in _regressions(ids) and c.status is not Status.PASS}
    title = f"{model}, {measured[0].unit or 'images/s'}"
    return _drawn(title, measured, table, _Baseline(accepted, regressed))


def _measured(checks: Sequence[Check], ids: tuple[str, ...]) -> list[Check]:
    return [check for check in checks if check.id in ids and figure(check) is not None]


def _regressions(ids: Iterable[str]) -> set[str]:
    return {REGRESSION + check_id for check_id in ids}


def _key(of: Check | Accepted) -> Key:
    batch = of.coordinates.get("batch", 0)
    return (batch if isinstance(batch, int) else 0, of.coordinates.get("tuned") == "yes")


def _drawn(
    title: str, measured: list[Check], table: Throughput | None, baseline: _Baseline
) -> Panel:
    """Return a row for everything measured, and for each figure without a measurement."""
    figures = {(f.batch, f.tuned): f for f in (table.figures if table else ())}
    figures = figures if measured[0].id in CARD else {}
    values = [value for check in measured if (value := figure(check)) is not None]
    values += [f.fps for f in figures.values()] + [a.value for a in baseline.accepted.values()]
    scale = scale_from_zero(values)
    rows = [(_key(check), _bar(check, table, baseline, scale)) for check in measured]
    lacking = (figures.keys() | baseline.accepted.keys()) - {key for key, _ in rows}
    for key in lacking:
        marks = _marks(key, None, figures.get(key), baseline, scale)
        rows.append((key, Bar(_label(*key), "not measured", marks=tuple(marks))))
    bars = tuple(bar for _, bar in sorted(rows, key=lambda row: row[0]))
    return Panel(title, bars, scale.ticks())


def _label(batch: int, tuned: bool, variant: str = "") -> str:
    words = [f"batch {batch}" if batch else "best batch", "tuned" if tuned else "", variant]
    return ", ".join(filter(None, words))


def _bar(check: Check, table: Throughput | None, baseline: _Baseline, scale: Scale) -> Bar:
    value, key = figure(check) or 0.0, _key(check)
    published, accepted = _published_of(check, table), baseline.accepted.get(key)
    shares = [f"{100 * value / published.fps:.1f} % of published"] if published else []
    if accepted and accepted.value > 0:
        shares.append(f"{100 * (value / accepted.value - 1):+.1f} % to baseline")
    variant = str(check.coordinates.get("variant", ""))
    return Bar(
        label=_label(*key, "" if variant == "float32" else variant),
        value=shown.number(value),
        pct=scale.pct(value),
        look="bad" if key in baseline.regressed else look_of(check),
        marks=tuple(_marks(key, check, published, baseline, scale)),
        note=", ".join(shares),
    )


def _published_of(check: Check, table: Throughput | None) -> Figure | None:
    """Return the figure published for this batch size by the same method, if there is one."""
    if table is None:
        return None
    same = all(
        check.coordinates.get(name, wanted) == wanted
        for name, wanted in (
            ("tool", table.tool),
            ("method", table.method),
            ("variant", table.variant),
        )
    )
    wanted = _key(check)
    found = (each for each in table.figures if (each.batch, each.tuned) == wanted)
    return next(found, None) if same and check.id in CARD else None


def _marks(
    key: Key, check: Check | None, published: Figure | None, baseline: _Baseline, scale: Scale
) -> Iterator[Mark]:
    if published:
        yield Mark("published", scale.pct(published.fps), shown.number(published.fps))
    if check and check.direction is Direction.AT_LEAST and isinstance(check.bound, int | float):
        yield Mark("bound", scale.pct(check.bound), f"at least {shown.number(check.bound)}")
    if accepted := baseline.accepted.get(key):
        told = f"{shown.number(accepted.value)} of {accepted.accepted}"
        yield Mark("baseline", scale.pct(accepted.value), told)
