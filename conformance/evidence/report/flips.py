"""Images whose decision changed on the way from PyTorch to ONNX Runtime and to the board."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from conformance.evidence.bundle import PredictionSet
from conformance.evidence.prediction_file import Best, Predictions
from conformance.evidence.report.accuracy_chart import set_label
from conformance.evidence.report.source import Source

REFERENCE = "torch"
MAX_SHOWN = 24
CLASSES_FILE = Path(__file__).with_name("imagenet_classes.txt")


@dataclass(frozen=True)
class Guess:
    """One class of a Top-5 list."""

    name: str
    score: float
    right: bool


@dataclass(frozen=True)
class Side:
    """What one engine, or several alike, said of an image."""

    engines: tuple[str, ...]
    guesses: tuple[Guess, ...]

    @property
    def name(self) -> str:
        """The engines in short: ``om bs1, bs16``."""
        heads = {engine.partition(" ")[0] for engine in self.engines}
        if len(heads) > 1 or len(self.engines) == 1:
            return ", ".join(self.engines)
        return f"{heads.pop()} {', '.join(engine.partition(' ')[2] for engine in self.engines)}"

    @property
    def margin(self) -> float:
        """Distance of the two best scores."""
        return self.guesses[0].score - self.guesses[1].score if len(self.guesses) > 1 else 0.0


@dataclass(frozen=True)
class Flip:
    """One image, the reference's list and those that decide otherwise."""

    image: str
    label: str
    reference: Side
    others: tuple[Side, ...]
    effect: str


@dataclass(frozen=True)
class Flips:
    """The images that changed, and what there is to say of each comparison.

    Attributes:
        shown: The images, those that the reference was surest of first.
        total: How many there are.
        images: How many images were compared.
        counts: Changed decisions of each engine.
        notes: What is missing.
    """

    shown: tuple[Flip, ...] = ()
    total: int = 0
    images: int = 0
    counts: tuple[tuple[str, int], ...] = ()
    notes: tuple[str, ...] = ()


def changed_decisions(source: Source) -> Flips:
    """Return the images of which some engine gives another first class than PyTorch."""
    if source.predictions is None:
        return Flips(notes=("Not known: this bundle holds no predictions.",))
    found = [_of_model(source, source.predictions, model) for model in source.models]
    return Flips(
        shown=tuple(flip for each in found for flip in each.shown),
        total=sum(each.total for each in found),
        images=len(source.predictions.names),
        counts=tuple(count for each in found for count in each.counts),
        notes=tuple(note for each in found for note in each.notes),
    )


def _of_model(source: Source, predictions: Predictions, model: str) -> Flips:
    sets = [
        found
        for found in source.evidence.predictions
        if found.coordinates.get("model", model) == model and found.name in predictions.sets
    ]
    reference = next((found for found in sets if found.engine == REFERENCE), None)
    candidates = [found for found in sets if found.engine != REFERENCE]
    if reference is None or not candidates:
        lacking = (
            "predictions by PyTorch" if reference is None else "any other engine's predictions"
        )
        return Flips(notes=(f"Not known: this bundle lacks {lacking} of {model}.",))
    trusted = predictions.sets[reference.name]
    changed = {
        found.name: np.flatnonzero(predictions.sets[found.name].ids[:, 0] != trusted.ids[:, 0])
        for found in candidates
    }
    rows = np.unique(np.concatenate(list(changed.values())))
    margins = trusted.scores[:, 0] - trusted.scores[:, min(1, trusted.scores.shape[1] - 1)]
    first = sorted(rows.tolist(), key=lambda row: (-float(margins[row]), row))[:MAX_SHOWN]
    return Flips(
        shown=tuple(_flip(predictions, row, reference, candidates) for row in first),
        total=len(rows),
        counts=tuple((set_label(found), len(changed[found.name])) for found in candidates),
    )


def _flip(
    predictions: Predictions, row: int, reference: PredictionSet, candidates: list[PredictionSet]
) -> Flip:
    label = int(predictions.labels[row])
    trusted = predictions.sets[reference.name]
    first = int(trusted.ids[row, 0])
    alike: dict[tuple[int, ...], list[PredictionSet]] = {}
    for found in candidates:
        ids = tuple(predictions.sets[found.name].ids[row].tolist())
        if ids[0] != first:
            alike.setdefault(ids, []).append(found)
    return Flip(
        image=predictions.names[row],
        label=class_name(label),
        reference=Side((set_label(reference),), tuple(_guesses(trusted, row, label))),
        others=tuple(
            Side(
                tuple(set_label(found) for found in sets),
                tuple(_guesses(predictions.sets[sets[0].name], row, label)),
            )
            for sets in alike.values()
        ),
        effect=_effect(first, {ids[0] for ids in alike}, label),
    )


def _guesses(best: Best, row: int, label: int) -> Iterator[Guess]:
    for class_id, score in zip(best.ids[row].tolist(), best.scores[row].tolist(), strict=True):
        yield Guess(class_name(class_id), score, class_id == label)


def _effect(before: int, after: set[int], label: int) -> str:
    if before == label:
        return "right before, wrong now"
    return "wrong before, right now" if label in after else "wrong before, wrong otherwise now"


def class_name(class_id: int) -> str:
    """Return an ImageNet class by torchvision's index, with its number."""
    names = _class_names()
    return f"{names[class_id]} ({class_id})" if 0 <= class_id < len(names) else f"class {class_id}"


@functools.cache
def _class_names() -> tuple[str, ...]:
    """Return the names of the 1,000 classes, as torchvision's model cards list them."""
    return tuple(CLASSES_FILE.read_text("utf-8").splitlines())
