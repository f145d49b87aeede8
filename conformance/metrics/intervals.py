"""Confidence intervals: Clopper-Pearson, Wilson and Tango.

Every interval takes ``alpha_side``, the error allowed on each side: 0.01 gives a 98 % interval
whose two one-sided bounds hold at 99 %. All bounds are fractions, not percent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from conformance.errors import ConformanceError
from conformance.metrics.distributions import (
    beta_quantile,
    binomial_cdf,
    bisect,
    normal_quantile,
)


@dataclass(frozen=True)
class Interval:
    """A lower and an upper bound, each of which may be used on its own."""

    lower: float
    upper: float

    @property
    def half_width(self) -> float:
        """Half the distance between the bounds."""
        return (self.upper - self.lower) / 2

    def inside(self, lower: float, upper: float) -> bool:
        """Whether the whole interval lies strictly between the two limits."""
        return lower < self.lower and self.upper < upper

    def outside(self, lower: float, upper: float) -> bool:
        """Whether the whole interval lies strictly below or above the two limits."""
        return self.upper < lower or upper < self.lower


def require_counts(trials: float, **parts: float) -> None:
    """Check that there are trials and that each named part lies between 0 and them.

    Raises:
        ConformanceError: Nothing was counted, or a part is negative or above the whole.
    """
    if trials <= 0:
        raise ConformanceError(
            "nothing was compared",
            got=f"{trials} images",
            expected="at least one image",
            next_step="give images; a run without any proves nothing",
        )
    if min(parts.values()) < 0 or sum(parts.values()) > trials:
        raise ConformanceError(
            "counts are impossible",
            got=", ".join(f"{name}={count}" for name, count in parts.items()),
            expected=f"counts from 0 to {trials} in all",
            next_step="count each image once",
        )


def clopper_pearson(successes: int, trials: int, *, alpha_side: float) -> Interval:
    """Return the exact binomial interval of a rate.

    Source: Clopper and Pearson, Biometrika 26 (1934) 404; bounds as quantiles of the beta
    distribution.

    Raises:
        ConformanceError: No trials, or more successes than trials.
    """
    require_counts(trials, successes=successes)
    failures = trials - successes
    lower = beta_quantile(alpha_side, successes, failures + 1) if successes else 0.0
    upper = beta_quantile(1 - alpha_side, successes + 1, failures) if failures else 1.0
    return Interval(lower, upper)


def wilson(successes: int, trials: int, *, alpha_side: float) -> Interval:
    """Return the score interval of a single rate.

    Source: Wilson, Journal of the American Statistical Association 22 (1927) 209.

    Raises:
        ConformanceError: No trials, or more successes than trials.
    """
    require_counts(trials, successes=successes)
    z2 = normal_quantile(1 - alpha_side) ** 2
    centre = (successes + z2 / 2) / (trials + z2)
    rate = successes / trials
    reach = math.sqrt(z2 * (rate * (1 - rate) + z2 / (4 * trials)) / trials) / (1 + z2 / trials)
    return Interval(max(0.0, centre - reach), min(1.0, centre + reach))


def restricted_lost_rate(
    gained: ArrayLike, lost: ArrayLike, images: ArrayLike, difference: ArrayLike
) -> NDArray[np.float64]:
    """Return the maximum likelihood estimate of the rate of lost images at a given difference.

    The rate of gained images is then this plus ``difference``. Arrays are taken element by
    element. Source: Tango, Statistics in Medicine 17 (1998) 891, equation for q21.
    """
    gain, loss, n, d = (np.asarray(x, np.float64) for x in (gained, lost, images, difference))
    a = 2 * n
    b = -gain - loss + (2 * n - gain + loss) * d
    c = -loss * d * (1 - d)
    root = np.sqrt(np.maximum(b * b - 4 * a * c, 0))
    return np.asarray((root - b) / (2 * a), np.float64)


def tango_score(
    gained: ArrayLike, lost: ArrayLike, images: ArrayLike, difference: ArrayLike
) -> NDArray[np.float64]:
    """Return the score statistic for ``P(gained) - P(lost) = difference``, element by element.

    It falls as ``difference`` rises and is compared to a standard normal. Source: Tango 1998.
    """
    gain, loss, n, d = (np.asarray(x, np.float64) for x in (gained, lost, images, difference))
    excess = gain - loss - n * d
    variance = n * (2 * restricted_lost_rate(gain, loss, n, d) + d * (1 - d))
    spread = np.sqrt(np.maximum(variance, 0))
    certain = np.where(excess == 0, 0.0, np.copysign(np.inf, excess))
    return np.where(
        spread > 0, np.divide(excess, spread, out=certain.copy(), where=spread > 0), certain
    )


def tango(gained: int, lost: int, images: int, *, alpha_side: float) -> Interval:
    """Return the score interval of ``P(gained) - P(lost)`` over paired images.

    Args:
        gained: Images that only the candidate has right.
        lost: Images that only the reference has right.
        images: All images compared.
        alpha_side: Error allowed on each side.

    Raises:
        ConformanceError: No images, or impossible counts.
    """
    require_counts(images, gained=gained, lost=lost)
    z = normal_quantile(1 - alpha_side)
    observed = (gained - lost) / images

    def above(limit: float) -> float:
        return float(z - tango_score(gained, lost, images, limit))

    def below(limit: float) -> float:
        return float(-z - tango_score(gained, lost, images, limit))

    return Interval(bisect(above, -1.0, observed), bisect(below, observed, 1.0))


def mcnemar_p(gained: int, lost: int) -> float:
    """Return the exact two-sided p of McNemar's test; 1 when nothing is discordant.

    It tests "no loss at all", not "a loss below a limit", so it is shown and never decides.
    """
    tail = binomial_cdf(min(gained, lost), gained + lost, 0.5) if gained + lost else 1.0
    return min(1.0, 2 * tail)
