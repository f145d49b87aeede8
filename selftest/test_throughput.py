"""Calibrated throughput, its control, its rounds, and figures that contradict each other."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from conformance.ascend.timed_run import TimedRun
from conformance.check import Status
from conformance.errors import ToolError
from conformance.metrics import aa_control, plausibility, rounds, throughput
from conformance.metrics.aa_control import Control

PUBLISHED = 10022.44


def _rates(share_pct: float, spread_pct: float, count: int, seed: int = 1) -> list[float]:
    """Rounds whose mean and standard deviation are exactly as asked."""
    noise = np.random.default_rng(seed).normal(size=count)
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    return list(PUBLISHED * (share_pct + spread_pct * noise) / 100)


def _status(share_pct: float, spread_pct: float, count: int) -> Status:
    return throughput.decide_throughput(_rates(share_pct, spread_pct, count), PUBLISHED).status


# ---- the decision


@pytest.mark.parametrize(
    ("share", "spread", "count", "status"),
    [
        (100.0, 0.3, 5, Status.PASS),
        (92.0, 0.3, 5, Status.FAIL),
        (93.94, 0.3, 10, Status.FAIL),
        (95.1, 0.3, 5, Status.INCONCLUSIVE),
        (93.94, 2.0, 5, Status.INCONCLUSIVE),
        (100.0, 3.0, 5, Status.INCONCLUSIVE),
        (100.0, 3.0, 30, Status.PASS),
    ],
)
def test_three_way_decision(share: float, spread: float, count: int, status: Status) -> None:
    assert _status(share, spread, count) is status


@pytest.mark.parametrize("count", [5, 17, 30])
def test_bounds_are_those_of_the_t_distribution(count: int) -> None:
    decision = throughput.decide_throughput(_rates(97.0, 1.0, count), PUBLISHED)
    reach = stats.t(count - 1).ppf(0.99) / math.sqrt(count)
    got = decision.interval_pct
    assert (got.lower, got.upper) == pytest.approx((97 - reach, 97 + reach), rel=1e-9)


def test_the_bound_itself_is_reached_by_equality() -> None:
    flat = [0.95 * PUBLISHED] * 5
    assert throughput.decide_throughput(flat, PUBLISHED).status is Status.PASS


def test_inconclusive_says_how_many_rounds_settle_it() -> None:
    decision = throughput.decide_throughput(_rates(96.0, 1.0, 5), PUBLISHED)
    assert decision.rounds_needed is not None
    assert f"about {decision.rounds_needed} rounds" in decision.explanation
    runs = np.random.default_rng(4).normal(96, 1, size=(300, decision.rounds_needed))
    passed = [throughput.decide_throughput(list(run), 100).status is Status.PASS for run in runs]
    assert np.mean(passed) > 0.85


def test_noise_is_named_at_thirty_rounds() -> None:
    noisy = throughput.decide_throughput(_rates(95.2, 1.6, 30), PUBLISHED)
    close = throughput.decide_throughput(_rates(95.2, 1.4, 30), PUBLISHED)
    assert "noisy chip" in noisy.explanation
    assert "too close to the bound" in close.explanation
    assert noisy.rounds_needed is close.rounds_needed is None


def test_the_smallest_detectable_slowdown_is_found_in_nine_of_ten_runs() -> None:
    decision = throughput.decide_throughput(_rates(100.0, 1.0, 10), PUBLISHED)
    runs = np.random.default_rng(4).normal(100 - decision.detectable_pct, 1, size=(400, 10))
    found = [throughput.decide_throughput(list(run), 100).status is Status.FAIL for run in runs]
    assert 0.84 < np.mean(found) < 0.96


def test_disturbances_and_drift_make_everything_inconclusive() -> None:
    good = _rates(100.0, 0.2, 10)
    hot = throughput.decide_throughput(good, PUBLISHED, disturbances=["chip 0 at 96 C"])
    drift = throughput.decide_throughput(
        [rate * (1 - 0.004 * i) for i, rate in enumerate(good)], PUBLISHED
    )
    assert hot.status is drift.status is Status.INCONCLUSIVE
    assert "chip 0 at 96 C" in hot.explanation
    assert "drifting chip" in drift.explanation


def test_looks_stop_at_the_first_that_decides() -> None:
    clear = throughput.decide_in_looks(_rates(100.0, 0.2, 30), PUBLISHED)
    assert (clear.status, clear.steady.rounds) == (Status.PASS, 5)
    late = throughput.decide_in_looks(_rates(92.0, 2.0, 30), PUBLISHED)
    assert late.status is Status.FAIL
    assert late.steady.rounds > 5


def test_looks_err_no_more_than_allowed_on_the_bound() -> None:
    runs = np.random.default_rng(11).normal(95, 1, size=(150, 30))
    statuses = [throughput.decide_in_looks(list(run), 100).status for run in runs]
    assert statuses.count(Status.PASS) / 150 < 0.03
    assert statuses.count(Status.FAIL) / 150 < 0.03


@pytest.mark.parametrize(
    "rates", [[1.0] * 4, [], [1, 2, 3, 4, 0], [1, 2, 3, 4, math.nan], [1, 2, 3, 4, math.inf]]
)
def test_rounds_that_cannot_be_used_are_errors(rates: list[float]) -> None:
    with pytest.raises(ToolError, match="rounds cannot be used"):
        throughput.decide_throughput(rates, PUBLISHED)


@pytest.mark.parametrize(
    ("share", "status"),
    [
        (97.0, Status.PASS),
        (96.9, Status.INCONCLUSIVE),
        (93.94, Status.INCONCLUSIVE),
        (93.0, Status.INCONCLUSIVE),
        (92.9, Status.FAIL),
    ],
)
def test_one_file_decides_only_far_from_the_bound(share: float, status: Status) -> None:
    assert throughput.decide_single(share, 100.0) is status


def test_a_candidate_is_compared_with_an_interleaved_baseline() -> None:
    baseline = _rates(100.0, 0.5, 8)
    slow = [0.9 * rate for rate in _rates(100.0, 0.5, 8, seed=2)]
    assert throughput.decide_regression(baseline, baseline)[0] is Status.PASS
    status, interval = throughput.decide_regression(baseline, slow)
    assert status is Status.FAIL
    assert interval.lower < 90 < interval.upper


# ---- the control


def test_the_control_has_three_outcomes() -> None:
    calm, rough = _rates(100, 0.3, 10), _rates(100, 2.0, 10)
    assert aa_control.decide_control(calm, _rates(100, 0.3, 10, 2)).control is Control.SAME
    assert aa_control.decide_control(rough, _rates(100, 2.0, 10, 2)).control is Control.UNDECIDED
    assert aa_control.decide_control(calm, _rates(98, 0.3, 10, 2)).control is Control.DIFFERENT
    assert aa_control.decide_control(calm, _rates(99.6, 0.1, 10, 2)).control is Control.SAME


def test_an_unsteady_measurement_is_never_a_fail() -> None:
    different = aa_control.decide_control(_rates(100, 0.3, 10), _rates(95, 0.3, 10))
    decision = throughput.decide_throughput(_rates(80, 0.3, 10), PUBLISHED, control=different)
    assert decision.status is Status.INCONCLUSIVE
    assert "unsteady measurement" in decision.explanation


@pytest.mark.parametrize(
    ("share", "status"), [(93.7, Status.INCONCLUSIVE), (92.5, Status.FAIL), (97.0, Status.PASS)]
)
def test_an_undecided_control_asks_for_one_percent_more(share: float, status: Status) -> None:
    control = aa_control.decide_control(_rates(100, 2.0, 10), _rates(100, 2.0, 10, 2))
    decision = throughput.decide_throughput(_rates(share, 1.0, 30), PUBLISHED, control=control)
    assert decision.allowance_pct == 1.0
    assert decision.status is status


def test_ratio_interval_equals_welch_on_logarithms() -> None:
    first, second = _rates(100, 1.0, 8), _rates(97, 2.0, 12)
    got = rounds.ratio_interval(first, second, alpha_side=0.01)
    exact = stats.ttest_ind(np.log(second), np.log(first), equal_var=False)
    low, high = exact.confidence_interval(0.98)
    assert (got.lower, got.upper) == pytest.approx((math.exp(low), math.exp(high)), rel=1e-9)


def test_rounds_without_spread_have_an_exact_ratio() -> None:
    got = rounds.ratio_interval([100.0, 100.0], [90.0, 90.0], alpha_side=0.01)
    assert (got.lower, got.upper) == pytest.approx((0.9, 0.9))


def test_a_steady_drift_weighs_on_both_halves_alike() -> None:
    first, second = rounds.interleaved_halves([float(i) for i in range(1, 17)])
    assert sum(first) == sum(second)
    assert rounds.abba(6) == "ABBAAB"
    with pytest.raises(ToolError, match="interleaved"):
        rounds.abba(3)


# ---- rounds


def test_a_run_makes_no_more_rounds_than_it_needs() -> None:
    def wanted(share_pct: float, spread_pct: float, count: int) -> int:
        return throughput.rounds_wanted(_rates(share_pct, spread_pct, count), PUBLISHED)

    assert throughput.rounds_wanted([], PUBLISHED) == 5
    assert throughput.rounds_wanted([1.0] * 5, None) == 5, "a recorded rate needs a spread only"
    assert wanted(100, 0.3, 5) == 5
    assert wanted(92, 0.3, 5) == 5
    assert [wanted(95, 1.0, count) for count in (5, 10, 20, 30)] == [10, 20, 30, 30]
    assert wanted(95, 1.0, 7) == 10, "looks are fixed beforehand"


@settings(max_examples=40, deadline=None)
@given(st.integers(500, 8000), st.sampled_from([1, 16]))
def test_blocks_hold_every_time_once(entries: int, batch: int) -> None:
    times = np.random.default_rng(entries).uniform(1, 2, entries)
    got = rounds.rounds_from_times(list(times), batch)
    sizes = [len(part) for part in np.array_split(times, len(got))]
    assert 5 <= len(got) <= 30
    assert min(sizes) >= 100
    total_ms = sum(size * 1000 * batch / rate for size, rate in zip(sizes, got, strict=True))
    assert total_ms == pytest.approx(times.sum())


def test_too_few_times_are_an_error() -> None:
    with pytest.raises(ToolError):
        rounds.rounds_from_times([1.0] * 499, 16)


def test_steadiness_reports_spread_drift_and_dependence() -> None:
    calm = rounds.steadiness(_rates(100, 0.5, 20))
    assert calm.spread_pct == pytest.approx(0.5, rel=1e-6)
    assert not calm.drifting
    assert calm.effective_rounds == 20
    walk = rounds.steadiness([100 + 3 * math.sin(i / 4) for i in range(40)])
    assert walk.autocorrelation > 0.8
    assert walk.effective_rounds < 6
    drift = rounds.steadiness([100 - 0.2 * i for i in range(20)])
    assert drift.drifting
    assert drift.drift_pct == pytest.approx(-100 * 0.2 * 19 / (100 - 1.9))


def test_flat_rounds_are_steady() -> None:
    flat = rounds.steadiness([100.0] * 6)
    assert (flat.spread_pct, flat.autocorrelation, flat.drifting) == (0.0, 0.0, False)


def test_dependent_rounds_widen_the_interval() -> None:
    wave = [100 + math.sin(i / 4) for i in range(40)]
    dependent = rounds.mean_interval(wave, alpha_side=0.01)
    mixed = list(np.random.default_rng(0).permutation(wave))
    assert dependent.half_width > 2 * rounds.mean_interval(mixed, alpha_side=0.01).half_width


# ---- figures that must be possible together


@pytest.fixture
def run() -> TimedRun:
    """The published file of batch 16: 50,000 images in 249.483 s."""
    return TimedRun(
        images=50_000,
        outputs=50_000,
        batches=3125,
        interface_fps=2505.61,
        infer_fps=201.222,
        e2e_fps=200.414,
        e2e_latency_ms=249_483,
        started_s=1000.0,
        ended_s=1251.0,
        first_output_s=1001.5,
        last_output_s=1250.5,
    )


def test_the_published_file_is_possible(run: TimedRun) -> None:
    plausibility.require_possible(run)
    silent: dict[str, Any] = dict.fromkeys(("infer_fps", "e2e_fps", "e2e_latency_ms", "outputs"))
    plausibility.require_possible(replace(run, **silent))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": 49_984, "outputs": 49_984}, "rate times latency"),
        ({"interface_fps": 200.0}, "below inference"),
        ({"ended_s": 1240.0}, "by our clock"),
        ({"outputs": 49_999}, "49999 outputs for 50000"),
        ({"first_output_s": 900.0}, "stale"),
        ({"last_output_s": 1300.0}, "newer than the run"),
        ({"images": 0}, "0 images"),
        ({"e2e_fps": 0.0}, "is 0.0 images"),
        ({"interface_fps": 190.0, "infer_fps": 190.0, "ended_s": 1249.5}, "do not fit"),
    ],
)
def test_each_contradiction_is_found(run: TimedRun, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ToolError, match=message):
        plausibility.require_possible(replace(run, **change))


def test_a_rate_far_above_everything_known_is_an_error() -> None:
    known = [4589.72, 10022.44]
    plausibility.require_plausible_rate(1.4 * 10022.44, known)
    plausibility.require_plausible_rate(1e6, [])
    with pytest.raises(ToolError, match="plausible"):
        plausibility.require_plausible_rate(4 * 10022.44, known)
