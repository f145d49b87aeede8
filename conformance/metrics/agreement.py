"""Candidate against reference on the same tensors: errors, decisions and swapped rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from conformance.bounds import suite_bound
from conformance.check import Status
from conformance.metrics.scores import (
    Scores,
    choices,
    gaps,
    largest_errors,
    margins,
    require_comparable,
)

MAX_EXEMPT_PCT = suite_bound("agreement.exempt_pct")
SHOWN = 5


@dataclass(frozen=True)
class Swapped:
    """An output row that lies nearer to another image's reference than to its own.

    Attributes:
        image: The image under whose name the row was found.
        belongs_to: The image whose reference row it is.
        error: max|difference| to the row of ``image``.
        distance: max|difference| to the row of ``belongs_to``.
    """

    image: str
    belongs_to: str
    error: float
    distance: float


@dataclass(frozen=True)
class ScoreAgreement:
    """Whether every score of every image lies within epsilon of the reference's.

    Attributes:
        status: PASS or FAIL.
        images: Images compared.
        epsilon: Largest allowed max|difference|.
        largest_error: Largest of all images.
        worst_image: The image that has it.
        beyond: Images beyond epsilon, worst first.
        swapped: Of the worst of these, rows that belong to another image.
    """

    status: Status
    images: int
    epsilon: float
    largest_error: float
    worst_image: str
    beyond: tuple[str, ...]
    swapped: tuple[Swapped, ...]


def decide_scores(
    reference: Scores, candidate: Scores, names: Sequence[str], *, epsilon: float
) -> ScoreAgreement:
    """Compare scores (images, classes) with a bound that was fixed before they were seen.

    Raises:
        DumpError: The two sides cannot be compared.
    """
    require_comparable(names, reference=reference, candidate=candidate)
    errors = largest_errors(reference, candidate)
    order = np.argsort(-errors, kind="stable")
    beyond = order[errors[order] > epsilon]
    return ScoreAgreement(
        status=Status.FAIL if len(beyond) else Status.PASS,
        images=len(names),
        epsilon=epsilon,
        largest_error=float(errors[order[0]]),
        worst_image=names[int(order[0])],
        beyond=tuple(names[row] for row in beyond.tolist()),
        swapped=tuple(swapped_rows(reference, candidate, names, beyond.tolist()[:SHOWN])),
    )


def swapped_rows(
    reference: Scores, candidate: Scores, names: Sequence[str], rows: Sequence[int]
) -> Iterator[Swapped]:
    """Yield those of some rows that lie nearer to another image's reference than to their own.

    Args:
        reference: Trusted scores (images, classes).
        candidate: Those that are looked at.
        names: The images, one per row.
        rows: Which of them to look at.
    """
    for row in rows:
        distances = largest_errors(reference, candidate[row])
        nearest = int(distances.argmin())
        if nearest != row:
            yield Swapped(
                names[row], names[nearest], float(distances[row]), float(distances[nearest])
            )


@dataclass(frozen=True)
class DecisionAgreement:
    """Whether Top-1 decisions differ only where the reference itself is close to a tie.

    Attributes:
        status: PASS, FAIL or INCONCLUSIVE.
        images: Images compared.
        epsilon: Half of the gap inside which a decision may differ.
        differing: Images whose decision differs.
        confident: Those of them whose gap is above ``2 * epsilon``, widest gap first.
        exempt_pct: Share of images whose decision was allowed to differ.
        explanation: One sentence for the reader.
    """

    status: Status
    images: int
    epsilon: float
    differing: tuple[str, ...]
    confident: tuple[str, ...]
    exempt_pct: float
    explanation: str


def decide_decisions(
    reference: Scores,
    candidate: Scores,
    names: Sequence[str],
    *,
    epsilon: float,
    max_exempt_pct: float = MAX_EXEMPT_PCT,
) -> DecisionAgreement:
    """Compare Top-1 decisions of scores (images, classes).

    Two scores that are each off by at most epsilon can change places only over a gap of at most
    ``2 * epsilon``. Where that exempts more than ``max_exempt_pct`` of the images, agreement says
    too little: INCONCLUSIVE.

    Raises:
        DumpError: The two sides cannot be compared.
    """
    require_comparable(names, reference=reference, candidate=candidate)
    gap = gaps(reference, candidate)
    differing = np.flatnonzero(choices(reference) != choices(candidate))
    order = differing[np.argsort(-gap[differing], kind="stable")]
    confident = tuple(names[row] for row in order.tolist() if gap[row] > 2 * epsilon)
    exempt_pct = 100 * float((margins(reference) <= 2 * epsilon).mean())
    text = (
        f"{len(differing)} of {len(names)} decisions differ, {len(confident)} over a gap above "
        f"{2 * epsilon:.4g}; {exempt_pct:.1f} % of the images were allowed to"
    )
    status = Status.FAIL if confident else Status.PASS
    if not confident and exempt_pct > max_exempt_pct:
        status = Status.INCONCLUSIVE
        text += f", more than {max_exempt_pct:g} %: a smaller epsilon would settle it"
    return DecisionAgreement(
        status,
        len(names),
        epsilon,
        tuple(names[row] for row in differing.tolist()),
        confident,
        exempt_pct,
        text,
    )
