"""Throughput per batch size against the published figures and the baseline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from conformance.check import Check, Direction
from conformance.evidence.baseline import REGRESSION
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
    floors = _floors(made)
    if not floors:
        notes.append("No baseline: this run was compared with no earlier one.")
    title = f"{model}, {measured[0].unit or 'images/s'}"
    return _drawn(title, measured, table, floors)


def _measured(checks: Sequence[Check], ids: tuple[str, ...]) -> list[Check]:
    return [check for check in checks if check.id in ids and figure(check) is not None]


def _floors(checks: Sequence[Check]) -> dict[Key, float]:
    """Return the least that the baseline allows, by batch size and tuning."""
    ids = {REGRESSION + name for name in CARD}
    return {
        _key(check): float(check.bound)
        for check in checks
        if check.id in ids and isinstance(check.bound, int | float)
    }


def _key(check: Check) -> Key:
    batch = check.coordinates.get("batch", 0)
    return (batch if isinstance(batch, int) else 0, check.coordinates.get("tuned") == "yes")


def _drawn(
    title: str, measured: list[Check], table: Throughput | None, floors: dict[Key, float]
) -> Panel:
    figures = list(table.figures) if table else []
    values = [figure(check) or 0.0 for check in measured]
    scale = scale_from_zero([*values, *(f.fps for f in figures), *floors.values()])
    done = {_key(check) for check in measured}
    rows = [(_key(check), _bar(check, table, floors, scale)) for check in measured]
    rows += [
        (
            (f.batch, f.tuned),
            Bar(_label(f.batch, f.tuned), "not measured", marks=(_published(f, scale),)),
        )
        for f in figures
        if (f.batch, f.tuned) not in done
    ]
    bars = tuple(bar for _, bar in sorted(rows, key=lambda row: row[0]))
    return Panel(title, bars, scale.ticks())


def _label(batch: int, tuned: bool, variant: str = "") -> str:
    words = [f"batch {batch}" if batch else "best batch", "tuned" if tuned else "", variant]
    return ", ".join(filter(None, words))


def _bar(check: Check, table: Throughput | None, floors: dict[Key, float], scale: Scale) -> Bar:
    value = figure(check) or 0.0
    published = _published_of(check, table)
    share = f"{100 * value / published.fps:.1f} % of published" if published else ""
    variant = str(check.coordinates.get("variant", ""))
    return Bar(
        label=_label(*_key(check), "" if variant == "float32" else variant),
        value=shown.number(value),
        pct=scale.pct(value),
        look=look_of(check),
        marks=tuple(_marks(check, published, floors, scale)),
        note=share,
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


def _published(found: Figure, scale: Scale) -> Mark:
    return Mark("published", scale.pct(found.fps), shown.number(found.fps))


def _marks(
    check: Check, published: Figure | None, floors: dict[Key, float], scale: Scale
) -> Iterator[Mark]:
    if published:
        yield _published(published, scale)
    if check.direction is Direction.AT_LEAST and isinstance(check.bound, int | float):
        yield Mark("bound", scale.pct(check.bound), f"at least {shown.number(check.bound)}")
    floor = floors.get(_key(check))
    if floor is not None and check.id in CARD:
        yield Mark("baseline", scale.pct(floor), f"at least {shown.number(floor)}")
