"""Timed rounds: how a run is cut into them, and whether they are steady."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from conformance.bounds import suite_bound
from conformance.errors import ToolError
from conformance.metrics.distributions import student_t_quantile
from conformance.metrics.intervals import Interval

MIN_ROUNDS = int(suite_bound("throughput.look_1"))
MAX_ROUNDS = int(suite_bound("throughput.look_4"))
BLOCK_ENTRIES = int(suite_bound("throughput.block_entries"))
DRIFT_PCT = suite_bound("throughput.drift_pct")
DRIFT_ALPHA_SIDE = suite_bound("throughput.drift_error_a_side")
# Five rounds cannot show how alike neighbours are, so some likeness is always taken for granted.
LEAST_CORRELATION = suite_bound("throughput.least_correlation")
# Estimates can reach 1 and more.
MOST_CORRELATION = 0.99


def require_rates(rates: Sequence[float], least: int) -> None:
    """Check that there are enough rates and that each is a positive number.

    Raises:
        ToolError: Too few, or a rate that no tool can have measured.
    """
    if len(rates) >= least and all(math.isfinite(rate) and rate > 0 for rate in rates):
        return
    raise ToolError(
        "rounds cannot be used",
        got=f"{len(rates)} rounds, {[rate for rate in rates if not rate > 0][:3]} not positive",
        expected=f"at least {least} rounds of images per second, each above 0",
        next_step="measure again, and read the tool's own log",
    )


def rounds_from_times(
    times_ms: Sequence[float], batch: int, *, block: int = BLOCK_ENTRIES
) -> tuple[float, ...]:
    """Return images per second of blocks of consecutive batch times.

    Neighbouring batches are not independent, means of at least 100 of them nearly are. At most 31
    blocks are made, the first of which warms the chip up; a rest widens the blocks instead of being
    dropped.

    Args:
        times_ms: Time of each batch, in the order of the run.
        batch: Images per batch.
        block: Fewest entries of a block.

    Raises:
        ToolError: Too few entries, or a time that is not positive.
    """
    require_rates(times_ms, block * MIN_ROUNDS)
    count = min(1 + MAX_ROUNDS, len(times_ms) // block)
    return tuple(
        float(1000 * batch / part.mean())
        for part in np.array_split(np.asarray(times_ms, np.float64), count)
    )


@dataclass(frozen=True)
class Steadiness:
    """How steady rounds are.

    Attributes:
        rounds: Number of rounds.
        mean_fps: Their mean.
        spread_pct: Standard deviation in percent of the mean.
        autocorrelation: Correlation of each round with the next one, as observed.
        correlation: What it is taken for: without the bias of few rounds, and never below
            ``throughput.least_correlation``.
        effective_rounds: Independent rounds that carry as much: always fewer.
        drift_pct: Fitted change from the first to the last round, in percent of the mean.
        drifting: Whether the drift is both above 1 % and beyond chance (0.5 % a side).
    """

    rounds: int
    mean_fps: float
    spread_pct: float
    autocorrelation: float
    correlation: float
    effective_rounds: float
    drift_pct: float
    drifting: bool


def steadiness(rates_fps: Sequence[float]) -> Steadiness:
    """Describe rounds of images per second.

    Raises:
        ToolError: Fewer than three rounds, or a rate that is not positive.
    """
    require_rates(rates_fps, 3)
    data = np.asarray(rates_fps, np.float64)
    centred = data - data.mean()
    power = float(centred @ centred)
    observed = float(centred[:-1] @ centred[1:]) / power if power else 0.0
    correlation = _correlation(len(data), observed)
    time = np.arange(len(data)) - (len(data) - 1) / 2
    slope = float(time @ data) / float(time @ time)
    residual = centred - slope * time
    error = math.sqrt(float(residual @ residual) / (len(data) - 2) / float(time @ time))
    drift_pct = 100 * slope * (len(data) - 1) / float(data.mean())
    beyond = abs(slope) > student_t_quantile(1 - DRIFT_ALPHA_SIDE, len(data) - 2) * error
    return Steadiness(
        rounds=len(data),
        mean_fps=float(data.mean()),
        spread_pct=100 * float(data.std(ddof=1)) / float(data.mean()),
        autocorrelation=observed,
        correlation=correlation,
        effective_rounds=effective_rounds(len(data), correlation),
        drift_pct=drift_pct,
        drifting=beyond and abs(drift_pct) > DRIFT_PCT,
    )


def _correlation(rounds: int, observed: float) -> float:
    """Return what the correlation of neighbours is taken for.

    Around their own mean few rounds look less alike than they are, by about (1 + 3r)/n. Source:
    Kendall, Biometrika 41 (1954) 403.
    """
    unbiased = (rounds * observed + 1) / max(rounds - 3, 1)
    return min(MOST_CORRELATION, max(LEAST_CORRELATION, unbiased))


def effective_rounds(rounds: int, correlation: float) -> float:
    """Return the independent rounds whose mean is known as well as that of these.

    Args:
        rounds: Their number.
        correlation: Of each with the next one; it fades by this factor from one to the next.
    """
    apart = np.arange(1, rounds)
    weight = 1 + 2 * float((1 - apart / rounds) @ correlation**apart)
    return rounds / weight


def mean_interval(rates_fps: Sequence[float], *, alpha_side: float) -> Interval:
    """Return the t interval of the mean rate, as wide as its effective rounds make it.

    Raises:
        ToolError: Fewer than three rounds, or a rate that is not positive.
    """
    found = steadiness(rates_fps)
    error = found.spread_pct / 100 * found.mean_fps / math.sqrt(found.effective_rounds)
    reach = student_t_quantile(1 - alpha_side, found.rounds - 1) * error
    return Interval(found.mean_fps - reach, found.mean_fps + reach)


def ratio_interval(
    first_fps: Sequence[float], second_fps: Sequence[float], *, alpha_side: float
) -> Interval:
    """Return the interval of ``mean(second) / mean(first)`` for interleaved rounds.

    Taken on logarithms with Welch's degrees of freedom (Biometrika 34 (1947) 28).

    Raises:
        ToolError: Fewer than two rounds on a side, or a rate that is not positive.
    """
    require_rates(first_fps, 2)
    require_rates(second_fps, 2)
    logs = [np.log(np.asarray(side, np.float64)) for side in (first_fps, second_fps)]
    parts = [float(side.var(ddof=1)) / len(side) for side in logs]
    centre = float(logs[1].mean() - logs[0].mean())
    total = sum(parts)
    if total == 0:
        return Interval(math.exp(centre), math.exp(centre))
    degrees = total**2 / sum(
        part**2 / (len(side) - 1) for part, side in zip(parts, logs, strict=True)
    )
    reach = student_t_quantile(1 - alpha_side, degrees) * math.sqrt(total)
    return Interval(math.exp(centre - reach), math.exp(centre + reach))


def abba(rounds: int) -> str:
    """Return the order ``ABBAABBA…``; in whole groups of four a steady drift weighs on both alike.

    Raises:
        ToolError: Fewer than four rounds, so that a side has no spread.
    """
    if rounds < 4:
        raise ToolError(
            "rounds cannot be interleaved",
            got=rounds,
            expected="at least 4",
            next_step="measure more rounds",
        )
    return ("ABBA" * (rounds // 4 + 1))[:rounds]


def interleaved_halves(rates_fps: Sequence[float]) -> tuple[list[float], list[float]]:
    """Split rounds of one model into the two sides of the order ``ABBA…``.

    Raises:
        ToolError: Fewer than four rounds.
    """
    sides: dict[str, list[float]] = {"A": [], "B": []}
    for side, rate in zip(abba(len(rates_fps)), rates_fps, strict=True):
        sides[side].append(rate)
    return sides["A"], sides["B"]
