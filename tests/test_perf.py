"""Throughput: is the card as fast as published, by the published method?"""

from __future__ import annotations

import pytest

from conformance.measure_om import OmMeasurement, OmMeasurer
from conformance.metrics import throughput_checks
from conformance.om_key import OmKey
from conformance.spec import ModelSpec
from fixtures.board import UsedChip
from fixtures.claims import Claim
from fixtures.options import Run

pytestmark = pytest.mark.npu


@pytest.mark.states("throughput.card", "throughput.chip", "throughput.spread")
@pytest.mark.usefixtures("om_model", "dataset")
def test_card_is_as_fast_as_published(
    om_measurer: OmMeasurer, spec: ModelSpec, om_key: OmKey, chip: UsedChip, run: Run, claim: Claim
) -> None:
    """Throughput of the chip times the chips of the published card reaches its bound."""
    facts = om_measurer.timed_run(spec, om_key, chip.soc)
    claim(*throughput_checks.card_checks(
        facts, spec, om_key, chip.soc, run.config.profiling
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
