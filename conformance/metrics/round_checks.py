"""What the rounds of a timed run say about the measurement itself, as checks."""

from __future__ import annotations

from conformance.check import Check, SkipReason, recorded, skipped
from conformance.metrics.rounds import steadiness
from conformance.runners.om_facts import OmFacts

# Two rounds have a difference, and three a spread.
LEAST_ROUNDS = 3


def spread_check(facts: OmFacts, soc: str) -> Check:
    """Record how far the rounds lie apart: standard deviation in percent of their mean.

    Args:
        facts: What was measured.
        soc: ATC's name of the chip.
    """
    place: dict[str, str | int] = {"soc": soc, "tool": facts.tool, "method": facts.method}
    count = len(facts.rates_fps)
    if count < LEAST_ROUNDS:
        what = f"{count} rounds have no spread, {LEAST_ROUNDS} have"
        return skipped("throughput.spread", SkipReason.NOT_STATED, what, **place)
    found = steadiness(facts.rates_fps)
    return recorded(
        "throughput.spread",
        found.spread_pct,
        unit="%",
        detail=f"{count} rounds, correlation of each with the next {found.autocorrelation:+.2f}, "
        f"drift from first to last {found.drift_pct:+.2f} %",
        coordinates=place,
    )
