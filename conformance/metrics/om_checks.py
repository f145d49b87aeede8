"""What must hold of an ``.om`` on a chip against the reference, as checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from conformance.bounds import suite_source
from conformance.check import Check, Status, at_most, equal, recorded
from conformance.metrics.agreement import ScoreAgreement, Swapped, decide_decisions, decide_scores
from conformance.metrics.causes import told_lines
from conformance.metrics.flip_rate import decide_flip_rate
from conformance.metrics.flips import flips_of_scores
from conformance.metrics.outcomes import Outcomes
from conformance.metrics.paired import PairedDecision, decide_paired
from conformance.metrics.sequential import plan_for
from conformance.metrics.topn import TopN, label_ranks
from conformance.predictions import Predictions

_SHOWN = 5
Explain = Callable[[Predictions, float], str]
PAIRED_DEPTHS = (1, 5)


def om_agreement_checks(
    reference: Predictions,
    candidate: Predictions,
    *,
    epsilon: float,
    decision_epsilon: float,
    source: str,
    explain: Explain | None = None,
) -> list[Check]:
    """Every image's scores and decision lie within what float16 may change, and few flip.

    Args:
        reference: PyTorch's predictions.
        candidate: Those of the ``.om`` on the same images.
        epsilon: Largest allowed difference of a score.
        decision_epsilon: A decision may differ only over a gap of at most twice it.
        source: Where the two come from.
        explain: Asked where scores are beyond and do not say why by themselves.

    Raises:
        DumpError: The two sides cannot be compared.
    """
    names = reference.names
    scores = decide_scores(reference.scores, candidate.scores, names, epsilon=epsilon)
    decisions = decide_decisions(
        reference.scores, candidate.scores, names, epsilon=decision_epsilon
    )
    changed = flips_of_scores(
        reference.scores,
        candidate.scores,
        reference.labels,
        names,
        explained=2 * decision_epsilon,
    )
    rate = decide_flip_rate(changed.flips, changed.images)
    confident = equal(
        "agreement.decisions",
        len(decisions.confident),
        0,
        unit="confident flips",
        source=source,
        detail=f"{decisions.explanation}\n{changed.describe('float16')}",
    )
    upper = at_most(
        "agreement.flips",
        rate.interval_pct.upper,
        rate.bound_pct,
        unit="% of decisions, upper bound",
        source=f"Clopper-Pearson, 97.5 %; {suite_source('agreement.flips.limit_pct')}",
        detail=rate.explanation,
    )
    return [
        at_most(
            "agreement.scores",
            scores.largest_error,
            epsilon,
            source=source,
            detail="\n".join(_beyond(scores, reference, candidate, explain)),
            hint="outputs lie under the names of other images: who names and sorts the files?"
            if _of_others(scores)
            else "",
        ),
        _with_status(confident, decisions.status),
        _with_status(upper, rate.status),
    ]


def _beyond(
    scores: ScoreAgreement,
    reference: Predictions,
    candidate: Predictions,
    explain: Explain | None,
) -> Iterator[str]:
    """Yield which images are beyond, by how much, and what that looks like."""
    yield f"worst image: {scores.worst_image}"
    if not scores.beyond:
        return
    yield f"{len(scores.beyond)} images beyond: {', '.join(scores.beyond[:_SHOWN])}"
    theirs = _of_others(scores)
    for row in theirs:
        yield (
            f"the row of {row.image} is that of {row.belongs_to} "
            f"(distance {row.distance:.3g} in place of {row.error:.3g})"
        )
    if not theirs:
        yield from told_lines(
            reference.scores,
            candidate.scores,
            scores.epsilon,
            (lambda: explain(candidate, scores.epsilon)) if explain else None,
        )


def _of_others(scores: ScoreAgreement) -> list[Swapped]:
    """Return the rows that are another image's, and not only a little nearer to it."""
    return [row for row in scores.swapped if row.distance <= scores.epsilon]


def _with_status(made: Check, status: Status) -> Check:
    return msgspec.structs.replace(made, status=status)


def images_check(predictions: Predictions) -> Check:
    """Every image has its result; what is missing, extra, stale or not finite was refused.

    One number for all classes is nothing that a model computes: ERROR.
    """
    made = recorded("om.images", len(predictions), unit="images")
    flat = predictions.scores.min(axis=1) == predictions.scores.max(axis=1)
    dead = [name for name, same in zip(predictions.names, flat, strict=True) if same]
    if not dead:
        return made
    return msgspec.structs.replace(
        made,
        status=Status.ERROR,
        detail=f"{len(dead)} images have one number for every class: {', '.join(dead[:_SHOWN])}",
        hint="the tool wrote outputs that the chip never filled; see its log and the chip's health",
    )


def accuracy_records(topn: TopN) -> list[Check]:
    """Top1 and Top5 of an ``.om`` as measured, whatever they are compared with."""
    return [
        recorded(
            f"accuracy.om.top{n}",
            topn.accuracy_pct(n),
            unit="%",
            detail=f"{topn.hits[n - 1]} of {topn.images}; with ties {topn.worst[n - 1]} to "
            f"{topn.best[n - 1]}",
        )
        for n in (1, 5)
    ]


def paired_checks(
    reference: Predictions, candidate: Predictions, max_drop_points: float, *, once: bool
) -> list[Check]:
    """Top1 and Top5 against PyTorch on the same images; few images cannot decide a point.

    Equal scores of the candidate are ordered lowest class first; where another order of them would
    decide otherwise, nothing is decided.

    Args:
        reference: PyTorch's predictions.
        candidate: Those of the ``.om`` on the same images.
        max_drop_points: Allowed difference in percentage points, either way.
        once: Whether this number of images was fixed beforehand and is looked at once.
    """
    theirs, orders = label_ranks(reference)[0], label_ranks(candidate)
    return [
        paired_check(
            n,
            [Outcomes(reference.names, theirs < n, ours < n) for ours in orders],
            max_drop_points,
            once=once,
        )
        for n in PAIRED_DEPTHS
    ]


def paired_check(
    n: int, orders: Sequence[Outcomes], max_drop_points: float, *, once: bool
) -> Check:
    """Make the check of Top-N on paired outcomes; both intervals are told, one decides.

    Args:
        n: How many classes count.
        orders: The outcomes, and those with equal scores in another order.
        max_drop_points: Allowed difference in percentage points, either way.
        once: Whether this number of images was fixed beforehand and is looked at once.
    """
    plan = plan_for(len(orders[0].names), once=once)
    decision, *others = (
        decide_paired(outcomes, bound_points=max_drop_points, plan=plan) for outcomes in orders
    )
    agreed = {decision.status} == {decision.status, *(other.status for other in others)}
    ties = "" if agreed else _of_equal_scores(others)
    paired, unpaired = decision.paired_points, decision.unpaired_points
    side_pct = 100 * decision.alpha_side
    return Check(
        id=f"accuracy.paired.top{n}",
        status=decision.status if agreed else Status.INCONCLUSIVE,
        hint="" if agreed else "equal scores decide; look at their rounding",
        value=f"{paired.lower:+.2f} to {paired.upper:+.2f}",
        bound=f"inside ±{max_drop_points:g}",
        unit=f"points, {100 - 2 * side_pct:g} % interval",
        source=f"{decision.method}; two one-sided tests of {side_pct:g} %",
        detail=f"{decision.explanation}{ties}; gained {decision.gained}, lost {decision.lost} of "
        f"{decision.images:,}; known to ±{paired.half_width:.2f} points paired, only to "
        f"±{unpaired.half_width:.2f} unpaired ({unpaired.lower:+.2f} to {unpaired.upper:+.2f}); "
        f"McNemar's p {decision.mcnemar_p:.3g} does not decide",
    )


def _of_equal_scores(others: Sequence[PairedDecision]) -> str:
    """Say what would settle a decision that depends on the order of equal scores."""
    open_order = next((each for each in others if each.status is Status.INCONCLUSIVE), None)
    if open_order is None:
        return "; no number of images settles it while the order of equal scores decides"
    return f"; with equal scores in another order: {open_order.explanation}"
