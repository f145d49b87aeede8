"""Looking early without fooling oneself: fixed looks, and a sequence for any other count."""

from __future__ import annotations

import math
from typing import Literal

from conformance.bounds import suite_bound
from conformance.errors import ConfigError
from conformance.metrics.distributions import bisect
from conformance.metrics.intervals import Interval, require_counts, restricted_lost_rate

Plan = Literal["fixed", "looks", "anytime"]
# Share of the error that each look may spend. Nearly all goes to the look at 5,000, where a
# candidate without loss can pass even with 3 % of the images discordant; 10,000 need little.
# On paper the shares exceed one, and the error does not: the looks before 5,000 can only pass where
# few images are discordant, and there the look at 5,000 spends less than its share. Summed exactly
# over the looks, a loss of exactly one point passes in at most 0.95 %, however many are discordant.
LOOKS = (500, 1_000, 2_000, 5_000, 10_000)
LOOK_SHARES = {look: suite_bound(f"accuracy.paired.look_share_{look}") for look in LOOKS}
# What the sequence expects of lost, gained and agreeing images: 1 % each, worth 100 images. Every
# prior is valid; this one makes the bounds narrow where ports of classifiers are found.
PRIOR = (1.0, 1.0, 100.0)


def look_alpha(images: int, alpha_side: float) -> float:
    """Return the error that the look at this count may spend.

    The shares are fixed beforehand, and the error probabilities of the looks simply add up, so that
    the bound holds however the looks depend on each other. Source: error spending, Lan and DeMets,
    Biometrika 70 (1983) 659.

    Raises:
        ConfigError: ``images`` is not one of the fixed looks.
    """
    if images not in LOOK_SHARES:
        raise ConfigError(
            "this number of images is not one of the fixed looks",
            got=images,
            expected=", ".join(map(str, LOOKS)),
            next_step="use one of them, or plan `anytime`, which holds at every count",
        )
    return alpha_side * LOOK_SHARES[images]


def plan_for(images: int, *, once: bool) -> Plan:
    """Return how a number of images is analysed.

    Args:
        images: Their number.
        once: Whether it was fixed beforehand and is looked at once; then it has the whole error.
            Otherwise a fixed look has its share, and any other number needs a sequence.
    """
    if once:
        return "fixed"
    return "looks" if images in LOOK_SHARES else "anytime"


def anytime_interval(gained: int, lost: int, images: int, *, alpha_side: float) -> Interval:
    """Return bounds of ``P(gained) - P(lost)`` that hold at every count at once.

    A difference is excluded when the counts, averaged over a Dirichlet prior, are ``1/alpha`` times
    as likely as under the most likely rates with that difference. This ratio never exceeds a
    martingale of mean one, so by Ville's inequality it passes ``1/alpha`` at any time at all with
    probability at most ``alpha``. Sources: method of mixtures, Robbins, Annals of Mathematical
    Statistics 41 (1970) 1397; maximised null, Wasserman, Ramdas and Balakrishnan, PNAS 117 (2020)
    16880.

    Raises:
        ConformanceError: No images, or impossible counts.
    """
    require_counts(images, gained=gained, lost=lost)
    observed = (gained - lost) / images

    def excess(difference: float) -> float:
        return log_evidence(gained, lost, images, difference) + math.log(alpha_side)

    lower = bisect(lambda d: -excess(d), -1.0, observed)
    return Interval(lower, bisect(excess, observed, 1.0))


def log_evidence(gained: float, lost: float, images: int, difference: float) -> float:
    """Return the log of the evidence against a difference; log(1/alpha) excludes it for good."""
    counts = (lost, gained, images - lost - gained)
    return _log_mixture(counts) - _log_likelihood(counts, difference)


def _log_mixture(counts: tuple[float, float, float]) -> float:
    """Log likelihood of lost, gained and agreeing images, averaged over the prior."""
    risen = [
        math.lgamma(count + prior) - math.lgamma(prior)
        for count, prior in zip(counts, PRIOR, strict=True)
    ]
    return sum(risen) + math.lgamma(sum(PRIOR)) - math.lgamma(sum(counts) + sum(PRIOR))


def _log_likelihood(counts: tuple[float, float, float], difference: float) -> float:
    """Log likelihood at the most likely rates that have this difference."""
    lost, gained, agreeing = counts
    rate = float(restricted_lost_rate(gained, lost, sum(counts), difference))
    rates = (rate, rate + difference, 1 - 2 * rate - difference)
    total = 0.0
    for count, probability in zip((lost, gained, agreeing), rates, strict=True):
        if count:
            total += count * math.log(probability) if probability > 0 else -math.inf
    return total
