"""The flip ledger: every image whose decision changed on its way to the board."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from conformance.errors import DumpError
from conformance.metrics.scores import (
    Scores,
    choices,
    gaps,
    margins,
    require_comparable,
    top_classes,
)

# Two float32 computations of one network differ by up to eight units in the last place of the
# largest score; twice that is a tie that no computation in float32 decides.
FLOAT32_TIE = 2 * 8 * 2.0**-24


class Verdict(StrEnum):
    """Why a decision changed."""

    NEAR_TIE = "near-tie"
    EXPECTED_FLOAT16 = "expected-float16"
    CONFIDENT_FLIP = "confident flip"


@dataclass(frozen=True)
class Candidate:
    """One side whose decisions are compared with the reference's.

    Attributes:
        scores: Scores (images, classes), in the reference's order of images.
        epsilon: Error that this side may make by its number format; 0 for float32.
    """

    scores: Scores
    epsilon: float


@dataclass(frozen=True)
class Flip:
    """One image whose Top-1 class changed.

    Attributes:
        image: Its name.
        label: Its true class.
        candidate: Name of the side that decided otherwise.
        reference_top5: The reference's best classes, best first.
        candidate_top5: The candidate's.
        margin: Distance of the reference's two best scores.
        gap: Distance of the two chosen classes in the reference's scores, at least the margin.
        verdict: Whether that is a tie, what float16 explains, or a bug.
    """

    image: str
    label: int
    candidate: str
    reference_top5: tuple[int, ...]
    candidate_top5: tuple[int, ...]
    margin: float
    gap: float
    verdict: Verdict

    def describe(self) -> str:
        """Render the flip in one line."""
        return (
            f"{self.image} (class {self.label}): {self.candidate} {list(self.candidate_top5)} "
            f"against {list(self.reference_top5)}, margin {self.margin:.4g}, gap {self.gap:.4g}: "
            f"{self.verdict}"
        )


def flip_ledger(
    reference: Scores,
    candidates: Mapping[str, Candidate],
    labels: Sequence[int],
    names: Sequence[str],
) -> tuple[Flip, ...]:
    """Return every flip of every candidate, the worst first.

    Args:
        reference: Trusted scores (images, classes).
        candidates: The other sides by name, such as ``onnx`` and ``om bs16``.
        labels: True class of each image.
        names: The images, one per row.

    Raises:
        DumpError: No candidates, a label per image is missing, or the sides cannot be compared.
    """
    sides = {name: candidate.scores for name, candidate in candidates.items()}
    require_comparable(names, **{"reference": reference, **sides})
    _require_sides(candidates, labels, names)
    found = [
        flip
        for name, candidate in candidates.items()
        for flip in _flips(reference, name, candidate, labels, names)
    ]
    return tuple(sorted(found, key=lambda flip: (-flip.gap, flip.image, flip.candidate)))


def _flips(
    reference: Scores,
    name: str,
    candidate: Candidate,
    labels: Sequence[int],
    names: Sequence[str],
) -> Iterator[Flip]:
    margin, gap = margins(reference), gaps(reference, candidate.scores)
    tie = FLOAT32_TIE * np.abs(reference).max(axis=1)
    for row in np.flatnonzero(choices(reference) != choices(candidate.scores)).tolist():
        yield Flip(
            image=names[row],
            label=int(labels[row]),
            candidate=name,
            reference_top5=top_classes(reference[row]),
            candidate_top5=top_classes(candidate.scores[row]),
            margin=float(margin[row]),
            gap=float(gap[row]),
            verdict=_verdict(float(gap[row]), float(tie[row]), candidate.epsilon),
        )


def _verdict(gap: float, tie: float, epsilon: float) -> Verdict:
    if gap <= tie:
        return Verdict.NEAR_TIE
    return Verdict.EXPECTED_FLOAT16 if gap <= 2 * epsilon else Verdict.CONFIDENT_FLIP


def _require_sides(
    candidates: Mapping[str, Candidate], labels: Sequence[int], names: Sequence[str]
) -> None:
    if candidates and len(labels) == len(names):
        return
    raise DumpError(
        "the flip ledger has nothing to compare",
        got=f"{len(candidates)} candidates, {len(labels)} labels, {len(names)} images",
        expected="at least one candidate and one label per image",
        next_step="infer with ONNX Runtime or on the board first",
    )
