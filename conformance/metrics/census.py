"""The full set is counted, not estimated: hits against a published figure, in whole images."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction

from conformance.check import Status
from conformance.metrics.intervals import require_counts

FULL_SET = 50_000


@dataclass(frozen=True)
class CensusDecision:
    """Hits on the full set against a published figure; figures in percent and points.

    Attributes:
        status: PASS or FAIL; ERROR when the control does not reproduce the figure.
        hits: Right images.
        images: All images of the set.
        accuracy_pct: Measured accuracy.
        drop_points: Published less measured, the absolute reading.
        drop_relative_pct: The same as a share of the published figure, the relative reading.
        least_hits: Fewest hits that hold.
        most_hits: Most hits that are not suspicious.
        explanation: One sentence for the reader.
    """

    status: Status
    hits: int
    images: int
    accuracy_pct: float
    drop_points: float
    drop_relative_pct: float
    least_hits: int
    most_hits: int
    explanation: str


def decide_census(
    hits: int,
    *,
    published_pct: float,
    max_drop_points: float,
    suspicious_gain_points: float,
    images: int = FULL_SET,
) -> CensusDecision:
    """Compare the hits of the full set with the published figure, in whole images.

    Raises:
        ConformanceError: No images, or more hits than images.
    """
    require_counts(images, hits=hits)
    # Decimal arithmetic: in floats 58.178 - 1 falls a hair short, which could cost an image.
    published, drop, gain = (
        Fraction(str(x)) for x in (published_pct, max_drop_points, suspicious_gain_points)
    )
    least = math.ceil((published - drop) * images / 100)
    most = math.floor((published + gain) * images / 100)
    accuracy = 100 * hits / images
    text = f"{hits} hits of {images}, must be {least} to {most}"
    if hits > most:
        text += "; better than published is suspicious: look at labels and leakage"
    return CensusDecision(
        status=Status.PASS if least <= hits <= most else Status.FAIL,
        hits=hits,
        images=images,
        accuracy_pct=accuracy,
        drop_points=published_pct - accuracy,
        drop_relative_pct=100 * (published_pct - accuracy) / published_pct,
        least_hits=least,
        most_hits=most,
        explanation=text,
    )


def decide_control(
    hits: int, *, published_pct: float, control_points: float, images: int = FULL_SET
) -> CensusDecision:
    """Check that the reference itself reproduces the published figure on this folder.

    A reference that does not is ERROR: data set, labels or decoder are wrong, not the board.

    Raises:
        ConformanceError: No images, or more hits than images.
    """
    decision = decide_census(
        hits,
        published_pct=published_pct,
        max_drop_points=control_points,
        suspicious_gain_points=control_points,
        images=images,
    )
    if decision.status is Status.PASS:
        return decision
    text = (
        f"the reference has {hits} hits of {images}, published are {decision.least_hits} to "
        f"{decision.most_hits}: data set, labels or decoder are wrong"
    )
    return replace(decision, status=Status.ERROR, explanation=text)
