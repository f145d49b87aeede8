"""What the rounds of a timed run say about the measurement itself, as checks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from conformance.ascend.timed_run import TimedRun
from conformance.bounds import suite_bound
from conformance.check import Check, SkipReason, Status, at_least, equal, recorded, skipped
from conformance.errors import ToolError
from conformance.metrics.aa_control import Control, decide_control
from conformance.metrics.plausibility import require_plausible_rate, require_possible
from conformance.metrics.round_looks import first_look_after, look_error
from conformance.metrics.rounds import interleaved_halves, steadiness
from conformance.metrics.throughput import decide_regression, smallest_change_pct
from conformance.runners.om_facts import OmFacts, Regression
from conformance.spec import ModelSpec

# Two rounds have a difference, and three a spread.
LEAST_ROUNDS = 3
# Fewer halves of two have no spread of their own.
LEAST_HALVES = 4
SHOWN = 5
# As for accepted figures, gates.toml: 1.5 % is what runs of one model differ by at most.
REGRESSION_PCT = suite_bound("throughput.regression_pct")


def method_of(facts: OmFacts, soc: str) -> dict[str, str | int]:
    """Return the coordinates that say how a rate was measured."""
    return {"soc": soc, "tool": facts.tool, "method": facts.method}


def spread_check(facts: OmFacts, soc: str) -> Check:
    """Record how far the rounds lie apart: standard deviation in percent of their mean.

    Args:
        facts: What was measured.
        soc: ATC's name of the chip.
    """
    count = len(facts.rates_fps)
    if count < LEAST_ROUNDS:
        return _too_few("throughput.spread", count, LEAST_ROUNDS, facts, soc)
    found = steadiness(facts.rates_fps)
    change = smallest_change_pct(found, look_error(count, first_look_after(facts.rounds_before)))
    return recorded(
        "throughput.spread",
        found.spread_pct,
        unit="%",
        detail=f"{count} rounds, correlation of each with the next {found.autocorrelation:+.2f}, "
        f"drift from first to last {found.drift_pct:+.2f} %; a change of "
        f"{change:.2f} % is found in 9 of 10 such runs",
        coordinates=method_of(facts, soc),
    )


def control_check(facts: OmFacts, soc: str) -> Check:
    """Record the A/A control: the ratio of two halves of the rounds, interleaved as ``ABBA``.

    Halves that differ make it INCONCLUSIVE, and with it every verdict about the rate.
    """
    count = len(facts.rates_fps)
    if count < LEAST_HALVES:
        return _too_few("throughput.aa", count, LEAST_HALVES, facts, soc)
    decision = decide_control(*interleaved_halves(facts.rates_fps))
    made = recorded(
        "throughput.aa",
        math.sqrt(decision.ratio.lower * decision.ratio.upper),
        unit="ratio",
        detail=decision.explanation,
        coordinates=method_of(facts, soc),
    )
    if decision.control is not Control.DIFFERENT:
        return made
    return msgspec.structs.replace(
        made,
        status=Status.INCONCLUSIVE,
        hint="what changed between the rounds? Measure again on an idle chip",
    )


def _too_few(check_id: str, count: int, least: int, facts: OmFacts, soc: str) -> Check:
    what = f"{count} rounds, {least} are needed"
    return skipped(check_id, SkipReason.NOT_STATED, what, **method_of(facts, soc))


def possible_check(
    facts: OmFacts,
    spec: ModelSpec,
    soc: str,
    earlier_fps: Sequence[float] = (),
    *,
    batch: int = 0,
) -> Check:
    """State that the figures can be true: rates, clocks, counts and file times of every run.

    Args:
        facts: What was measured.
        spec: The model; its tables say what is known of this SoC.
        soc: ATC's name of the chip.
        earlier_fps: Rates of one chip that were accepted for this SoC and batch size before.
        batch: Its batch size, whose figures are the measure; where none is known of it, all are.

    Raises:
        ToolError: Something cannot be, or the rate is higher than anything known makes plausible:
            then there is no figure to record.
    """
    if not facts.runs:
        raise ToolError("no run of the tool is behind the rate", got=f"{facts.fps:g} fps")
    for run in facts.runs:
        require_possible(run)
    known = _known_fps(spec, soc, earlier_fps, batch)
    # Of generated input the rates that decide are cut from a list of times, not those printed.
    require_plausible_rate(max(facts.rates_fps), known)
    require_plausible_rate(max(run.interface_fps for run in facts.runs), known)
    images = sum(run.images for run in facts.runs)
    # A run that nobody accepted may itself be wrong, and would make the next one plausible.
    highest = f"go up to {max(known):.6g}" if known else "are none"
    return equal(
        "throughput.possible",
        0,
        0,
        unit="contradictions",
        detail=f"{len(facts.runs)} runs of {images} images, {facts.fps:.6g} images/s; "
        f"known rates, published or accepted, {highest} of {soc}",
        coordinates=method_of(facts, soc),
    )


def _known_fps(
    spec: ModelSpec, soc: str, earlier_fps: Sequence[float], batch: int = 0
) -> list[float]:
    """Return every rate of one chip that is known of this batch size: published, or accepted.

    Figures of another batch size are up to eight times as high; they stand in where there is none.
    """
    published = [
        (figure.batch, figure.fps / table.chips_per_card)
        for table in spec.throughput
        if table.soc == soc
        for figure in table.figures
    ]
    same = [fps for size, fps in published if size == batch]
    return [*(same or (fps for _, fps in published)), *earlier_fps]


def outputs_check(facts: OmFacts, soc: str, epsilon: float, source: str) -> Check:
    """Compare outputs of timed rounds with the accuracy run's: a fast round must do its work.

    Args:
        facts: What was measured.
        soc: ATC's name of the chip.
        epsilon: Largest allowed difference of a score.
        source: Where it comes from.

    Raises:
        ToolError: No output was compared.
    """
    _require_compared(facts.sampled)
    wrong = _beyond(facts.differences, epsilon)
    largest = max(facts.differences.values(), default=0.0)
    return equal(
        "throughput.outputs",
        len(wrong),
        0,
        unit="images",
        source=f"a score may differ by {epsilon:.3g}: {source}",
        detail=f"{facts.sampled} outputs compared, largest difference {largest:.3g}"
        + (f"; {_not_the_accuracy_runs(wrong)}" if wrong else ""),
        hint="a rate of wrong outputs is no rate: look at the tool's logs" if wrong else "",
        coordinates=method_of(facts, soc),
    )


def _require_compared(sampled: int) -> None:
    if not sampled:
        raise ToolError(
            "no output of a timed round was compared",
            got="0 outputs",
            expected="those of at least one round",
            next_step="measure again",
        )


def _beyond(differences: Mapping[str, float], epsilon: float) -> dict[str, float]:
    return {name: value for name, value in differences.items() if value > epsilon}


def _not_the_accuracy_runs(wrong: Mapping[str, float]) -> str:
    worst = sorted(wrong, key=lambda name: -wrong[name])[:SHOWN]
    named = ", ".join(f"{name} by {wrong[name]:.3g}" for name in worst)
    return f"not those of the accuracy run: {named}{' ...' if len(wrong) > SHOWN else ''}"


def regression_check(
    found: Regression,
    spec: ModelSpec,
    soc: str,
    baseline: str,
    epsilon: float,
    earlier_fps: Sequence[float] = (),
) -> Check:
    """Compare a model with the one that it replaces, timed in turn on one chip.

    FAIL also where the model's own outputs are not those of its accuracy run: such rounds leave
    work out, and their rate is none.

    Args:
        found: Rounds of both.
        spec: The model; its tables say what is known of this SoC.
        soc: ATC's name of the chip.
        baseline: The earlier model's file, for the message.
        epsilon: Largest allowed difference of a score from the accuracy run's.
        earlier_fps: Rates of one chip that were accepted for this SoC before.

    Raises:
        ToolError: What a run claims cannot be or is not plausible, no output was compared, or
            there are fewer than five rounds on a side.
    """
    before, now = (
        _possible_rates(runs, spec, soc, earlier_fps) for runs in (found.before, found.now)
    )
    _require_compared(found.sampled)
    status, interval = decide_regression(before, now, bound_pct=REGRESSION_PCT)
    told = f"between {interval.lower:.2f} and {interval.upper:.2f} % in {len(now)} rounds a side"
    reasons = [found.spoiled, _drift("the earlier model", before), _drift("the model", now)]
    wrong = _beyond(found.differences, epsilon)
    outputs = f"outputs of {len(wrong)} images are {_not_the_accuracy_runs(wrong)}" if wrong else ""
    made = at_least(
        "throughput.regression",
        100 * (sum(now) / len(now)) / (sum(before) / len(before)),
        REGRESSION_PCT,
        unit="%",
        source=f"{baseline}, timed in turn with this model",
        detail="; ".join(filter(None, [told, outputs, *reasons])),
        coordinates={"soc": soc, "tool": found.tool},
    )
    if any(reasons):
        status = Status.INCONCLUSIVE
    return msgspec.structs.replace(made, status=Status.FAIL if wrong else status)


def _possible_rates(
    runs: Sequence[TimedRun], spec: ModelSpec, soc: str, earlier_fps: Sequence[float]
) -> list[float]:
    for run in runs:
        require_possible(run)
    rates = [run.interface_fps for run in runs]
    require_plausible_rate(max(rates, default=0.0), _known_fps(spec, soc, earlier_fps))
    return rates


def _drift(what: str, rates_fps: Sequence[float]) -> str:
    found = steadiness(rates_fps)
    return f"drifting chip under {what}: {found.drift_pct:+.2f} %" if found.drifting else ""
