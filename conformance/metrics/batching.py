"""What must not depend on batch size, on a row's place or on its neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from conformance.check import Status
from conformance.errors import DumpError
from conformance.metrics.scores import (
    Scores,
    choices,
    largest_errors,
    margins,
    require_comparable,
)


@dataclass(frozen=True)
class BatchAgreement:
    """Whether two batch sizes of one model agree image by image.

    Attributes:
        status: PASS or FAIL; the worst of the three claims.
        images: Images compared.
        largest_error: Largest max|difference| between the two.
        beyond: Images whose difference is above ``2 * epsilon``, worst first.
        near_ties: Images whose reference margin is at most ``2 * epsilon``.
        differing: Images whose decision differs.
        confident: Those of them that are no near ties.
        hits: Top-1 hits of both, as counted by the evaluation.
        explanation: One sentence for the reader.
    """

    status: Status
    images: int
    largest_error: float
    beyond: tuple[str, ...]
    near_ties: int
    differing: tuple[str, ...]
    confident: tuple[str, ...]
    hits: tuple[int, int]
    explanation: str


def decide_batches(
    reference: Scores,
    first: Scores,
    second: Scores,
    names: Sequence[str],
    *,
    hits: tuple[int, int],
    epsilon: float,
) -> BatchAgreement:
    """Compare scores (images, classes) of two batch sizes.

    Each may be off the reference by epsilon, so they may be ``2 * epsilon`` apart, may decide
    differently only where the reference's margin is at most that, and their hits may differ by no
    more than the decisions do. Equal hits are not asked for: a chip tiles each batch size its way.

    Args:
        reference: Trusted scores of the same images.
        first: Scores of the first batch size.
        second: Scores of the second.
        names: The images, one per row.
        hits: Top-1 hits of both, from the evaluation of the dumps and not from these arrays.
        epsilon: Largest error allowed against the reference.

    Raises:
        DumpError: The sides cannot be compared.
    """
    require_comparable(names, reference=reference, first=first, second=second)
    errors = largest_errors(first, second)
    order = np.argsort(-errors, kind="stable")
    beyond = tuple(names[row] for row in order.tolist() if errors[row] > 2 * epsilon)
    near_tie = margins(reference) <= 2 * epsilon
    differs = choices(first) != choices(second)
    confident = tuple(names[row] for row in np.flatnonzero(differs & ~near_tie).tolist())
    miscounted = abs(hits[0] - hits[1]) > int(differs.sum())
    text = (
        f"{len(beyond)} of {len(names)} images above {2 * epsilon:.4g}, {int(differs.sum())} "
        f"decisions differ ({len(confident)} of them confident), hits {hits[0]} and {hits[1]}"
    )
    if miscounted:
        text += ": the hits differ by more than the decisions, so the count is wrong"
    return BatchAgreement(
        status=Status.FAIL if beyond or confident or miscounted else Status.PASS,
        images=len(names),
        largest_error=float(errors.max()),
        beyond=beyond,
        near_ties=int(near_tie.sum()),
        differing=tuple(names[row] for row in np.flatnonzero(differs).tolist()),
        confident=confident,
        hits=hits,
        explanation=text,
    )


@dataclass(frozen=True)
class RowInvariance:
    """Whether rows stay what they are when something around them changes.

    Attributes:
        status: PASS or FAIL.
        largest_error: Largest max|difference| of any row.
        row: The row that has it.
        epsilon: What is allowed.
    """

    status: Status
    largest_error: float
    row: int
    epsilon: float


def decide_rows(expected: Scores, got: Scores, *, epsilon: float) -> RowInvariance:
    """Compare rows (rows, classes) that must be equal: other neighbours, or a partial batch.

    Raises:
        DumpError: The sides cannot be compared.
    """
    require_comparable([str(row) for row in range(len(expected))], expected=expected, got=got)
    errors = largest_errors(expected, got)
    row = int(errors.argmax())
    status = Status.PASS if errors[row] <= epsilon else Status.FAIL
    return RowInvariance(status, float(errors[row]), row, epsilon)


def decide_identical_rows(scores: Scores, *, epsilon: float) -> RowInvariance:
    """Check that a batch filled with one image gives one result (rows, classes) in each row.

    Raises:
        DumpError: Fewer than two rows, or scores that are not finite.
    """
    if len(scores) < 2:
        raise DumpError(
            "one row cannot differ from itself",
            got=f"{len(scores)} rows",
            expected="a batch of at least two",
            next_step="use a batch size above 1",
        )
    return decide_rows(np.broadcast_to(scores[0], scores.shape), scores, epsilon=epsilon)


def decide_permuted_rows(
    scores: Scores, permuted: Scores, order: Sequence[int], *, epsilon: float
) -> RowInvariance:
    """Check that feeding rows in another order gives the outputs (rows, classes) in that order.

    Args:
        scores: Outputs of the rows as they were.
        permuted: Outputs of ``rows[order]``.
        order: The permutation, which must move at least one row.
        epsilon: What is allowed.

    Raises:
        DumpError: ``order`` is no permutation or moves nothing, or the sides cannot be compared.
    """
    if sorted(order) != list(range(len(scores))) or list(order) == sorted(order):
        raise DumpError(
            "the rows were not permuted",
            got=list(order),
            expected=f"another order of 0 to {len(scores) - 1}",
            next_step="move at least one row",
        )
    return decide_rows(scores[list(order)], permuted, epsilon=epsilon)
