"""How often each throughput rule passes, fails or cannot say, against the true slowdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy_curves import Chances
from conformance.check import Status
from conformance.metrics.aa_control import Control, decide_control
from conformance.metrics.round_looks import ROUND_LOOKS, decide_in_looks, rounds_wanted
from conformance.metrics.rounds import MAX_ROUNDS, MIN_ROUNDS, interleaved_halves
from conformance.metrics.throughput import BOUND_PCT, decide_throughput

# A run over the full set has 23 whole shards before it makes a round of its own.
FULL_SET_LOOK = 24
Rule = Callable[[Sequence[float]], Status]


def rounds_and_answer(rates: Sequence[float], first_look: int = MIN_ROUNDS) -> tuple[int, Status]:
    """Decide as the suite does: a run goes on as long as it wants more rounds, then all count."""
    count = 0
    while (wanted := rounds_wanted(rates[:count], 100.0, first_look=first_look)) > count:
        count = wanted
    return count, decide_in_looks(rates[:count], 100.0, first_look=first_look).status


def in_looks(rates: Sequence[float]) -> Status:
    """Decide as a run does that has no rounds before it makes some."""
    return rounds_and_answer(rates)[1]


def over_the_full_set(rates: Sequence[float]) -> Status:
    """Decide as a run over the full set does, which looks first at its 24 rounds."""
    return rounds_and_answer(rates, FULL_SET_LOOK)[1]


def strict_control(rates: Sequence[float]) -> Status:
    """Decide once at 30 rounds, and only when the control's interval lies inside ±1 %."""
    if decide_control(*interleaved_halves(rates)).control is not Control.SAME:
        return Status.INCONCLUSIVE
    return decide_throughput(rates, 100.0).status


def every_round(rates: Sequence[float]) -> Status:
    """Decide after every round from 5 on with the whole error each time: what not to do."""
    for count in range(MIN_ROUNDS, len(rates) + 1):
        status = decide_throughput(rates[:count], 100.0).status
        if status is not Status.INCONCLUSIVE:
            return status
    return Status.INCONCLUSIVE


def constant_limit(rates: Sequence[float]) -> Status:
    """Compare one number to 95 % of the figure."""
    return Status.PASS if rates[0] >= BOUND_PCT else Status.FAIL


def chances(rule: Rule, slowdown_pct: float, spread_pct: float, *, runs: int = 300) -> Chances:
    """Return the chances of a rule on independent normal rounds, by simulation."""
    answers = [rule(run) for run in _rounds(slowdown_pct, spread_pct, 0.0, runs).tolist()]
    return Chances(answers.count(Status.PASS) / runs, answers.count(Status.FAIL) / runs)


def chances_by_look(
    slowdown_pct: float, spread_pct: float, correlation: float, *, runs: int
) -> dict[int, Chances]:
    """Return the chances of having decided by each look, where neighbouring rounds are alike.

    Args:
        slowdown_pct: True slowdown.
        spread_pct: Standard deviation of a round.
        correlation: Of each round with the next one; it fades by this factor from one to the next.
        runs: Simulated runs.
    """
    rounds = _rounds(slowdown_pct, spread_pct, correlation, runs)
    answers = [rounds_and_answer(run) for run in rounds.tolist()]
    return {
        look: Chances(
            *(
                sum(count <= look and said is status for count, said in answers) / runs
                for status in (Status.PASS, Status.FAIL)
            )
        )
        for look in ROUND_LOOKS
    }


def _rounds(
    slowdown_pct: float, spread_pct: float, correlation: float, runs: int
) -> NDArray[np.float64]:
    """Return rounds of simulated runs, each of which remembers something of the one before."""
    random = np.random.default_rng(int(1000 * slowdown_pct + 10 * spread_pct))
    noise = random.normal(size=(runs, MAX_ROUNDS))
    fresh = math.sqrt(1 - correlation**2)
    for number in range(1, MAX_ROUNDS):
        noise[:, number] = correlation * noise[:, number - 1] + fresh * noise[:, number]
    return np.asarray((100 - slowdown_pct) * (1 + spread_pct / 100 * noise), np.float64)
