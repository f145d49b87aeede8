"""Engines compared again: what their predictions say of each check that was made by comparing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from conformance.check import Check, Status
from conformance.evidence.bundle import Evidence
from conformance.evidence.facts import gather
from conformance.evidence.om_digests import MEASURED
from conformance.evidence.orders import least_error, right_in_orders
from conformance.evidence.prediction_file import Predictions
from conformance.evidence.recount import OF_DATASET, RECOUNTS
from conformance.evidence.remade import Book, Remade, Rule, exactly
from conformance.metrics.agreement import MAX_EXEMPT_PCT
from conformance.metrics.best import Best
from conformance.metrics.flip_rate import decide_flip_rate
from conformance.metrics.om_checks import PAIRED_DEPTHS, paired_check
from conformance.metrics.outcomes import Outcomes
from conformance.spec import ModelSpec

NOTHING = Predictions((), np.empty(0, np.int32), {})
# Checks of what a board said; the others of batch sizes are about ONNX Runtime.
ON_BOARD = "agreement."


def comparison_problems(
    folder: Path,
    evidence: Evidence,
    specs: Mapping[str, ModelSpec],
    predictions: Predictions | None,
) -> Iterator[str]:
    """Yield every check that states something else than the predictions of its bundle make of it.

    Raises:
        EvidenceError: The facts of the run cannot be read.
    """
    if predictions is None and evidence.predictions:
        return  # that they cannot be read is said already
    gaps = {key: bound.explained_gap for key, bound in gather(folder).bounds.items()}
    book = Book.of(evidence, predictions or NOTHING, gaps, specs)
    rules = _RULES | (OF_DATASET if predictions else {})
    for check in book.checks:
        rule = rules.get(check.id)
        if rule and check.value is not None and check.status in MEASURED and book.spec(check):
            remade = rule(book, check)
            if remade is None:
                yield f"{check.label}: there are no predictions that it could be made of"
            else:
                yield from remade.problems(check)


def _scores(book: Book, check: Check) -> Remade | None:
    """No score that both lists hold is further off than the largest error."""
    torch, om = book.torch(check), book.om(check)
    return None if torch is None or om is None else Remade((least_error(torch, om), math.inf))


def _decisions(book: Book, check: Check) -> Remade | None:
    """Decisions differ only over a gap that the number format explains."""
    torch, om, gap = book.torch(check), book.om(check), book.gap(check, "om")
    if torch is None or om is None or gap is None:
        return None
    exempt_pct = 100 * float((_margins(torch) <= gap).mean())
    quiet = Status.INCONCLUSIVE if exempt_pct > MAX_EXEMPT_PCT else Status.PASS
    return Remade(_confident(torch, om, gap), statuses=(Status.FAIL if check.value else quiet,))


def _confident(reference: Best, candidate: Best, gap: float) -> tuple[int, int]:
    """Count decisions changed over a wider gap; of a class beyond the list it is only a least."""
    rows = np.flatnonzero(reference.ids[:, 0] != candidate.ids[:, 0])
    same = reference.ids[rows] == candidate.ids[rows, :1]
    listed = same.any(axis=1)
    place = np.where(listed, same.argmax(axis=1), reference.ids.shape[1] - 1)
    scores = reference.scores[rows]
    wide = scores[:, 0] - scores[np.arange(len(rows)), place] > gap
    return int(wide.sum()), int((wide | ~listed).sum())


def _margins(reference: Best) -> npt.NDArray[np.float32]:
    first, second = (reference.scores[:, place].astype(np.float64) for place in (0, 1))
    return np.asarray(first - second, np.float32)


def _flips(book: Book, check: Check) -> Remade | None:
    """Few decisions differ at all."""
    torch, om = book.torch(check), book.om(check)
    if torch is None or om is None:
        return None
    flips = int((torch.ids[:, 0] != om.ids[:, 0]).sum())
    rate = decide_flip_rate(flips, len(om.ids))
    return Remade(exactly(rate.interval_pct.upper), exactly(rate.bound_pct), (rate.status,))


def _batches(book: Book, check: Check) -> tuple[Best, Best] | None:
    """Return the predictions of the first batch size and of the check's."""
    spec = book.spec(check)
    if spec is None:
        return None
    engine = book.om if check.id.startswith(ON_BOARD) else book.onnx
    first, second = engine(check, spec.batch.first), engine(check)
    return None if first is None or second is None else (first, second)


def _batch_scores(book: Book, check: Check) -> Remade | None:
    sides = _batches(book, check)
    return Remade((least_error(*sides), math.inf)) if sides else None


def _batch_decisions(book: Book, check: Check) -> Remade | None:
    """Two batch sizes decide differently only where PyTorch's own margin allows it."""
    sides, torch = _batches(book, check), book.torch(check)
    if sides is None or torch is None:
        return None
    differs = sides[0].ids[:, 0] != sides[1].ids[:, 0]
    allowed = _allowed(book, check)
    if allowed is None:
        return Remade((0, int(differs.sum())))
    return Remade(exactly(int((differs & (_margins(torch) > allowed)).sum())))


def _allowed(book: Book, check: Check) -> float | None:
    """Return how far apart two batch sizes may be, as the check of their scores states it."""
    prefix = check.id.rpartition(".")[0]
    bounds = [
        other.bound
        for other in book.checks
        if (other.id, other.coordinates) == (f"{prefix}.scores", check.coordinates)
    ]
    return next((b for b in bounds if isinstance(b, float)), None)


def _batch_hits(book: Book, check: Check) -> Remade | None:
    """Hits differ by no more than decisions do."""
    sides = _batches(book, check)
    if sides is None:
        return None
    answers = [side.ids[:, 0] for side in sides]
    first, second = (int((found == book.predictions.labels).sum()) for found in answers)
    differing = int((answers[0] != answers[1]).sum())
    return Remade(exactly(abs(first - second)), exactly(differing))


def _paired(book: Book, check: Check) -> Remade | None:
    """Accuracy against PyTorch on the same images, in whichever way their number was planned."""
    torch, om, spec = book.torch(check), book.om(check), book.spec(check)
    if torch is None or om is None or spec is None:
        return None
    n, held = int(check.id[-1]), book.predictions
    theirs = right_in_orders(torch, held.labels, n)[0]
    orders = [Outcomes(held.names, theirs, r) for r in right_in_orders(om, held.labels, n)]
    bound = spec.accuracy.max_drop_points
    made = [
        paired_check(n, looked, bound, once=once)
        for once in (False, True)
        for looked in (orders[:1], orders)
    ]
    fitting = [one for one in made if one.value == check.value] or made
    return Remade(
        tuple(str(one.value) for one in made), statuses=tuple(one.status for one in fitting)
    )


_RULES: dict[str, Rule] = {
    **RECOUNTS,
    "agreement.scores": _scores,
    "agreement.decisions": _decisions,
    "agreement.flips": _flips,
    **{f"{group}.batch.scores": _batch_scores for group in ("accuracy", "agreement")},
    **{f"{group}.batch.decisions": _batch_decisions for group in ("accuracy", "agreement")},
    **{f"{group}.batch.hits": _batch_hits for group in ("accuracy", "agreement")},
    **{f"accuracy.paired.top{n}": _paired for n in PAIRED_DEPTHS},
}
