"""How often each accuracy rule passes, fails or cannot say, against the true loss.

Probabilities of one analysis are summed exactly over every pair of counts; those of repeated looks
are simulated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from conformance.metrics.census import FULL_SET
from conformance.metrics.distributions import normal_quantile
from conformance.metrics.intervals import tango_score
from conformance.metrics.paired import ALPHA_SIDE
from conformance.metrics.sequential import LOOKS, log_evidence, look_alpha

PUBLISHED = 0.58178
BOUND = 0.01

Grid = NDArray[np.float64]


@dataclass(frozen=True)
class Chances:
    """Probabilities of the three answers."""

    passes: float
    fails: float

    @property
    def undecided(self) -> float:
        """What is left."""
        return max(0.0, 1 - self.passes - self.fails)


def rates(loss: float, discordant: float) -> tuple[float, float]:
    """Return the rates of gained and lost images; a loss needs at least as many discordant."""
    share = max(discordant, abs(loss))
    return (share - loss) / 2, (share + loss) / 2


def _counts(images: int, gain_rate: float, loss_rate: float) -> tuple[Grid, Grid, Grid]:
    """Return every likely pair of counts as two axes, with their joint probability."""

    def likely(rate: float) -> Grid:
        low, high = stats.binom(images, rate).ppf([1e-12, 1 - 1e-12])
        return np.arange(low, high + 1)

    gained, lost = np.meshgrid(likely(gain_rate), likely(loss_rate), indexing="ij")
    rest = images - gained - lost
    log = (
        special.gammaln(images + 1)
        - special.gammaln(gained + 1)
        - special.gammaln(lost + 1)
        - special.gammaln(np.maximum(rest, 0) + 1)
        + special.xlogy(gained, gain_rate)
        + special.xlogy(lost, loss_rate)
        + special.xlogy(rest, 1 - gain_rate - loss_rate)
    )
    return gained, lost, np.where(rest >= 0, np.exp(log), 0)


def inside_and_outside(
    gained: Grid, lost: Grid, images: int, alpha_side: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return where Tango's interval lies inside and where outside the bound."""
    z = normal_quantile(1 - alpha_side)
    low = tango_score(gained, lost, images, -BOUND)
    high = tango_score(gained, lost, images, BOUND)
    return (low > z) & (high < -z), (low < -z) | (high > z)


def paired(images: int, loss: float, discordant: float, alpha_side: float = ALPHA_SIDE) -> Chances:
    """Return the chances of the paired rule at a number of images fixed beforehand."""
    if images == FULL_SET:
        return Chances(float(abs(loss) <= BOUND), float(abs(loss) > BOUND))
    return of_rates(images, *rates(loss, discordant), alpha_side)


def of_rates(
    images: int, gain_rate: float, loss_rate: float, alpha_side: float = ALPHA_SIDE
) -> Chances:
    """Return the chances of the paired rule at given rates of gained and lost images."""
    gained, lost, probability = _counts(images, gain_rate, loss_rate)
    inside, outside = inside_and_outside(gained, lost, images, alpha_side)
    return Chances(float(probability[inside].sum()), float(probability[outside].sum()))


def summed_over_looks(loss: float, discordant: float) -> Chances:
    """Return the chances of the fixed looks added up: at least those of any of them deciding so."""
    each = [paired(look, loss, discordant, look_alpha(look, ALPHA_SIDE)) for look in LOOKS]
    return Chances(sum(chance.passes for chance in each), sum(chance.fails for chance in each))


def in_looks(
    loss: float, discordant: float, *, runs: int = 20_000, shared: bool = True
) -> dict[int, Chances]:
    """Return the chances of having decided by each fixed look, by simulation."""
    gain_rate, loss_rate = rates(loss, discordant)
    random = np.random.default_rng(20)
    gained, lost = np.zeros(runs), np.zeros(runs)
    passed, failed = np.zeros(runs, bool), np.zeros(runs, bool)
    chances, before = {}, 0
    for look in LOOKS:
        step = random.multinomial(
            look - before, [gain_rate, loss_rate, 1 - gain_rate - loss_rate], size=runs
        )
        gained, lost, before = gained + step[:, 0], lost + step[:, 1], look
        alpha = look_alpha(look, ALPHA_SIDE) if shared else ALPHA_SIDE
        inside, outside = inside_and_outside(gained, lost, look, alpha)
        open_before = ~(passed | failed)
        passed |= inside & open_before
        failed |= outside & open_before
        chances[look] = Chances(float(passed.mean()), float(failed.mean()))
    return chances


def anytime(loss: float, discordant: float, *, runs: int = 1_000, step: int = 100) -> Chances:
    """Return the chances of the confidence sequence when looked at every ``step`` images."""
    gain_rate, loss_rate = rates(loss, discordant)
    random = np.random.default_rng(21)
    limit = np.log(1 / ALPHA_SIDE)
    answers = []
    for _ in range(runs):
        steps = random.multinomial(
            step, [gain_rate, loss_rate, 1 - gain_rate - loss_rate], size=LOOKS[-1] // step
        ).cumsum(axis=0)
        answers.append(_first_answer(steps, step, limit))
    return Chances(answers.count("PASS") / runs, answers.count("FAIL") / runs)


def _first_answer(steps: NDArray[np.int64], step: int, limit: float) -> str:
    for number, (gained, lost, _) in enumerate(steps.tolist(), start=1):
        images = number * step
        observed = (gained - lost) / images
        low, high = (log_evidence(gained, lost, images, side * BOUND) > limit for side in (-1, 1))
        if low and high:
            return "PASS" if abs(observed) < BOUND else "FAIL"
        if (low and observed < -BOUND) or (high and observed > BOUND):
            return "FAIL"
    return "INCONCLUSIVE"


def fixed_limit(loss: float, *, images: int = 1_000, limit: float = 0.10) -> Chances:
    """Return the chances of a plain limit on the accuracy of a subset."""
    least = np.ceil(images * (PUBLISHED - limit) - 1e-9)
    passes = float(stats.binom(images, PUBLISHED - loss).sf(least - 1))
    return Chances(passes, 1 - passes)


def mcnemar(images: int, loss: float, discordant: float, alpha: float = 0.05) -> Chances:
    """Return the chances of McNemar's exact test taken as a gate: FAIL when it rejects."""
    gained, lost, probability = _counts(images, *rates(loss, discordant))
    p = 2 * stats.binom.cdf(np.minimum(gained, lost), gained + lost, 0.5)
    fails = float(probability[p < alpha].sum())
    return Chances(1 - fails, fails)


def mcnemar_by_formula(images: int, loss: float, discordant: float, alpha: float = 0.05) -> float:
    """Return how often McNemar's test rejects by the textbook's normal formula."""
    away = loss * np.sqrt(images / discordant)
    return float(stats.norm.sf(normal_quantile(1 - alpha / 2) - away))


def plain_reach(images: int, discordant: float, confidence: float = 0.95) -> tuple[float, float]:
    """Return the half widths in points of plain normal intervals: paired, and of one side alone."""
    z = normal_quantile((1 + confidence) / 2)
    variances = (discordant, PUBLISHED * (1 - PUBLISHED))
    paired_points, alone = (100 * z * float(np.sqrt(v / images)) for v in variances)
    return paired_points, alone
