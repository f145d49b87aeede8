"""Rounds that are made until they can decide: when a run looks, and what each look may spend."""

from __future__ import annotations

from collections.abc import Sequence

from conformance.bounds import suite_bound
from conformance.check import Status
from conformance.metrics.aa_control import decide_control
from conformance.metrics.rounds import MAX_ROUNDS, MIN_ROUNDS, interleaved_halves, require_rates
from conformance.metrics.throughput import (
    ALPHA_SIDE,
    BOUND_PCT,
    ThroughputDecision,
    decide_throughput,
)

ROUND_LOOKS = tuple(int(suite_bound(f"throughput.look_{number}")) for number in (1, 2, 3, 4))
SPENDING_POWER = suite_bound("throughput.spending_power")


def first_look_after(rounds_before: int) -> int:
    """Return the first look of a run that has rounds before it makes one; it makes one at least."""
    return max(MIN_ROUNDS, rounds_before + 1)


def looks_from(first: int) -> tuple[int, ...]:
    """Return the numbers of rounds at which a run looks whose first look is at ``first``.

    A run over a large dataset has rounds before anything could be decided; they all count in its
    first look, which is fixed by the number of images alone.
    """
    return (first, *(look for look in ROUND_LOOKS if look > first))


def look_error(rounds: int, first_look: int = MIN_ROUNDS, alpha_side: float = ALPHA_SIDE) -> float:
    """Return the error that a look at these rounds may spend on each side.

    What may be spent by a number of rounds grows with its power 1.5 and is whole at 30, so that
    early looks, at which likeness of the rounds shows least, spend least. A look has what is left
    over from the one before. Source: error spending, Kim and DeMets, Biometrika 74 (1987) 149.

    Args:
        rounds: The rounds there are, also at a number that was not planned.
        first_look: The run's first look.
        alpha_side: Error of all looks together.
    """
    before = max((look for look in looks_from(first_look) if look < rounds), default=0)
    return alpha_side * (_spent(rounds) - _spent(before))


def _spent(rounds: int) -> float:
    return float(min(1.0, rounds / MAX_ROUNDS) ** SPENDING_POWER)


def decide_in_looks(
    rates_fps: Sequence[float],
    published_fps: float,
    *,
    first_look: int = MIN_ROUNDS,
    bound_pct: float = BOUND_PCT,
    disturbances: Sequence[str] = (),
) -> ThroughputDecision:
    """Decide a run that measures on until it can say, by every round there is.

    None is left out: a chip that gets slower after its first rounds must not pass by those. The
    A/A control is made of the same rounds, which all belong to one model, taken as ``ABBA…``.

    Args:
        rates_fps: Rate of each round, of the whole card if the figure is.
        published_fps: The figure, measured by the same method.
        first_look: Rounds that the run had to have before it could decide.
        bound_pct: Least share of the figure.
        disturbances: Why this run cannot count: a busy, hot or unhealthy chip.

    Raises:
        ToolError: Fewer than five rounds, or a rate or figure that is not positive.
    """
    require_rates(rates_fps, MIN_ROUNDS)
    return decide_throughput(
        rates_fps,
        published_fps,
        bound_pct=bound_pct,
        alpha_side=look_error(len(rates_fps), first_look),
        control=decide_control(*interleaved_halves(rates_fps)),
        disturbances=disturbances,
        later={
            look: look_error(look, first_look)
            for look in looks_from(first_look)
            if look > len(rates_fps)
        },
    )


def rounds_wanted(
    rates_fps: Sequence[float],
    published_fps: float | None,
    *,
    first_look: int = MIN_ROUNDS,
    bound_pct: float = BOUND_PCT,
) -> int:
    """Return how many rounds a run needs that goes on until it can say: no more than it has to.

    Args:
        rates_fps: Rate of each round so far.
        published_fps: The figure that decides; None where the rate is only recorded.
        first_look: Rounds that it must have before it may decide.
        bound_pct: Least share of the figure.

    Raises:
        ToolError: A rate or figure that is not positive.
    """
    count, looks = len(rates_fps), looks_from(first_look)
    if count < first_look or published_fps is None:
        return first_look
    coming = [look for look in looks if look >= count]
    if not coming or count < coming[0]:
        return coming[0] if coming else count
    decision = decide_in_looks(rates_fps, published_fps, first_look=first_look, bound_pct=bound_pct)
    if decision.status is not Status.INCONCLUSIVE or len(coming) == 1:
        return count
    return coming[1]
