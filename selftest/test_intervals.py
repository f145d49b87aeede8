"""Intervals and quantiles against scipy, published examples and their own definition."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from conformance.errors import ConformanceError
from conformance.metrics import distributions, intervals


@pytest.mark.parametrize(
    ("a", "b"), [(0.5, 0.5), (1, 1), (2, 500), (3.5, 0.5), (500, 20), (1501, 48_500), (4e4, 6e4)]
)
def test_incomplete_beta_equals_scipy(a: float, b: float) -> None:
    for x in stats.beta(a, b).ppf([1e-8, 1e-3, 0.01, 0.3, 0.5, 0.9, 0.999]):
        expected = stats.beta(a, b).cdf(x)
        assert distributions.incomplete_beta(a, b, x) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("degrees", [1, 2, 4, 13.7, 29, 400, 49_999])
@pytest.mark.parametrize("probability", [0.0005, 0.01, 0.5, 0.6, 0.975, 0.99, 0.9975, 0.99999])
def test_t_quantile_equals_scipy(probability: float, degrees: float) -> None:
    expected = stats.t(degrees).ppf(probability)
    got = distributions.student_t_quantile(probability, degrees)
    assert got == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (3, 500), (500, 500), (1500, 50_000)])
@pytest.mark.parametrize("alpha", [0.005, 0.025])
def test_clopper_pearson_equals_scipy(successes: int, trials: int, alpha: float) -> None:
    exact = stats.binomtest(successes, trials).proportion_ci(1 - 2 * alpha, "exact")
    got = intervals.clopper_pearson(successes, trials, alpha_side=alpha)
    assert (got.lower, got.upper) == pytest.approx((exact.low, exact.high), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (291, 500), (580, 1000), (10, 10)])
def test_wilson_equals_scipy(successes: int, trials: int) -> None:
    exact = stats.binomtest(successes, trials).proportion_ci(0.98, "wilson")
    got = intervals.wilson(successes, trials, alpha_side=0.01)
    assert (got.lower, got.upper) == pytest.approx((exact.low, exact.high), abs=1e-12)


@pytest.mark.parametrize(
    ("gained", "lost", "images", "lower", "upper"),
    [
        # Fagerland, Lydersen and Laake, Statistics in Medicine 33 (2014) 2850: airway
        # hyper-responsiveness (Bentur et al. 2009) and complete response (Cavo et al. 2012);
        # the second also as printed by the R package contingencytables.
        (1, 7, 21, -0.517, -0.026),
        (6, 16, 161, -0.1240, -0.0054),
    ],
)
def test_tango_equals_published_examples(
    gained: int, lost: int, images: int, lower: float, upper: float
) -> None:
    got = intervals.tango(gained, lost, images, alpha_side=0.025)
    half_a_digit = 0.00005 if images == 161 else 0.0005
    assert (got.lower, got.upper) == pytest.approx((lower, upper), abs=half_a_digit)


def _best_log_likelihood_rate(gained: int, lost: int, images: int, difference: float) -> float:
    """Find the most likely rate of lost images at a fixed difference, by brute force."""
    rates = np.linspace(max(0, -difference) + 1e-9, (1 - difference) / 2 - 1e-9, 400_001)
    counts = (lost, gained, images - gained - lost)
    likelihood = sum(
        count * np.log(p)
        for count, p in zip(
            counts, (rates, rates + difference, 1 - 2 * rates - difference), strict=True
        )
        if count
    )
    return float(rates[np.argmax(likelihood)])


@pytest.mark.parametrize("difference", [-0.3, -0.01, 0.01, 0.2])
@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (3, 1), (0, 9), (20, 20)])
def test_restricted_rate_is_the_most_likely_one(gained: int, lost: int, difference: float) -> None:
    got = float(intervals.restricted_lost_rate(gained, lost, 50, difference))
    assert got == pytest.approx(_best_log_likelihood_rate(gained, lost, 50, difference), abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 2000))
def test_tango_holds_the_estimate_and_mirrors(gained: int, lost: int, agreeing: int) -> None:
    images = gained + lost + agreeing + 1
    got = intervals.tango(gained, lost, images, alpha_side=0.01)
    mirror = intervals.tango(lost, gained, images, alpha_side=0.01)
    assert -1 <= got.lower <= (gained - lost) / images <= got.upper <= 1
    assert (got.lower, got.upper) == pytest.approx((-mirror.upper, -mirror.lower), abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(100, 3000))
def test_tango_interval_is_where_the_score_is_small(gained: int, lost: int, images: int) -> None:
    z = distributions.normal_quantile(0.99)
    got = intervals.tango(gained, lost, images, alpha_side=0.01)
    for limit in (got.lower, got.upper):
        assert abs(abs(float(intervals.tango_score(gained, lost, images, limit))) - z) < 1e-6


def test_tango_without_discordant_images_has_its_closed_form() -> None:
    z2 = distributions.normal_quantile(0.99) ** 2
    got = intervals.tango(0, 0, 536, alpha_side=0.01)
    assert got.upper == pytest.approx(z2 / (536 + z2), rel=1e-9)
    assert got.lower == pytest.approx(-got.upper, rel=1e-9)


def test_tango_reaches_the_ends_when_every_image_changed() -> None:
    assert intervals.tango(5, 0, 5, alpha_side=0.01).upper == pytest.approx(1)
    assert intervals.tango(0, 5, 5, alpha_side=0.01).lower == pytest.approx(-1)


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 9), (9, 1), (7, 7), (60, 110)])
def test_mcnemar_equals_scipy(gained: int, lost: int) -> None:
    discordant = gained + lost
    expected = stats.binomtest(gained, discordant, 0.5).pvalue if discordant else 1.0
    assert intervals.mcnemar_p(gained, lost) == pytest.approx(expected, rel=1e-9)


def test_pairing_narrows_the_interval_four_times_at_one_percent_discordant() -> None:
    """At 95 % and 1,000 images: 0.73 points paired (0.62 by the normal formula), 3.1 unpaired."""
    paired = intervals.tango(5, 5, 1000, alpha_side=0.025)
    unpaired = intervals.wilson(582, 1000, alpha_side=0.025)
    assert 100 * paired.half_width == pytest.approx(0.726, abs=0.001)
    assert 196 * math.sqrt(0.01 / 1000) == pytest.approx(0.62, abs=0.001)
    assert 100 * unpaired.half_width == pytest.approx(3.05, abs=0.01)


@pytest.mark.parametrize(("gained", "lost", "images"), [(0, 0, 0), (-1, 2, 10), (6, 6, 10)])
def test_impossible_counts_are_refused(gained: int, lost: int, images: int) -> None:
    with pytest.raises(ConformanceError):
        intervals.tango(gained, lost, images, alpha_side=0.01)


def test_an_interval_knows_inside_and_outside() -> None:
    got = intervals.Interval(-0.5, 0.5)
    assert got.inside(-1, 1)
    assert not got.inside(-1, 0.5)
    assert got.outside(0.6, 1)
    assert not got.outside(0.5, 1)
    assert math.isclose(got.half_width, 0.5)


def test_a_board_without_scipy_and_torch_can_decide() -> None:
    """Import every metric and decide agreement, accuracy and throughput with both blocked."""
    program = """
import importlib, pkgutil, sys
sys.modules.update(dict.fromkeys(["scipy", "torch", "torchvision", "matplotlib"]))
import conformance.metrics as metrics
for module in pkgutil.iter_modules(metrics.__path__):
    importlib.import_module(f"conformance.metrics.{module.name}")
from conformance.metrics import flip_rate, paired, round_looks
print(flip_rate.decide_flip_rate(3, 500).status)
print(paired.images_to_settle(5, 5, 500))
print(round_looks.decide_in_looks([100, 100.1, 99.9, 100.2, 99.8], 100.0).status)
"""
    root = Path(intervals.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout.split() == ["PASS", "3800", "PASS"]
