"""The full set is counted, not estimated: hits against a published figure, in whole images.

Equal scores leave a range of counts: a PASS needs the worst of it, a FAIL the best.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction

from conformance.check import Status
from conformance.metrics.intervals import require_counts

FULL_SET = 50_000


@dataclass(frozen=True)
class CensusDecision:
    """Hits on the full set against a published figure.

    Attributes:
        status: PASS or FAIL; INCONCLUSIVE where the order of equal scores decides. ERROR when the
            control does not reproduce the figure.
        points: Percentage points below the published figure of the count that decides; above it,
            where ``suspicious``.
        bound_points: The most that ``points`` may be.
        suspicious: Whether the count is too good.
        least_hits: Fewest hits that hold.
        most_hits: Most hits that are not suspicious.
        explanation: One sentence for the reader.
    """

    status: Status
    points: float
    bound_points: float
    suspicious: bool
    least_hits: int
    most_hits: int
    explanation: str


def decide_census(
    worst: int,
    best: int,
    *,
    published_pct: float,
    max_drop_points: float,
    suspicious_gain_points: float,
    images: int = FULL_SET,
) -> CensusDecision:
    """Compare the hits of the full set with the published figure, in whole images.

    Args:
        worst: Hits if every tie goes against the label.
        best: Hits if every tie goes for it.
        published_pct: The published accuracy, in percent.
        max_drop_points: How far below it the accuracy may be.
        suspicious_gain_points: How far above it the accuracy may be.
        images: All images of the set.

    Raises:
        ConformanceError: No images, or more hits than images.
    """
    require_counts(images, hits=worst)
    require_counts(images, hits=best)
    # Decimal arithmetic: in floats 58.178 - 1 falls a hair short, which could cost an image.
    published, drop, gain = (
        Fraction(str(x)) for x in (published_pct, max_drop_points, suspicious_gain_points)
    )
    least = math.ceil((published - drop) * images / 100)
    most = math.floor((published + gain) * images / 100)
    suspicious = best > most and worst >= least
    status, decides = _status(worst, best, least, most)
    below = published - Fraction(100 * decides, images)
    text = f"{worst} to {best}" if worst < best else str(worst)
    return CensusDecision(
        status=status,
        points=float(-below if suspicious else below),
        bound_points=suspicious_gain_points if suspicious else max_drop_points,
        suspicious=suspicious,
        least_hits=least,
        most_hits=most,
        explanation=f"{text} hits of {images}, must be {least} to {most}",
    )


def _status(worst: int, best: int, least: int, most: int) -> tuple[Status, int]:
    """Return the status and the count that decides it."""
    if best < least:
        return Status.FAIL, best
    if worst > most:
        return Status.FAIL, worst
    if worst < least:
        return Status.INCONCLUSIVE, worst
    if best > most:
        return Status.INCONCLUSIVE, best
    return Status.PASS, worst


def decide_control(
    worst: int,
    best: int,
    *,
    published_pct: float,
    control_points: float,
    images: int = FULL_SET,
) -> CensusDecision:
    """Check that the reference itself reproduces the published figure on this folder.

    A reference that does not is ERROR: data set, labels or decoder are wrong, not the board.

    Args:
        worst: Hits if every tie goes against the label.
        best: Hits if every tie goes for it.
        published_pct: The published accuracy, in percent.
        control_points: How far from it the accuracy may be, either way.
        images: All images of the set.

    Raises:
        ConformanceError: No images, or more hits than images.
    """
    decision = decide_census(
        worst,
        best,
        published_pct=published_pct,
        max_drop_points=control_points,
        suspicious_gain_points=control_points,
        images=images,
    )
    decision = replace(decision, points=abs(decision.points))
    if decision.status is not Status.FAIL:
        return decision
    text = f"{decision.explanation}: data set, labels or decoder are wrong"
    return replace(decision, status=Status.ERROR, explanation=text)
