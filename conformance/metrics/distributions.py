"""Distribution functions and quantiles without scipy, which a board does not have.

Accuracy: better than 1e-9 relative for shapes up to 100,000, which the tests check against scipy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from statistics import NormalDist

_TINY = 1e-300
_FRACTION_TERMS = 20_000
_HALVINGS = 200


def normal_quantile(probability: float) -> float:
    """Return z with ``P(Z <= z) = probability`` for a standard normal Z."""
    return NormalDist().inv_cdf(probability)


def bisect(function: Callable[[float], float], low: float, high: float) -> float:
    """Return where a rising function crosses zero between ``low`` and ``high``.

    Without a change of sign the nearer end is returned: the root lies outside.
    """
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if middle in {low, high}:
            break
        if function(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b) for a, b > 0 and 0 <= x <= 1.

    Source: the continued fraction of DLMF 8.17.22, evaluated by Lentz's method.
    """
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast only below the mean
        return 1 - incomplete_beta(b, a, 1 - x)
    log_front = (
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    return math.exp(log_front) / (a * _beta_fraction(a, b, x))


def _beta_fraction(a: float, b: float, x: float) -> float:
    value, upper, lower = 1.0, 1.0, 0.0
    for term in range(1, _FRACTION_TERMS):
        step = _beta_coefficient(a, b, x, term)
        lower = 1 / ((1 + step * lower) or _TINY)
        upper = (1 + step / upper) or _TINY
        value *= upper * lower
        if abs(upper * lower - 1) < 1e-16:
            break
    return value


def _beta_coefficient(a: float, b: float, x: float, term: int) -> float:
    m = term // 2
    if term % 2:
        return -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
    return m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))


@lru_cache(maxsize=4096)
def beta_quantile(probability: float, a: float, b: float) -> float:
    """Return x with I_x(a, b) = probability."""
    return bisect(lambda x: incomplete_beta(a, b, x) - probability, 0.0, 1.0)


def student_t_cdf(t: float, degrees: float) -> float:
    """Return P(T <= t) for Student's t with ``degrees`` > 0 degrees of freedom."""
    # x is taken from the small side, so that neither tail loses digits to 1 - x.
    tail = incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t)) / 2
    return tail if t < 0 else 1 - tail


@lru_cache(maxsize=4096)
def student_t_quantile(probability: float, degrees: float) -> float:
    """Return t with P(T <= t) = probability, for 0 < probability < 1."""
    if probability < 0.5:
        return -student_t_quantile(1 - probability, degrees)
    high = 1.0
    while student_t_cdf(high, degrees) < probability:
        high *= 2
    return bisect(lambda t: student_t_cdf(t, degrees) - probability, 0.0, high)


def binomial_cdf(successes: int, trials: int, rate: float) -> float:
    """Return P(X <= successes) for X binomial with ``trials`` and success ``rate``."""
    if successes >= trials:
        return 1.0
    return incomplete_beta(trials - successes, successes + 1, 1 - rate)
