"""The flip ledger: every image whose decision changed on its way to the board, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from conformance.errors import DumpError
from conformance.metrics.best import DEPTH, REFERENCE_DEPTH, Best, best_classes
from conformance.metrics.scores import Scores, choices, require_comparable

# A run that may pass changes at most 3 % of 50,000 decisions; of a broken one the worst say enough.
MOST_LISTED = 2000
SHOWN = 3


class Verdict(StrEnum):
    """Why a decision changed."""

    NEAR_TIE = "near-tie"
    CONFIDENT = "confident"
    NOT_JUDGED = "not judged"


MEANING = {
    Verdict.NEAR_TIE: "near-tie, expected at",
    Verdict.CONFIDENT: "confident, more than rounding explains at",
    Verdict.NOT_JUDGED: "not judged, for want of a bound at",
}


@dataclass(frozen=True)
class Guess:
    """One class of a Top-5 list, counted from 0, and its score."""

    class_id: int
    score: float


@dataclass(frozen=True)
class Flip:
    """One image whose Top-1 class changed.

    Attributes:
        image: Its name.
        label: Its true class.
        reference: The reference's five best classes, best first.
        candidate: The candidate's.
        margin: Distance of the reference's two best scores.
        gap: Distance of the two chosen classes in the reference's scores, at least the margin.
        beyond: Whether the candidate's choice is none of the reference's twenty best, so that the
            gap is at least what is stated.
        verdict: Whether the gap is one that the candidate's number format explains.
    """

    image: str
    label: int
    reference: tuple[Guess, ...]
    candidate: tuple[Guess, ...]
    margin: float
    gap: float
    beyond: bool
    verdict: Verdict

    def describe(self, number_format: str) -> str:
        """Render the flip in one line: both choices with their scores, the margin, the verdict."""
        trusted, ours = self.reference[0], self.candidate[0]
        return (
            f"{self.image} (class {self.label}): {ours.class_id} at {ours.score:.4g}, PyTorch "
            f"{trusted.class_id} at {trusted.score:.4g}; margin {self.margin:.3g}, gap "
            f"{'at least ' * self.beyond}{self.gap:.3g}: {MEANING[self.verdict]} {number_format}"
        )


@dataclass(frozen=True)
class Flips:
    """The changed decisions of one candidate.

    Attributes:
        images: Images compared.
        flips: Those whose decision changed.
        confident: Those of them that nothing explains; None if there is no bound to judge by.
        listed: The flips, the widest gap first; of very many only the worst.
    """

    images: int
    flips: int
    confident: int | None
    listed: tuple[Flip, ...]

    def describe(self, number_format: str) -> str:
        """Render the first few flips, one line each, and how many more there are."""
        lines = [flip.describe(number_format) for flip in self.listed[:SHOWN]]
        if more := self.flips - len(lines):
            lines.append(f"and {more} more, in flips.json")
        return "\n".join(lines) or f"no decision of {self.images} images changed"


def find_flips(
    reference: Best,
    candidate: Best,
    labels: Sequence[int] | npt.NDArray[np.integer],
    names: Sequence[str],
    *,
    explained: float | None,
    images: int | None = None,
) -> Flips:
    """Return every image whose first class differs, judged by the reference's scores.

    Args:
        reference: The trusted side's best classes, twenty of them.
        candidate: The other side's, five of them, in the same order of images.
        labels: True class of each image.
        names: The images, one per row.
        explained: Largest gap that the candidate's number format explains; None if not known.
        images: Images compared, where only some of them are given.

    Raises:
        DumpError: No images, a label per image is missing, or the sides are of different images.
    """
    counts = {len(names), len(labels), len(reference.ids), len(candidate.ids)}
    if len(counts) != 1 or not (images or len(names)) or reference.ids.shape[1] < 2:
        raise DumpError(
            "the flip ledger has nothing to compare",
            got=f"{len(names)} names, {len(labels)} labels, {reference.ids.shape} classes of the "
            f"reference, {candidate.ids.shape} of the candidate",
            expected="one row and one label per image on both sides",
            next_step="infer the same images with PyTorch and with the engine",
        )
    rows = np.flatnonzero(reference.ids[:, 0] != candidate.ids[:, 0])
    gap, beyond = _gaps(reference, candidate, rows)
    confident = None if explained is None else beyond | (gap > explained)
    order = np.argsort(-gap, kind="stable")[:MOST_LISTED]
    listed = tuple(
        Flip(
            image=names[row],
            label=int(labels[row]),
            reference=_guesses(reference, row),
            candidate=_guesses(candidate, row),
            margin=float(reference.scores[row, 0] - reference.scores[row, 1]),
            gap=float(gap[at]),
            beyond=bool(beyond[at]),
            verdict=_verdict(None if confident is None else bool(confident[at])),
        )
        for at, row in zip(order.tolist(), rows[order].tolist(), strict=True)
    )
    unexplained = None if confident is None else int(confident.sum())
    return Flips(images or len(names), len(rows), unexplained, listed)


def flips_of_scores(
    reference: Scores,
    candidate: Scores,
    labels: npt.NDArray[np.integer],
    names: Sequence[str],
    *,
    explained: float | None,
) -> Flips:
    """Return the same from all scores, each (images, classes).

    Raises:
        DumpError: The two sides cannot be compared.
    """
    require_comparable(names, reference=reference, candidate=candidate)
    rows = np.flatnonzero(choices(reference) != choices(candidate))
    return find_flips(
        best_classes(reference[rows], REFERENCE_DEPTH),
        best_classes(candidate[rows]),
        labels[rows],
        [names[row] for row in rows.tolist()],
        explained=explained,
        images=len(names),
    )


def _gaps(
    reference: Best, candidate: Best, rows: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Return each gap, and whether it is only known to be at least that."""
    found = reference.ids[rows] == candidate.ids[rows, :1]
    beyond = ~found.any(axis=1)
    place = np.where(beyond, reference.ids.shape[1] - 1, found.argmax(axis=1))
    scores = reference.scores[rows]
    return scores[:, 0] - scores[np.arange(len(rows)), place], beyond


def _guesses(best: Best, row: int) -> tuple[Guess, ...]:
    pairs = zip(best.ids[row, :DEPTH].tolist(), best.scores[row, :DEPTH].tolist(), strict=True)
    return tuple(Guess(class_id, score) for class_id, score in pairs)


def _verdict(confident: bool | None) -> Verdict:
    if confident is None:
        return Verdict.NOT_JUDGED
    return Verdict.CONFIDENT if confident else Verdict.NEAR_TIE
