"""Errors of ONNX and om, each as the share of what it may be."""

from __future__ import annotations

from conformance.check import Check
from conformance.evidence.report import shown
from conformance.evidence.report.charts import Bar, Chart, Mark, Panel, Scale, figure, look_of
from conformance.evidence.report.source import Source
from conformance.evidence.report.stages import used_pct

# Every group is named, also where nothing was measured.
GROUPS = {
    "ONNX against PyTorch": ("export.parity.rms", "export.parity.largest"),
    "ONNX, batch sizes against each other": ("accuracy.batch.scores",),
    "om against PyTorch": ("agreement.scores", "agreement.epsilon"),
    "om, batch sizes against each other": ("agreement.batch.scores",),
}
NAMES = {"rms": "RMS", "largest": "largest", "scores": "largest", "epsilon": "largest"}
MAX_BARS = 6
SCALE = Scale(0.0, 150.0)


def error_chart(source: Source) -> Chart:
    """Return a panel for each comparison; 100 % is the bound that was fixed beforehand."""
    panels, notes = [], []
    for title, ids in GROUPS.items():
        found = [made.check for made in source.evidence.checks if made.check.id in ids]
        measured = [check for check in found if used_pct(check) is not None]
        if not measured:
            notes.append(f"{title}: not measured in this run.")
            continue
        measured.sort(key=lambda check: -(used_pct(check) or 0.0))
        if len(measured) > MAX_BARS:
            notes.append(f"{title}: the {MAX_BARS} largest of {len(measured)} are drawn.")
        bars = tuple(_bar(check, len(source.models)) for check in measured[:MAX_BARS])
        panels.append(
            Panel(
                title, bars, ((0, "0"), (SCALE.pct(50), "50 %"), (SCALE.pct(100), "100 % = bound"))
            )
        )
    return Chart(tuple(panels), tuple(notes))


def _bar(check: Check, models: int) -> Bar:
    used = used_pct(check) or 0.0
    name = NAMES.get(check.id.rpartition(".")[2], "")
    plain = {"variant": "float32"} | (
        {} if models > 1 else {"model": check.coordinates.get("model")}
    )
    place = {n: v for n, v in check.coordinates.items() if plain.get(n) != v}
    return Bar(
        label=", ".join(filter(None, (shown.place(place), name))),
        value=f"{used:.0f} % of bound" if used < 1000 else "over 10 times its bound",
        pct=SCALE.pct(used),
        look=look_of(check),
        marks=(Mark("bound", SCALE.pct(100), shown.bound(check.direction, check.bound)),),
        note=shown.number(figure(check)),
    )
