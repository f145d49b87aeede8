"""How often each throughput rule passes, fails or cannot say, against the true slowdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.accuracy_curves import Chances
from conformance.check import Status
from conformance.metrics.aa_control import Control, decide_control
from conformance.metrics.rounds import MAX_ROUNDS, MIN_ROUNDS, interleaved_halves
from conformance.metrics.throughput import BOUND_PCT, decide_in_looks, decide_throughput

Rule = Callable[[Sequence[float]], Status]


def in_looks(rates: Sequence[float]) -> Status:
    """Decide as the suite does: looks that share the error, each with its own control."""
    return decide_in_looks(rates, 100.0).status


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
    random = np.random.default_rng(int(1000 * slowdown_pct + 10 * spread_pct))
    share = 100 - slowdown_pct
    rounds = share * (1 + spread_pct / 100 * random.normal(size=(runs, MAX_ROUNDS)))
    answers = [rule(run) for run in rounds.tolist()]
    return Chances(answers.count(Status.PASS) / runs, answers.count(Status.FAIL) / runs)
