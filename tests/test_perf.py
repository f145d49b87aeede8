"""Throughput: is the card as fast as published, by the published method?"""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.float16 import AllowedError
from conformance.measure_om import OmMeasurement, OmMeasurer
from conformance.metrics import round_checks, throughput_checks
from conformance.om_key import OmKey
from conformance.runners.om_facts import OmFacts
from conformance.spec import ModelSpec
from conformance.time_om import OmTimer
from fixtures.board import UsedChip
from fixtures.claims import Claim
from fixtures.options import Run

pytestmark = pytest.mark.npu


@pytest.mark.states(
    "throughput.card",
    "throughput.chip",
    "throughput.possible",
    "throughput.spread",
    "throughput.aa",
)
@pytest.mark.usefixtures("om_model", "dataset")
def test_card_is_as_fast_as_published(
    om_timer: OmTimer,
    earlier_rates: list[float],
    spec: ModelSpec,
    om_key: OmKey,
    chip: UsedChip,
    run: Run,
    claim: Claim,
) -> None:
    """Throughput of the chip times the chips of the published card reaches its bound."""
    facts = om_timer.timed_run(spec, om_key, chip.soc)
    claim(*throughput_checks.card_checks(
        facts, spec, om_key, chip.soc,
        profiling=run.config.profiling, earlier_fps=earlier_rates,
    ))  # fmt: skip


@pytest.mark.states("throughput.outputs")
def test_timed_outputs_are_the_accuracy_runs(
    om_timing: OmFacts, allowed: AllowedError, chip: UsedChip, claim: Claim
) -> None:
    """Outputs of the timed rounds agree with those whose accuracy is judged."""
    claim(round_checks.outputs_check(
        om_timing, chip.soc, allowed.epsilon, allowed.source
    ))  # fmt: skip


@pytest.mark.states("throughput.regression")
@pytest.mark.usefixtures("om_measurement")
def test_model_is_as_fast_as_the_one_it_replaces(
    om_timer: OmTimer,
    baseline_om: Path,
    spec: ModelSpec,
    om_key: OmKey,
    chip: UsedChip,
    allowed: AllowedError,
    earlier_rates: list[float],
    claim: Claim,
) -> None:
    """Rounds of the model and of the accepted one, taken in turn, are about as fast."""
    found = om_timer.regression(spec, om_key, chip.soc, baseline_om)
    claim(round_checks.regression_check(
        found, spec, chip.soc, baseline_om.name, allowed.epsilon, earlier_rates
    ))  # fmt: skip


@pytest.mark.states("throughput.pure")
def test_nobody_else_used_the_chip(
    om_measurer: OmMeasurer,
    om_measurement: OmMeasurement,
    spec: ModelSpec,
    om_key: OmKey,
    claim: Claim,
) -> None:
    """Photographs run about as fast as generated input; a gap says that the chip was shared."""
    pure = om_measurer.pure_run(spec, om_key, om_measurement.facts.tool)
    claim(throughput_checks.pure_check(om_measurement.facts, pure))
