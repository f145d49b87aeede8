"""Two batch sizes of one model against each other, image by image, as checks."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.check import Check, at_most, equal
from conformance.metrics.agreement import swapped_rows
from conformance.metrics.batching import BatchAgreement, decide_batches
from conformance.metrics.causes import how_far, likely_cause
from conformance.metrics.flips import SHOWN, Verdict
from conformance.metrics.scores import margins
from conformance.metrics.topn import count_topn
from conformance.predictions import Predictions


def batch_checks(
    reference: Predictions, first: Predictions, second: Predictions, epsilon: float, prefix: str
) -> list[Check]:
    """Two batch sizes of one model agree image by image: scores, decisions and counted hits.

    Args:
        reference: The trusted side.
        first: Predictions at the one batch size.
        second: Predictions at the other.
        epsilon: Largest error allowed against the reference.
        prefix: Name of the group of checks.
    """
    hits = (count_topn(first).hits[0], count_topn(second).hits[0])
    found = decide_batches(
        reference.scores, first.scores, second.scores, first.names, hits=hits, epsilon=epsilon
    )
    source = f"twice the largest error {epsilon:.3g} allowed against the reference"
    detail = {"source": source, "detail": found.explanation}
    apart = abs(hits[0] - hits[1])
    told = "\n".join([found.explanation, *_batch_flips(reference, first, second, found)])
    return [
        at_most(f"{prefix}.scores", found.largest_error, 2 * epsilon, source=source,
                detail="\n".join([found.explanation, *_beyond(first, second, found, epsilon)])),
        equal(f"{prefix}.decisions", len(found.confident), 0, unit="images", source=source,
              detail=told),
        at_most(f"{prefix}.hits", apart, len(found.differing), unit="hits apart", **detail),
    ]  # fmt: skip


def _beyond(
    first: Predictions, second: Predictions, found: BatchAgreement, epsilon: float
) -> Iterator[str]:
    """Yield which images are beyond, and whose rows they have in place of their own."""
    if not found.beyond:
        return
    yield f"beyond: {', '.join(found.beyond[:SHOWN])}"
    rows = {name: row for row, name in enumerate(first.names)}
    shown = [rows[name] for name in found.beyond[:SHOWN]]
    near = swapped_rows(first.scores, second.scores, first.names, shown)
    swapped = [row for row in near if row.distance <= 2 * epsilon]
    for row in swapped:
        yield f"the row of {row.image} is that of {row.belongs_to} at the first batch size"
    if not swapped:
        cause = likely_cause(first.scores, second.scores, 2 * epsilon)
        yield cause or f"no known mistake explains it: {how_far(first.scores, second.scores)}"


def _batch_flips(
    reference: Predictions, first: Predictions, second: Predictions, found: BatchAgreement
) -> Iterator[str]:
    """Yield the first few images that the two decide differently, those without excuse first."""
    rows = {name: row for row, name in enumerate(reference.names)}
    ranked = list(dict.fromkeys((*found.confident, *found.differing)))
    for name in ranked[:SHOWN]:
        row = rows[name]
        margin = float(margins(reference.scores[row : row + 1])[0])
        verdict = Verdict.CONFIDENT if name in found.confident else Verdict.NEAR_TIE
        yield (
            f"{name} (class {reference.labels[row]}): {_choice(second, row)}, at the first batch "
            f"size {_choice(first, row)}; PyTorch's margin {margin:.3g}: {verdict}"
        )
    if len(ranked) > SHOWN:
        yield f"and {len(ranked) - SHOWN} more"


def _choice(predictions: Predictions, row: int) -> str:
    best = int(predictions.scores[row].argmax())
    return f"{best} at {predictions.scores[row, best]:.4g}"
