"""Images whose decision changed on the way from PyTorch to ONNX Runtime and to the board."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from conformance.evidence.bundle import FLIPS_FILE
from conformance.evidence.flip_ledger import Comparison
from conformance.evidence.report.accuracy_chart import set_label
from conformance.evidence.report.source import Source
from conformance.metrics import flips as ledger

MAX_SHOWN = 24
MAX_NAMED = 6
CLASSES_FILE = Path(__file__).with_name("imagenet_classes.txt")
FORMATS = {"om": "float16"}
LOOKS = {
    ledger.Verdict.NEAR_TIE: "pass",
    ledger.Verdict.CONFIDENT: "fail",
    ledger.Verdict.NOT_JUDGED: "inconclusive",
}


@dataclass(frozen=True)
class Guess:
    """One class of a Top-5 list."""

    name: str
    score: float
    right: bool


@dataclass(frozen=True)
class Side:
    """What one engine, or several alike, said of an image.

    Attributes:
        engines: Their names.
        guesses: Their five best classes.
        note: The reference's margin, or the gap over which the others decided otherwise.
        verdict: Why that happened; empty of the reference.
        look: How the verdict is shown.
    """

    engines: tuple[str, ...]
    guesses: tuple[Guess, ...]
    note: str
    verdict: str = ""
    look: str = ""

    @property
    def name(self) -> str:
        """The engines in short: ``om bs1, bs16``."""
        heads = {engine.partition(" ")[0] for engine in self.engines}
        if len(heads) > 1 or len(self.engines) == 1:
            return ", ".join(self.engines)
        return f"{heads.pop()} {', '.join(engine.partition(' ')[2] for engine in self.engines)}"


@dataclass(frozen=True)
class Flip:
    """One image, the reference's list and those that decide otherwise."""

    image: str
    label: str
    reference: Side
    others: tuple[Side, ...]
    effect: str


@dataclass(frozen=True)
class Count:
    """Changed decisions of one engine, and how many of them nothing explains."""

    engine: str
    flips: int
    confident: int | None
    images: int


@dataclass(frozen=True)
class Flips:
    """The images that changed, and what there is to say of each comparison.

    Attributes:
        shown: The images, those that nothing explains first, then the widest gap.
        total: How many there are.
        images: How many images were compared.
        counts: Changed decisions of each engine.
        notes: What is missing.
    """

    shown: tuple[Flip, ...] = ()
    total: int = 0
    images: int = 0
    counts: tuple[Count, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def confident(self) -> str:
        """Which engines changed decisions that rounding does not explain, and how many each."""
        found = [f"{count.engine} ({count.confident})" for count in self.counts if count.confident]
        more = [f"{len(found) - MAX_NAMED} more"] if len(found) > MAX_NAMED else []
        return ", ".join([*found[:MAX_NAMED], *more])


Found = tuple[Comparison, ledger.Flip]


def changed_decisions(source: Source) -> Flips:
    """Return the images of which some engine gives another first class than PyTorch."""
    if source.flips is None:
        lacking = "flip ledger" if source.predictions else "predictions"
        return Flips(notes=(f"Not known: this bundle holds no {lacking}.",))
    compared = source.flips.comparisons
    by_image: dict[tuple[object, str], list[Found]] = {}
    for found in compared:
        for flip in found.listed:
            place = (found.coordinates.get("model"), flip.image)
            by_image.setdefault(place, []).append((found, flip))
    worst = sorted(by_image.values(), key=_severity)
    notes = [f"Not known: this bundle lacks {what}." for what in source.flips.lacking]
    if any(found.flips > len(found.listed) for found in compared):
        notes.append(f"Of one engine {FLIPS_FILE} lists the {ledger.MOST_LISTED:,} worst alone.")
    return Flips(
        shown=tuple(_flip(found) for found in worst[:MAX_SHOWN]),
        total=len(worst),
        images=max((found.images for found in compared), default=0),
        counts=tuple(
            Count(set_label(found), found.flips, found.confident, found.images)
            for found in compared
        ),
        notes=tuple(notes),
    )


def _severity(found: list[Found]) -> tuple[bool, float, str]:
    """Sort what nothing explains first, then by the widest gap."""
    confident = any(flip.verdict is ledger.Verdict.CONFIDENT for _, flip in found)
    return not confident, -max(flip.gap for _, flip in found), found[0][1].image


def _flip(found: list[Found]) -> Flip:
    first = found[0][1]
    chosen = {flip.candidate[0].class_id for _, flip in found}
    return Flip(
        image=first.image,
        label=class_name(first.label),
        reference=Side(
            engines=("PyTorch",),
            guesses=tuple(_guesses(first.reference, first.label)),
            note=f"margin {first.margin:.4g}",
        ),
        others=tuple(_sides(found)),
        effect=_effect(first.reference[0].class_id, chosen, first.label),
    )


def _sides(found: list[Found]) -> Iterator[Side]:
    """Yield one side for all engines that gave the same classes and got the same verdict."""

    def alike(pair: Found) -> tuple[str, str, list[int]]:
        flip, format_ = pair[1], _format(pair[0])
        return format_, flip.verdict, [guess.class_id for guess in flip.candidate]

    for _, group in itertools.groupby(sorted(found, key=alike), key=alike):
        pairs = list(group)
        compared, flip = pairs[0]
        yield Side(
            engines=tuple(set_label(one) for one, _ in pairs),
            guesses=tuple(_guesses(flip.candidate, flip.label)),
            note=f"gap {'at least ' * flip.beyond}{flip.gap:.4g}",
            verdict=f"{ledger.MEANING[flip.verdict]} {_format(compared)}",
            look=LOOKS[flip.verdict],
        )


def _format(compared: Comparison) -> str:
    return FORMATS.get(compared.engine, "float32")


def _guesses(guesses: Iterable[ledger.Guess], label: int) -> Iterator[Guess]:
    for guess in guesses:
        yield Guess(class_name(guess.class_id), guess.score, guess.class_id == label)


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
