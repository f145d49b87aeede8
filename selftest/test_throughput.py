"""Calibrated throughput, its control, its rounds, and figures that contradict each other."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from conformance.ascend.inference import Outputs
from conformance.ascend.timed_run import TimedRun, timed_dataset_run
from conformance.ascend.tool_run import Run
from conformance.check import Status
from conformance.errors import ToolError
from conformance.metrics import aa_control, plausibility, round_looks, rounds, throughput
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
    effective = decision.steady.effective_rounds
    assert effective < count
    reach = stats.t(count - 1).ppf(0.99) / math.sqrt(effective)
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


@pytest.mark.parametrize(("count", "alpha_side"), [(10, 0.01), (10, 0.00124), (20, 0.0035)])
def test_the_smallest_detectable_slowdown_is_found_in_nine_of_ten_runs(
    count: int, alpha_side: float
) -> None:
    def decided(rates: list[float], published: float) -> throughput.ThroughputDecision:
        return throughput.decide_throughput(rates, published, alpha_side=alpha_side)

    decision = decided(_rates(100.0, 1.0, count), PUBLISHED)
    runs = np.random.default_rng(4).normal(100 - decision.detectable_pct, 1, size=(400, count))
    found = [decided(list(run), 100).status is Status.FAIL for run in runs]
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


def _until_decided(rates: list[float], first_look: int = 5) -> throughput.ThroughputDecision:
    """Go on as a run does, as long as it wants more rounds."""
    count = 0
    while (wanted := _wanted(rates[:count], first_look)) > count:
        count = wanted
    return round_looks.decide_in_looks(rates[:count], PUBLISHED, first_look=first_look)


def _wanted(rates: list[float], first_look: int = 5) -> int:
    return round_looks.rounds_wanted(rates, PUBLISHED, first_look=first_look)


def test_a_run_stops_at_the_first_look_that_decides() -> None:
    clear = _until_decided(_rates(100.0, 0.2, 30))
    assert (clear.status, clear.steady.rounds) == (Status.PASS, 5)
    late = _until_decided(_rates(92.0, 2.0, 30))
    assert late.status is Status.FAIL
    assert late.steady.rounds > 5


def test_rounds_that_were_there_before_all_count_in_the_first_look() -> None:
    assert round_looks.first_look_after(0) == round_looks.first_look_after(4) == 5
    assert round_looks.first_look_after(23) == 24
    assert round_looks.looks_from(24) == (24, 30)
    clear = _until_decided(_rates(100.0, 0.2, 30), first_look=24)
    assert (clear.status, clear.steady.rounds) == (Status.PASS, 24)
    slower = [*_rates(100.0, 0.3, 5), *_rates(70.0, 0.3, 19)]
    assert round_looks.decide_in_looks(slower, PUBLISHED, first_look=24).status is not Status.PASS
    assert [_wanted(slower[:count], 24) for count in (0, 5, 23)] == [24, 24, 24]
    assert _wanted(_rates(95.0, 1.0, 40), 40) == 40


@pytest.mark.parametrize("first", [5, 7, 24, 30, 40])
def test_looks_share_the_error(first: int) -> None:
    shares = [round_looks.look_error(look, first) for look in round_looks.looks_from(first)]
    assert sum(shares) == pytest.approx(0.01)
    assert min(shares) > 0
    # A run whose time is over at 13 rounds looks there instead of at 20.
    ends_early = [round_looks.look_error(look) for look in (5, 10, 13)]
    assert sum(ends_early) < 0.01


def test_looks_err_no_more_than_allowed_on_the_bound() -> None:
    runs = PUBLISHED / 100 * np.random.default_rng(11).normal(95, 1, size=(150, 30))
    statuses = [_until_decided(list(run)).status for run in runs]
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
        return round_looks.rounds_wanted(_rates(share_pct, spread_pct, count), PUBLISHED)

    assert round_looks.rounds_wanted([], PUBLISHED) == 5
    assert round_looks.rounds_wanted([1.0] * 5, None) == 5, "a recorded rate needs a spread only"
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
    assert 5 <= len(got) <= 31
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
    # Weights of rounds 1, 2, 3 ... apart, each 0.3 times as alike as those before.
    alike = sum((1 - apart / 20) * 0.3**apart for apart in range(1, 20))
    assert calm.correlation == 0.3
    assert calm.effective_rounds == pytest.approx(20 / (1 + 2 * alike))
    walk = rounds.steadiness([100 + 3 * math.sin(i / 4) for i in range(40)])
    assert walk.autocorrelation > 0.8
    assert walk.effective_rounds < 6
    drift = rounds.steadiness([100 - 0.2 * i for i in range(20)])
    assert drift.drifting
    assert drift.drift_pct == pytest.approx(-100 * 0.2 * 19 / (100 - 1.9))


def test_flat_rounds_are_steady() -> None:
    flat = rounds.steadiness([100.0] * 6)
    assert (flat.spread_pct, flat.autocorrelation, flat.drifting) == (0.0, 0.0, False)


@pytest.mark.parametrize("count", [5, 10, 20, 30])
@pytest.mark.parametrize("correlation", [0.0, 0.3])
def test_likeness_of_neighbours_costs_no_more_than_the_error(
    count: int, correlation: float
) -> None:
    """On the bound itself rounds clear it as often as the error allows, alike or not."""
    steps = np.random.default_rng(count).normal(size=(1000, count))
    runs = steps.copy()
    for number in range(1, count):
        new = math.sqrt(1 - correlation**2) * steps[:, number]
        runs[:, number] = correlation * runs[:, number - 1] + new
    bounds = [rounds.mean_interval(list(100 + run), alpha_side=0.05) for run in runs]
    assert sum(bound.lower > 100 for bound in bounds) <= 0.065 * 1000
    assert sum(bound.upper < 100 for bound in bounds) <= 0.065 * 1000


def test_five_rounds_that_climb_count_as_hardly_more_than_one() -> None:
    steps = rounds.steadiness([100.0, 100.1, 102.0, 102.1, 102.2])
    assert steps.autocorrelation < 2 / math.sqrt(5)
    assert steps.correlation > 0.8
    assert steps.effective_rounds < 1.3


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
        # Inference, interface and both ends are of one chip, and all of it is within the run.
        ({"infer_fps": 10.0}, "inference alone makes 10 fps"),
        ({"e2e_fps": 10_000.0, "e2e_latency_ms": 5_000.0}, "the interface alone makes 2505.61"),
        ({"first_output_s": 998.1, "last_output_s": 1252.9}, "written over 254.8 s by a run of"),
    ],
)
def test_each_contradiction_is_found(run: TimedRun, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ToolError, match=message):
        plausibility.require_possible(replace(run, **change))


def test_outputs_are_counted_in_the_folder_and_not_from_the_list(tmp_path: Path) -> None:
    for name in ("a_1.txt", "b_1.txt", "more_1.txt"):
        (tmp_path / name).write_text("1")
    outputs = Outputs(tmp_path, ("a_1.txt", "b_1.txt"), 0.0, 1)
    done = Run(
        argv=(), cwd=tmp_path, status=0, ended_by="itself", started_at=time.time() - 5,
        duration_s=10.0, limit_s=60.0, stdout_path=tmp_path, stderr_path=tmp_path, left_behind=(),
        survivors=(),
    )  # fmt: skip
    timed = timed_dataset_run(done, outputs, rate_fps=100.0, batch=1)
    assert (timed.images, timed.outputs) == (2, 3)
    with pytest.raises(ToolError, match="3 outputs for 2 images"):
        plausibility.require_possible(timed)


def test_a_rate_far_above_everything_known_is_an_error() -> None:
    known = [4589.72, 10022.44]
    plausibility.require_plausible_rate(1.4 * 10022.44, known)
    plausibility.require_plausible_rate(1e6, [])
    with pytest.raises(ToolError, match="plausible"):
        plausibility.require_plausible_rate(4 * 10022.44, known)
