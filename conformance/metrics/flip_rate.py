"""How often the Top-1 decisions of two sides differ, and whether that is too often."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from conformance.bounds import suite_bound
from conformance.check import Status
from conformance.metrics.census import FULL_SET
from conformance.metrics.distributions import normal_quantile
from conformance.metrics.intervals import Interval, clopper_pearson, require_counts
from conformance.metrics.scores import Scores, choices, require_comparable

FLIP_BOUND_PCT = suite_bound("agreement.flips.limit_pct")
FLIP_ALPHA_SIDE = suite_bound("agreement.flips.error_a_side")


@dataclass(frozen=True)
class FlipRate:
    """How often the Top-1 decisions differ, in percent.

    Attributes:
        status: PASS, FAIL or INCONCLUSIVE.
        images: Images compared.
        flips: Images whose Top-1 class differs.
        rate_pct: Share of flips.
        interval_pct: Clopper-Pearson interval; of no width for the full set.
        bound_pct: Largest allowed share.
        images_needed: Images that would settle it; None when settled or only the full set can.
        explanation: One sentence for the reader.
    """

    status: Status
    images: int
    flips: int
    rate_pct: float
    interval_pct: Interval
    bound_pct: float
    images_needed: int | None
    explanation: str


def count_flips(reference: Scores, candidate: Scores, names: Sequence[str]) -> int:
    """Return on how many images the Top-1 classes of scores (images, classes) differ.

    Raises:
        DumpError: The two sides cannot be compared.
    """
    require_comparable(names, reference=reference, candidate=candidate)
    return int((choices(reference) != choices(candidate)).sum())


def decide_flip_rate(
    flips: int,
    images: int,
    *,
    bound_pct: float = FLIP_BOUND_PCT,
    alpha_side: float = FLIP_ALPHA_SIDE,
    full_set: int = FULL_SET,
) -> FlipRate:
    """Decide whether the share of flips is at most the bound.

    PASS when the upper bound is at most it, FAIL when the lower bound is above it.

    Raises:
        ConformanceError: No images, or more flips than images.
    """
    require_counts(images, flips=flips)
    interval = _flip_interval(flips, images, alpha_side, full_set)
    status = _flip_status(interval, bound_pct)
    needed = None
    text = (
        f"{flips} flips on {images} images, between {interval.lower:.2f} and "
        f"{interval.upper:.2f} %, the bound is {bound_pct:g} %"
    )
    if status is Status.INCONCLUSIVE:
        needed = _images_for_flips(flips / images, images, bound_pct, alpha_side, full_set)
        settles = f"about {needed:,} images would" if needed else "only the full set can"
        text += f"; {settles} settle it"
    return FlipRate(status, images, flips, 100 * flips / images, interval, bound_pct, needed, text)


def _flip_interval(flips: int, images: int, alpha_side: float, full_set: int) -> Interval:
    if images == full_set:
        return Interval(100 * flips / images, 100 * flips / images)
    made = clopper_pearson(flips, images, alpha_side=alpha_side)
    return Interval(100 * made.lower, 100 * made.upper)


def _flip_status(interval: Interval, bound_pct: float) -> Status:
    if interval.upper <= bound_pct:
        return Status.PASS
    return Status.FAIL if interval.lower > bound_pct else Status.INCONCLUSIVE


def _images_for_flips(
    rate: float, images: int, bound_pct: float, alpha_side: float, most: int
) -> int | None:
    """Return a count at which flips 1.6 standard deviations off the rate would still decide."""
    towards = 1 if 100 * rate <= bound_pct else -1
    count = images
    while (count := math.ceil(count * 1.1 / 10) * 10) < most:
        spread = normal_quantile(0.95) * math.sqrt(rate * (1 - rate) * count)
        flips = min(count, max(0, round(rate * count + towards * spread)))
        interval = _flip_interval(flips, count, alpha_side, most)
        if _flip_status(interval, bound_pct) is not Status.INCONCLUSIVE:
            return count
    return None
