"""Accuracy on the full set: decided in whole images, whichever way equal scores are ordered."""

from __future__ import annotations

import pytest

from conformance.check import Check, Status, holds
from conformance.errors import ConformanceError
from conformance.metrics.accuracy import control_checks, published_checks
from conformance.metrics.census import FULL_SET, decide_census
from conformance.metrics.topn import TopN
from conformance.spec import load_spec

SPEC = load_spec("squeezenet1_1")
# 58.178 % less one point, the figure itself, and half a point more; 80.624 % is Top5's.
LEAST, PUBLISHED, MOST = 28_589, 29_089, 29_339
TOP5 = 40_312


def counted(worst: int, best: int) -> TopN:
    """Return counts of the full set with a range for Top1 and the published figure for Top5."""
    counts = [(hits, 33_000, 36_000, 38_000, TOP5) for hits in (worst, worst, best)]
    return TopN(FULL_SET, 1000, *counts)


def top1(checks: list[Check], name: str) -> Check:
    first, fifth = checks
    assert (first.id, fifth.id, fifth.status) == (f"{name}1", f"{name}5", Status.PASS)
    return first


@pytest.mark.parametrize(
    ("worst", "best", "status"),
    [
        (LEAST - 1, LEAST - 1, Status.FAIL),
        (LEAST - 9, LEAST - 1, Status.FAIL),
        (LEAST - 1, LEAST, Status.INCONCLUSIVE),
        (LEAST, LEAST, Status.PASS),
        (LEAST, MOST, Status.PASS),
        (MOST, MOST, Status.PASS),
        (MOST, MOST + 1, Status.INCONCLUSIVE),
        (MOST + 1, MOST + 1, Status.FAIL),
        (MOST + 1, MOST + 9, Status.FAIL),
    ],
)
def test_the_published_figure_is_exact_to_the_image(worst: int, best: int, status: Status) -> None:
    made = top1(published_checks(counted(worst, best), SPEC, "accuracy.om"), "accuracy.om.top")
    assert made.status is status
    assert holds(made) is (status is Status.PASS)
    assert ("above" in made.unit) is (best > MOST)
    assert ("suspicious" in made.hint) is (worst > MOST)
    assert ("equal scores" in made.hint) is (status is Status.INCONCLUSIVE)
    assert f"must be {LEAST} to {MOST}" in made.detail


def test_both_readings_of_the_drop_are_told() -> None:
    made = published_checks(counted(LEAST, LEAST), SPEC, "accuracy.om")[0]
    assert made.value == 1.0
    assert "drop 1.000 points absolute, 1.72 % relative" in made.detail


@pytest.mark.parametrize(
    ("worst", "best", "status"),
    [
        (PUBLISHED - 26, PUBLISHED - 26, Status.ERROR),
        (PUBLISHED - 26, PUBLISHED, Status.INCONCLUSIVE),
        (PUBLISHED - 25, PUBLISHED + 25, Status.PASS),
        (PUBLISHED, PUBLISHED + 26, Status.INCONCLUSIVE),
        (PUBLISHED + 26, PUBLISHED + 26, Status.ERROR),
    ],
)
def test_a_control_that_misses_the_published_figure_is_an_error(
    worst: int, best: int, status: Status
) -> None:
    made = top1(control_checks(counted(worst, best), SPEC), "accuracy.control.top")
    assert made.status is status
    assert holds(made) is (status is Status.PASS)
    assert ("labels or decoder" in made.detail) is (status is Status.ERROR)


def test_bounds_are_whole_images_inside_the_figures() -> None:
    """57.178 % of 700 images are 400.2, 58.678 % are 410.7."""
    decision = decide_census(
        400, 400, published_pct=58.178, max_drop_points=1.0, suspicious_gain_points=0.5, images=700
    )
    assert (decision.least_hits, decision.most_hits) == (401, 410)
    assert decision.status is Status.FAIL


@pytest.mark.parametrize(("hits", "images"), [(0, 0), (2, 1), (-1, 1)])
def test_a_count_that_cannot_be_is_an_error(hits: int, images: int) -> None:
    with pytest.raises(ConformanceError):
        decide_census(
            hits, hits, published_pct=58, max_drop_points=1, suspicious_gain_points=1, images=images
        )
