"""Accuracy against the reference on the same images: gain, loss and a three-way decision."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import assert_never

from conformance.bounds import suite_bound
from conformance.check import Status
from conformance.errors import DatasetError
from conformance.metrics.census import FULL_SET
from conformance.metrics.distributions import normal_quantile
from conformance.metrics.intervals import (
    Interval,
    mcnemar_p,
    require_counts,
    tango,
    tango_score,
    wilson,
)
from conformance.metrics.outcomes import Outcomes
from conformance.metrics.sequential import (
    LOOKS,
    Plan,
    anytime_interval,
    log_evidence,
    look_alpha,
)

ALPHA_SIDE = suite_bound("accuracy.paired.error_a_side")
PLANNED_POWER = 0.9


@dataclass(frozen=True)
class PairedDecision:
    """What paired images say about the candidate's accuracy; differences in percentage points.

    Attributes:
        status: PASS, FAIL or INCONCLUSIVE.
        images: Number of distinct images.
        gained: Images that only the candidate has right.
        lost: Images that only the reference has right.
        difference_points: Candidate's accuracy less the reference's.
        paired_points: Interval of that difference; of no width for the full set.
        unpaired_points: The same for a reader who has only the candidate's hits and a fixed
            figure; shown beside, never decides.
        alpha_side: Error allowed on each side in this analysis.
        mcnemar_p: Exact p of "no difference at all"; shown, never decides.
        method: How the interval was made.
        images_needed: Images that would settle it by this plan; None when it is settled or no
            number of them would.
        explanation: One sentence for the reader.
    """

    status: Status
    images: int
    gained: int
    lost: int
    difference_points: float
    paired_points: Interval
    unpaired_points: Interval
    alpha_side: float
    mcnemar_p: float
    method: str
    images_needed: int | None
    explanation: str


def decide_paired(
    outcomes: Outcomes,
    *,
    bound_points: float = 1.0,
    plan: Plan = "fixed",
    alpha_side: float = ALPHA_SIDE,
    full_set: int = FULL_SET,
) -> PairedDecision:
    """Decide by two one-sided tests whether the accuracies differ by less than the bound.

    Args:
        outcomes: Both sides on the same images.
        bound_points: Allowed difference in percentage points, either way.
        plan: ``fixed`` for a number of images named before the run and analysed once, ``looks``
            for one of the fixed looks, ``anytime`` for a count that was not planned.
        alpha_side: Error allowed on each side, over all looks together.
        full_set: Number of images of the whole set, which is counted, not estimated.

    Raises:
        ConfigError: Plan ``looks`` at a count that is not one of them.
        DatasetError: More images than the full set has.
    """
    images = len(outcomes.names)
    _require_subset(images, full_set)
    gained, lost = outcomes.gained, outcomes.lost
    census = images == full_set
    difference = Interval(100 * (gained - lost) / images, 100 * (gained - lost) / images)
    alpha = look_alpha(images, alpha_side) if plan == "looks" and not census else alpha_side
    paired, method = (
        (difference, "census: the full set is counted, so nothing is estimated")
        if census
        else _paired_interval(gained, lost, images, alpha, plan)
    )
    status = _status(paired, bound_points, closed=census)
    needed, once = None, None
    if status is Status.INCONCLUSIVE:
        needed, once = (
            images_to_settle(
                gained, lost, images,
                bound_points=bound_points, alpha_side=alpha_side, most=full_set, plan=each,
            )
            for each in (plan, "fixed")
        )  # fmt: skip
    hits = int(outcomes.candidate_right.sum())
    return PairedDecision(
        status=status,
        images=images,
        gained=gained,
        lost=lost,
        difference_points=difference.lower,
        paired_points=paired,
        unpaired_points=_unpaired(hits, int(outcomes.reference_right.sum()), images, alpha),
        alpha_side=alpha,
        mcnemar_p=mcnemar_p(gained, lost),
        method=method,
        images_needed=needed,
        explanation=_explanation(status, paired, bound_points, needed, once),
    )


def _paired_interval(
    gained: int, lost: int, images: int, alpha: float, plan: Plan
) -> tuple[Interval, str]:
    match plan:
        case "fixed":
            made = tango(gained, lost, images, alpha_side=alpha)
            method = "Tango's score interval, one analysis of a number fixed beforehand"
        case "looks":
            made = tango(gained, lost, images, alpha_side=alpha)
            method = (
                f"Tango's score interval, look {LOOKS.index(images) + 1} of {len(LOOKS)} at "
                f"{images:,} images, which share the error"
            )
        case "anytime":
            made = anytime_interval(gained, lost, images, alpha_side=alpha)
            method = "confidence sequence by the method of mixtures, valid at every count"
        case _:
            assert_never(plan)
    return Interval(100 * made.lower, 100 * made.upper), method


def _status(paired: Interval, bound_points: float, *, closed: bool) -> Status:
    """Decide; a census may lie on the bound itself, an estimate may not."""
    if closed:
        return Status.PASS if abs(paired.lower) <= bound_points + 1e-9 else Status.FAIL
    if paired.inside(-bound_points, bound_points):
        return Status.PASS
    return Status.FAIL if paired.outside(-bound_points, bound_points) else Status.INCONCLUSIVE


def _unpaired(hits: int, reference_hits: int, images: int, alpha: float) -> Interval:
    alone = wilson(hits, images, alpha_side=alpha)
    fixed = reference_hits / images
    return Interval(100 * (alone.lower - fixed), 100 * (alone.upper - fixed))


def _explanation(
    status: Status, paired: Interval, bound_points: float, needed: int | None, once: int | None
) -> str:
    text = (
        f"the difference lies between {paired.lower:+.2f} and {paired.upper:+.2f} points, "
        f"the bound is ±{bound_points:g}"
    )
    if status is Status.FAIL and paired.lower > bound_points:
        return f"{text}; a gain beyond the bound is suspicious: look at labels and leakage"
    if status is not Status.INCONCLUSIVE:
        return text
    if needed is not None:
        return f"{text}; about {needed:,} images would settle it"
    if once is None:
        return f"{text}; only the full set can settle it"
    settles = f"about {once:,} images looked at once would: --looks=once --images={once}"
    return f"{text}; nothing short of the full set settles it by this plan, {settles}"


def images_to_settle(
    gained: int,
    lost: int,
    images: int,
    *,
    bound_points: float = 1.0,
    alpha_side: float = ALPHA_SIDE,
    most: int = FULL_SET,
    plan: Plan = "fixed",
) -> int | None:
    """Return how many images decide in at least 90 % of runs if the observed rates are true.

    None when not even ``most`` would. An interval widened by the power's own quantile lies inside
    (or outside) the bound when the plain one does with that probability; half of the missing 10 %
    goes to each side, since a run without any difference can miss on both.

    Raises:
        ConformanceError: No images, or impossible counts.
    """
    require_counts(images, gained=gained, lost=lost)
    bound, power = bound_points / 100, normal_quantile((1 + PLANNED_POWER) / 2)

    def settled(count: int) -> bool:
        b, c = gained * count / images, lost * count / images
        if plan == "anytime":
            z = math.sqrt(-2 * math.log(alpha_side)) + power
            low, high = (_evidence_score(b, c, count, side * bound) for side in (-1, 1))
        else:
            alpha = look_alpha(count, alpha_side) if plan == "looks" else alpha_side
            z = normal_quantile(1 - alpha) + power
            low, high = (float(tango_score(b, c, count, side * bound)) for side in (-1, 1))
        return (low >= z and high <= -z) or low <= -z or high >= z

    if plan == "looks":
        return next((look for look in LOOKS if images < look < most and settled(look)), None)
    if not settled(most - 1):
        return None
    few, enough = 1, most - 1
    while few < enough:
        middle = (few + enough) // 2
        few, enough = (few, middle) if settled(middle) else (middle + 1, enough)
    return _round_up(enough, most)


def _evidence_score(gained: float, lost: float, images: int, difference: float) -> float:
    """Return the sequence's evidence against a difference on the scale of a normal score."""
    evidence = math.sqrt(2 * max(0.0, log_evidence(gained, lost, images, difference)))
    return math.copysign(evidence, (gained - lost) / images - difference)


def _round_up(count: int, most: int) -> int:
    """Round to two leading digits, for the estimate is no better than that."""
    unit = int(10 ** max(0, math.floor(math.log10(count)) - 1))
    return min(most, -(-count // unit) * unit)


def _require_subset(images: int, full_set: int) -> None:
    if images > full_set:
        raise DatasetError(
            "more images than the full set has",
            got=images,
            expected=f"at most {full_set}",
            next_step="count each image once",
        )
