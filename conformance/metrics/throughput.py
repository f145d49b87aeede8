"""Throughput against a published figure: three-way decisions from rounds at one look."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from conformance.bounds import suite_bound
from conformance.check import Status
from conformance.metrics.aa_control import (
    SAME_WITHIN_PCT,
    Control,
    ControlDecision,
)
from conformance.metrics.distributions import normal_quantile, student_t_quantile
from conformance.metrics.intervals import Interval
from conformance.metrics.rounds import (
    MAX_ROUNDS,
    MIN_ROUNDS,
    Steadiness,
    effective_rounds,
    mean_interval,
    ratio_interval,
    require_rates,
    steadiness,
)

ALPHA_SIDE = suite_bound("throughput.error_a_side")
BOUND_PCT = 95.0
NOISY_SPREAD_PCT = suite_bound("throughput.noisy_spread_pct")
PLANNED_POWER = 0.9
# A rate that is exactly the bound must not fail by the last bit of a float.
ROUNDING = 1e-9
SINGLE_FAIL_PCT = suite_bound("throughput.single_fail_pct")
SINGLE_PASS_PCT = suite_bound("throughput.single_pass_pct")


@dataclass(frozen=True)
class ThroughputDecision:
    """What rounds say about throughput, in images per second and percent of the figure.

    Attributes:
        status: PASS, FAIL or INCONCLUSIVE.
        measured_pct: Mean in percent of the published figure.
        interval_pct: Its two one-sided bounds.
        bound_pct: Least share that holds.
        allowance_pct: By how much a decision must clear the bound besides.
        steady: Spread, autocorrelation and drift of the rounds.
        detectable_pct: Smallest slowdown that such a run finds in 9 of 10 cases.
        rounds_needed: Rounds that would settle it; None when settled or when 30 would not.
        explanation: One sentence for the reader.
    """

    status: Status
    measured_pct: float
    interval_pct: Interval
    bound_pct: float
    allowance_pct: float
    steady: Steadiness
    detectable_pct: float
    rounds_needed: int | None
    explanation: str


def decide_throughput(
    rates_fps: Sequence[float],
    published_fps: float,
    *,
    bound_pct: float = BOUND_PCT,
    alpha_side: float = ALPHA_SIDE,
    control: ControlDecision | None = None,
    disturbances: Sequence[str] = (),
    later: Mapping[int, float] | None = None,
) -> ThroughputDecision:
    """Decide whether the mean rate reaches its share of the published figure.

    PASS when the lower one-sided bound reaches it, FAIL when the upper one does not. A control
    that is ``different``, a drift or a disturbance makes everything INCONCLUSIVE. A control that is
    ``undecided`` is too noisy to vouch for ±1 %, so a decision must clear the bound by that 1 %
    more; asking for ``same`` instead would leave every chip of 1 % spread undecided at 30 rounds.

    Args:
        rates_fps: Rate of each round, of the whole card if the figure is.
        published_fps: The figure, measured by the same method.
        bound_pct: Least share of the figure.
        alpha_side: Error allowed on each side, of one analysis at a number fixed beforehand.
        control: The A/A control of this run, if there is one.
        disturbances: Why this run cannot count: a busy, hot or unhealthy chip.
        later: The looks that are still to come, each with its error; None where any number of
            rounds up to 30 may be measured instead, with the same error.

    Raises:
        ToolError: Fewer than five rounds, or a rate or figure that is not positive.
    """
    require_rates(rates_fps, MIN_ROUNDS)
    require_rates([published_fps], 1)
    shares = [100 * float(rate) / published_fps for rate in rates_fps]
    steady, interval = steadiness(rates_fps), mean_interval(shares, alpha_side=alpha_side)
    allowance = SAME_WITHIN_PCT if control and control.control is Control.UNDECIDED else 0.0
    reasons = [*disturbances, *_reasons(steady, control)]
    mean = sum(shares) / len(shares)
    status = _status(interval, bound_pct, allowance)
    if reasons:
        status = Status.INCONCLUSIVE
    spread_points = steady.spread_pct * mean / 100
    needed = None
    if status is Status.INCONCLUSIVE and not reasons:
        away = abs(mean - bound_pct) - allowance
        if later is None:
            later = dict.fromkeys(range(len(shares) + 1, MAX_ROUNDS + 1), alpha_side)
        needed = _rounds_needed(away, spread_points, steady, later)
        reasons = [_what_settles(needed, steady)]
    text = (
        f"{mean:.2f} % of {published_fps:g} fps, between {interval.lower:.2f} and "
        f"{interval.upper:.2f} % in {len(shares)} rounds of {steady.spread_pct:.2f} % spread"
    )
    reach = _reach(spread_points, len(shares), steady.correlation, alpha_side)
    detectable = 100 - bound_pct + allowance + reach
    return ThroughputDecision(
        status,
        mean,
        interval,
        bound_pct,
        allowance,
        steady,
        detectable,
        needed,
        "; ".join([text, *reasons]),
    )


def _status(interval: Interval, bound_pct: float, allowance_pct: float) -> Status:
    if interval.lower >= bound_pct + allowance_pct - ROUNDING:
        return Status.PASS
    if interval.upper < bound_pct - allowance_pct - ROUNDING:
        return Status.FAIL
    return Status.INCONCLUSIVE


def _reasons(steady: Steadiness, control: ControlDecision | None) -> list[str]:
    found = []
    if control and control.control is Control.DIFFERENT:
        found.append(f"unsteady measurement: {control.explanation}")
    if steady.drifting:
        found.append(f"drifting chip: {steady.drift_pct:+.2f} % from first to last round")
    return found


def _reach(spread_points: float, rounds: int, correlation: float, alpha_side: float) -> float:
    """Distance from the bound at which a run of these rounds decides in 9 of 10 cases.

    Each run has a spread of its own, so this is a quantile of the noncentral t distribution.
    Source: Johnson and Welch, Biometrika 31 (1940) 362, for large degrees of freedom.
    """
    free = rounds - 1
    t = student_t_quantile(1 - alpha_side, free)
    far = t * (1 - 1 / (4 * free))
    far += normal_quantile(PLANNED_POWER) * math.sqrt(1 + t**2 / (2 * free))
    return far * spread_points / math.sqrt(effective_rounds(rounds, correlation))


def smallest_change_pct(steady: Steadiness, alpha_side: float) -> float:
    """Return the smallest change of the mean, in percent, found in 9 of 10 runs of such rounds."""
    return _reach(steady.spread_pct, steady.rounds, steady.correlation, alpha_side)


def _rounds_needed(
    away: float, spread_points: float, steady: Steadiness, later: Mapping[int, float]
) -> int | None:
    """Return the rounds at which a mean this far off the bound decides; None if none do."""
    for count, alpha_side in later.items():
        if _reach(spread_points, count, steady.correlation, alpha_side) <= away:
            return count
    return None


def _what_settles(needed: int | None, steady: Steadiness) -> str:
    if needed:
        return f"about {needed} rounds would settle it"
    if steady.rounds >= MAX_ROUNDS and steady.spread_pct > NOISY_SPREAD_PCT:
        return f"noisy chip: above {NOISY_SPREAD_PCT:g} % spread at {steady.rounds} rounds"
    return f"too close to the bound for {MAX_ROUNDS} rounds"


def decide_single(fps: float, published_fps: float) -> Status:
    """Decide on one performance file, which has no spread: only outside 93 to 97 %.

    Raises:
        ToolError: A rate or figure that is not positive.
    """
    require_rates([fps, published_fps], 2)
    share = 100 * fps / published_fps
    if share >= SINGLE_PASS_PCT:
        return Status.PASS
    return Status.FAIL if share < SINGLE_FAIL_PCT else Status.INCONCLUSIVE


def decide_regression(
    baseline_fps: Sequence[float],
    candidate_fps: Sequence[float],
    *,
    bound_pct: float = BOUND_PCT,
    alpha_side: float = ALPHA_SIDE,
) -> tuple[Status, Interval]:
    """Decide whether a candidate reaches its share of a baseline measured in between.

    Returns the status and the interval of the ratio in percent.

    Raises:
        ToolError: Fewer than five rounds on a side, or a rate that is not positive.
    """
    require_rates(baseline_fps, MIN_ROUNDS)
    require_rates(candidate_fps, MIN_ROUNDS)
    ratio = ratio_interval(baseline_fps, candidate_fps, alpha_side=alpha_side)
    interval = Interval(100 * ratio.lower, 100 * ratio.upper)
    return _status(interval, bound_pct, 0.0), interval
