"""Weights to ONNX: may the exported model be trusted?

The file is judged by what it says about itself, by its weights and attributes bit by bit, and by
what it computes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conformance.build import Builder
from conformance.export import checks
from conformance.metrics.parity import decision_check, finite_check, parity_checks
from conformance.spec import ModelSpec
from fixtures.claims import Claim
from fixtures.parity import Pool

if TYPE_CHECKING:
    import torch

    from conformance.export.attributes import Trace
    from conformance.export.onnx_model import OnnxFacts


@pytest.mark.states("checkpoint.loads")
def test_checkpoint_is_whole(builder: Builder, spec: ModelSpec, claim: Claim) -> None:
    """The weights fit the network: every name, shape and type, and no NaN."""
    claim(checks.checkpoint_check(builder.checkpoint(spec), builder.network(spec)))


@pytest.mark.states("export.valid")
@pytest.mark.usefixtures("network")
def test_onnx_is_valid(builder: Builder, spec: ModelSpec, claim: Claim) -> None:
    """The checkpoint exports to a file that ONNX's own checker accepts."""
    claim(checks.valid_check(builder.onnx_model(spec)))


@pytest.mark.states("export.opset")
def test_opset_is_what_atc_takes(onnx_facts: OnnxFacts, spec: ModelSpec, claim: Claim) -> None:
    """The file has one opset domain, in the version that was asked for."""
    claim(checks.opset_check(onnx_facts, spec))


@pytest.mark.states("export.input", "export.output")
def test_only_the_batch_is_dynamic(onnx_facts: OnnxFacts, spec: ModelSpec, claim: Claim) -> None:
    """Input and output have the names, types and shapes that ATC is told."""
    claim(*checks.interface_checks(onnx_facts, spec))


@pytest.mark.states("export.operators")
def test_operators_are_known_to_atc(onnx_facts: OnnxFacts, spec: ModelSpec, claim: Claim) -> None:
    """No operator that ATC's parser is not known to take."""
    claim(checks.operators_check(onnx_facts, spec))


@pytest.mark.states("export.weights")
def test_weights_are_bit_equal(
    onnx_model: Path, network: torch.nn.Module, trace: Trace, claim: Claim
) -> None:
    """Every weight in the file is the checkpoint's, to the last bit."""
    claim(checks.weights_check(onnx_model, network, trace))


@pytest.mark.states("export.attributes")
def test_attributes_are_pytorchs(onnx_model: Path, trace: Trace, claim: Claim) -> None:
    """Every node is configured as PyTorch runs it."""
    claim(checks.attributes_check(onnx_model, trace))


@pytest.mark.states("export.reproducible")
@pytest.mark.usefixtures("heavy_step")
def test_export_is_reproducible(
    onnx_model: Path, network: torch.nn.Module, spec: ModelSpec, claim: Claim
) -> None:
    """Two exports give the same bytes."""
    claim(checks.reproducible_check(onnx_model, network, spec))


@pytest.mark.states("export.parity.rms", "export.parity.largest", "export.parity.ratio")
def test_onnxruntime_matches_pytorch(pool: Pool, claim: Claim) -> None:
    """ONNX Runtime is as close to float64 as PyTorch's float32, times a small factor."""
    claim(*parity_checks(pool.parity, "export.parity", pool.scale))


@pytest.mark.states("export.decisions")
def test_decisions_are_pytorchs(pool: Pool, claim: Claim) -> None:
    """The best class differs only where the reference itself hardly prefers it."""
    bound = pool.parity.largest_bound
    claim(decision_check(pool.candidate, pool.reference, bound, "export.decisions", pool.scale))


@pytest.mark.states("export.finite")
def test_outputs_are_finite(pool: Pool, claim: Claim) -> None:
    """No NaN and no infinity, also far outside the range of photographs."""
    claim(finite_check(pool.candidate, "export.finite", pool.scale))
