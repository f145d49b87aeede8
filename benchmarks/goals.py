"""The goals that the decision rules were built for, each with its measured figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks import accuracy_curves as accuracy
from benchmarks import throughput_curves as throughput
from benchmarks.throughput_curves import in_looks, over_the_full_set, strict_control

# Few images make the chances jump from one count to the next, so every count is computed there.
SUBSETS = (*range(200, 2_000), *(round(2_000 * 1.02**step) for step in range(117)))
# Shares of discordant images at which a loss of one point is possible, close where it matters.
DISCORDANT = (
    *(0.01, 0.0105, 0.011, 0.012, 0.013, 0.015, 0.0165, 0.018, 0.02, 0.022, 0.025, 0.03),
    *(0.035, 0.04, 0.05, 0.06, 0.08, 0.1, 0.2, 0.3),
)
SPREADS_PCT = (0.3, 1.0, 2.0)
UNTUNED_SLOWDOWN_PCT = 100 * (1 - 9414.68 / 10022.44)
RUNS = 2_000
RUNS_ALIKE = 4_000
CORRELATIONS = (0.0, 0.3, 0.6)


@dataclass(frozen=True)
class Goal:
    """One goal: a probability in percent that must stay below or reach a bound."""

    text: str
    measured_pct: float
    bound_pct: float
    at_least: bool

    @property
    def reached(self) -> bool:
        """Whether the measured probability is on the right side."""
        if self.at_least:
            return self.measured_pct >= self.bound_pct
        return self.measured_pct <= self.bound_pct

    def row(self) -> str:
        """Render the goal as a row of a Markdown table."""
        sign = "≥" if self.at_least else "≤"
        verdict = "reached" if self.reached else "**missed**"
        return (
            f"| {self.text} | {sign} {self.bound_pct:g} % | {self.measured_pct:.2f} % | {verdict} |"
        )


def _at_most(text: str, chance: float, bound_pct: float) -> Goal:
    return Goal(text, 100 * chance, bound_pct, at_least=False)


def _at_least(text: str, chance: float, bound_pct: float) -> Goal:
    return Goal(text, 100 * chance, bound_pct, at_least=True)


def accuracy_goals(counts: Sequence[int] = SUBSETS) -> Iterator[Goal]:
    """Yield the goals of paired accuracy, at 3 % discordant images unless they say otherwise.

    Args:
        counts: Numbers of images whose worst is taken on the bound.
    """
    on_bound = {images: accuracy.paired(images, 0.01, 0.03) for images in counts}
    passes = max(on_bound, key=lambda images: on_bound[images].passes)
    fails = max(on_bound, key=lambda images: on_bound[images].fails)
    where = f"worst of {len(on_bound):,} counts from {min(on_bound)} to {max(on_bound):,}"
    yield _at_most(
        f"loss of exactly 1 point PASSes, {where}: {passes:,} images", on_bound[passes].passes, 1
    )
    yield _at_most(
        f"loss of exactly 1 point FAILs, {where}: {fails:,} images", on_bound[fails].fails, 2
    )
    yield _at_least(
        "no loss PASSes with 5,000 images", accuracy.paired(5_000, 0.0, 0.03).passes, 90
    )
    yield _at_least(
        "no loss PASSes with 2,000 images, 1 % discordant",
        accuracy.paired(2_000, 0.0, 0.01).passes,
        85,
    )
    yield _at_most(
        "loss of 2 points PASSes with 2,000 images", accuracy.paired(2_000, 0.02, 0.03).passes, 1
    )
    yield _at_least(
        "loss of 2 points FAILs with 5,000 images", accuracy.paired(5_000, 0.02, 0.03).fails, 95
    )


def exact_look_goals() -> Iterator[Goal]:
    """Yield what a run that looks at 500, 1,000, 2,000, 5,000 and 10,000 images does at most."""
    worst = [accuracy.summed_over_looks(0.01, share) for share in DISCORDANT]
    yield _at_most(
        "exact sum over five looks, worst of 1 to 30 % discordant: loss of exactly 1 point PASSes",
        max(chance.passes for chance in worst),
        1,
    )
    yield _at_most(
        "exact sum over five looks, worst of 1 to 30 % discordant: loss of exactly 1 point FAILs",
        max(chance.fails for chance in worst),
        2,
    )


def look_goals() -> Iterator[Goal]:
    """Yield the goals of such a run by simulation."""
    on_bound = accuracy.in_looks(0.01, 0.03)[10_000]
    yield _at_most("five looks: loss of exactly 1 point ever PASSes", on_bound.passes, 1)
    yield _at_most("five looks: loss of exactly 1 point ever FAILs", on_bound.fails, 2)
    without = accuracy.in_looks(0.0, 0.03)
    yield _at_least("five looks: no loss PASSes by 5,000 images", without[5_000].passes, 90)
    yield _at_least("five looks: no loss PASSes by 10,000 images", without[10_000].passes, 90)
    loss = accuracy.in_looks(0.02, 0.03)
    yield _at_least("five looks: loss of 2 points FAILs by 5,000 images", loss[5_000].fails, 95)
    yield _at_least("five looks: loss of 2 points FAILs by 10,000 images", loss[10_000].fails, 95)


def throughput_goals() -> Iterator[Goal]:
    """Yield the goals of calibrated throughput with its control."""
    for spread in SPREADS_PCT:
        slow = throughput.chances(in_looks, 8.0, spread, runs=RUNS)
        yield _at_least(f"8 % slowdown is found at {spread:g} % spread", slow.fails, 95)
    for spread in SPREADS_PCT:
        untuned = throughput.chances(in_looks, UNTUNED_SLOWDOWN_PCT, spread, runs=RUNS)
        yield _at_most(
            f"untuned batch 16 (93.94 %) PASSes at {spread:g} % spread", untuned.passes, 1
        )
    for spread in SPREADS_PCT:
        clean = throughput.chances(in_looks, 0.0, spread, runs=20)
        yield _at_most(f"20 clean runs FAIL at {spread:g} % spread", clean.fails, 0)


def full_set_goals() -> Iterator[Goal]:
    """Yield the same goals for a run over 50,000 images: all of its 24 rounds count."""
    for spread in SPREADS_PCT:
        slow = throughput.chances(over_the_full_set, 8.0, spread, runs=RUNS)
        yield _at_least(f"24 rounds at once: 8 % slowdown is found at {spread:g} %", slow.fails, 95)
    for spread in SPREADS_PCT:
        on_bound = throughput.chances(over_the_full_set, 5.0, spread, runs=RUNS)
        wrong = max(on_bound.passes, on_bound.fails)
        yield _at_most(f"24 rounds at once: on the bound PASS or FAIL at {spread:g} %", wrong, 1)


def correlation_rows() -> Iterator[str]:
    """Yield a Markdown table of what alike neighbours do to errors and power, by each look."""
    yield "| correlation | spread | by round | on the bound: PASS · FAIL | 8 % slower: FAIL |"
    yield "|---|---|---|---|---|"
    for correlation in CORRELATIONS:
        for spread in SPREADS_PCT:
            on_bound, slow = (
                throughput.chances_by_look(slowdown_pct, spread, correlation, runs=RUNS_ALIKE)
                for slowdown_pct in (5.0, 8.0)
            )
            for look, chance in on_bound.items():
                yield (
                    f"| {correlation:g} | {spread:g} % | {look} | {100 * chance.passes:.1f} · "
                    f"{100 * chance.fails:.1f} % | {100 * slow[look].fails:.0f} % |"
                )


def strict_control_goals() -> Iterator[Goal]:
    """Yield what is left when a control must lie inside ±1 % for any decision at all."""
    for spread in SPREADS_PCT:
        slow = throughput.chances(strict_control, 8.0, spread, runs=RUNS)
        yield _at_least(
            f"strict control: 8 % slowdown is found at {spread:g} % spread", slow.fails, 95
        )
