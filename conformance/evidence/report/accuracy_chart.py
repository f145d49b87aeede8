"""Top-1 and Top-5 accuracy of every engine and batch size against the published figure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from conformance.check import Status
from conformance.evidence.bundle import PredictionSet
from conformance.evidence.flip_ledger import Comparison
from conformance.evidence.report import shown
from conformance.evidence.report.charts import (
    LOOKS,
    Bar,
    Chart,
    Mark,
    Panel,
    Scale,
    figure,
    scale_around,
)
from conformance.evidence.report.source import Source
from conformance.spec import Accuracy

DEPTHS = (1, 5)
ENGINES = {"torch": "PyTorch", "onnxruntime": "ONNX Runtime", "om": "om"}
Z95 = 1.959964


@dataclass(frozen=True)
class Measured:
    """Accuracy of one engine in percent, and its 95 % interval where the images are counted."""

    label: str
    pct: float
    look: str
    interval: tuple[float, float] | None = None


def accuracy_chart(source: Source) -> Chart:
    """Return a panel for Top-1 and one for Top-5, for each model."""
    panels: list[Panel] = []
    notes: list[str] = []
    for model in source.models:
        found = {depth: _measured(source, model, depth) for depth in DEPTHS}
        if not any(found.values()):
            notes.append(f"Not measured: this bundle holds no predictions of {model}.")
            continue
        published = _published(source, model, notes)
        comparable = _comparable(source, model)
        for depth, measured in found.items():
            if measured:
                panels.append(
                    _panel(
                        f"{model}, Top-{depth}", measured, published, depth, comparable=comparable
                    )
                )
    if any(bar.whisker for panel in panels for bar in panel.bars):
        notes.append("Whiskers: 95 % intervals (Wilson) for the images that were counted.")
    return Chart(tuple(panels), tuple(dict.fromkeys(notes)))


def _measured(source: Source, model: str, depth: int) -> list[Measured]:
    counted = [
        found
        for found in source.evidence.predictions
        if found.coordinates.get("model", model) == model and len(found.hits) >= depth
    ]
    order = list(ENGINES)
    counted.sort(key=lambda f: order.index(f.engine) if f.engine in order else len(order))
    verdicts = _verdicts(source, model, depth)
    if counted:
        return [_counted(found, depth, verdicts) for found in counted]
    return list(_stated(source, model, depth))


def _counted(found: PredictionSet, depth: int, verdicts: dict[str, Status]) -> Measured:
    hits, images = min(found.hits[depth - 1], found.images), found.images
    look = "plain"
    if found.engine == "om":
        status = verdicts.get(shown.place(_bare(found.coordinates)))
        look = LOOKS[status] if status else "plain"
    return Measured(set_label(found), 100 * hits / images, look, wilson_pct(hits, images))


def set_label(found: PredictionSet | Comparison) -> str:
    """Return the engine and coordinates of a set of predictions: ``om bs16``."""
    engine = ENGINES.get(found.engine, found.engine)
    return f"{engine} {shown.place(_bare(found.coordinates))}".strip()


def _bare(coordinates: dict[str, str | int]) -> dict[str, str | int]:
    return {
        name: value
        for name, value in coordinates.items()
        if name not in {"model", "soc", "tool"} and (name, value) != ("variant", "float32")
    }


def _verdicts(source: Source, model: str, depth: int) -> dict[str, Status]:
    """Return what the checks say of each om's accuracy, by its coordinates."""
    # What is compared with the published figure decides, where there is both.
    ids = (f"accuracy.paired.top{depth}", f"accuracy.published.top{depth}")
    return {
        shown.place(_bare(made.check.coordinates)): made.check.status
        for check_id in ids
        for made in source.evidence.checks
        if (made.check.id, made.check.coordinates.get("model")) == (check_id, model)
        and made.check.status is not Status.SKIP
    }


def _stated(source: Source, model: str, depth: int) -> Iterator[Measured]:
    """Yield accuracies that checks record, for a bundle without predictions."""
    for made in source.evidence.checks:
        check = made.check
        value = figure(check)
        stated = (check.id, check.unit, check.coordinates.get("model"))
        if stated == (f"accuracy.om.top{depth}", "%", model) and value is not None:
            yield Measured(f"om {shown.place(_bare(check.coordinates))}", value, "plain")


def _published(source: Source, model: str, notes: list[str]) -> Accuracy | None:
    """Return the published accuracy, where these weights and images have anything to do with it."""
    spec = source.specs.get(model)
    weights, images = source.class_of("weights", model), source.class_of("images", model)
    if spec is None:
        return None
    if "sample" in (weights, images):
        notes.append(
            "The published figure is not drawn: it says nothing of sample weights or sample images "
            f"(weights={weights}, images={images})."
        )
        return None
    if not _comparable(source, model):
        notes.append(
            "The published figure is for orientation only: it holds for the published weights on "
            f"all 50,000 images (weights={weights}, images={images})."
        )
    return spec.accuracy


def _comparable(source: Source, model: str) -> bool:
    classes = (source.class_of("weights", model), source.class_of("images", model))
    return classes == ("published", "full")


def _panel(
    title: str,
    measured: list[Measured],
    accuracy: Accuracy | None,
    depth: int,
    *,
    comparable: bool,
) -> Panel:
    published = {1: accuracy.top1_pct, 5: accuracy.top5_pct}[depth] if accuracy else None
    floor = published - accuracy.max_drop_points if comparable and accuracy and published else None
    values = [each.pct for each in measured]
    values += [end for each in measured for end in each.interval or ()]
    scale = scale_around([*values, *(mark for mark in (published, floor) if mark is not None)])
    bars = tuple(_bar(each, published, floor, scale) for each in measured)
    return Panel(title, bars, scale.ticks(" %"), shape="dot")


def _bar(each: Measured, published: float | None, floor: float | None, scale: Scale) -> Bar:
    marks = []
    note = ""
    if published is not None:
        marks.append(Mark("published", scale.pct(published), f"{published:g} %"))
    if published is not None and floor is not None:
        note = f"{each.pct - published:+.2f} points to published"
        marks.append(Mark("bound", scale.pct(floor), f"at least {floor:g} %"))
    ends = each.interval
    return Bar(
        label=each.label,
        value=f"{each.pct:.2f} %",
        pct=scale.pct(each.pct),
        look=each.look,
        marks=tuple(marks),
        whisker=(scale.pct(ends[0]), scale.pct(ends[1])) if ends else None,
        note=note,
    )


def wilson_pct(hits: int, images: int) -> tuple[float, float]:
    """Return Wilson's 95 % score interval of a share, in percent.

    Args:
        hits: Images that were right.
        images: All images, at least one.
    """
    share, weight = hits / images, Z95**2 / images
    centre = (share + weight / 2) / (1 + weight)
    half = Z95 * math.sqrt(share * (1 - share) / images + weight / (4 * images)) / (1 + weight)
    return 100 * max(centre - half, 0.0), 100 * min(centre + half, 1.0)
