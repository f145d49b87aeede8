"""What must hold of a checkpoint and of the model exported from it, as checks."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from conformance.artifacts import file_sha256
from conformance.check import Check, Status, equal
from conformance.export.attributes import Trace, attribute_differences
from conformance.export.checkpoint import Checkpoint
from conformance.export.onnx_model import (
    BATCH_AXIS,
    OnnxFacts,
    TensorFacts,
    export_onnx,
    read_weights,
    validity_problem,
    weight_differences,
)
from conformance.export.safe_load import load_tensors
from conformance.spec import ModelSpec

if TYPE_CHECKING:
    import torch

SHOWN_DIFFERENCES = 8


def checkpoint_check(checkpoint: Checkpoint, network: torch.nn.Module) -> Check:
    """Every tensor of the network is bit-equal to the one in the weights file."""
    import torch

    stored = load_tensors(checkpoint.path)
    differ = [
        name
        for name, tensor in network.state_dict().items()
        if name in stored and not torch.equal(tensor, stored[name])
    ]
    made = _none_of("checkpoint.loads", differ, unit="tensors differ", source=checkpoint.origin)
    return structs.replace(made, classes={"weights": checkpoint.weights_class})


def valid_check(path: Path) -> Check:
    """ONNX's own checker and its shape inference accept the file."""
    problem = validity_problem(path)
    return equal(
        "export.valid",
        "refused" if problem else "valid",
        "valid",
        source="onnx.checker with shape inference",
        detail=problem,
    )


def opset_check(facts: OnnxFacts, spec: ModelSpec) -> Check:
    """The file has one operator set, in the version that ATC takes."""
    return equal(
        "export.opset",
        ", ".join(f"{domain} {version}" for domain, version in facts.opsets),
        f"ai.onnx {spec.export.opset}",
        source=spec.export.source,
        hint="ATC refuses a newer opset with E16002 and a second domain with E16005; "
        "see which exporter wrote the file",
    )


def interface_checks(facts: OnnxFacts, spec: ModelSpec) -> list[Check]:
    """Names, types and shapes of input and output; the batch is dynamic, the size is not."""
    given = TensorFacts(spec.export.input, "float", (BATCH_AXIS, *spec.input_shape))
    scores = TensorFacts(spec.export.output, "float", (BATCH_AXIS, spec.export.classes))
    return [
        equal("export.input", _listed(facts.inputs), str(given), source=spec.export.source),
        equal("export.output", _listed(facts.outputs), str(scores), source=spec.export.source),
    ]


def operators_check(facts: OnnxFacts, spec: ModelSpec) -> Check:
    """The graph uses only operators that ATC's parser is known to take for this model."""
    unknown = [name for name in facts.operators if name not in spec.export.operators]
    return _none_of(
        "export.operators",
        unknown,
        unit="unknown operators",
        source=f"export.operators of {spec.name}.toml: {', '.join(spec.export.operators)}",
        hint="if ATC takes the operator, add it to the spec with the source of that knowledge",
    )


def weights_check(path: Path, network: torch.nn.Module, trace: Trace) -> Check:
    """Every weight that inference reads is in the file, bit-equal, and no other is."""
    differ = weight_differences(read_weights(path), network.state_dict(), trace.weights_read)
    return _none_of("export.weights", differ, unit="tensors differ", source="the checkpoint")


def attributes_check(path: Path, trace: Trace) -> Check:
    """Kernel, stride, pads, dilation, group and the like are those of PyTorch's own calls."""
    return _none_of(
        "export.attributes",
        attribute_differences(path, trace),
        unit="attributes differ",
        source="the calls that PyTorch makes",
        hint="some of these are numerically silent at one input size; correct the export",
    )


def reproducible_check(path: Path, network: torch.nn.Module, spec: ModelSpec) -> Check:
    """A second export gives the same bytes."""
    with tempfile.TemporaryDirectory() as folder:
        again = Path(folder) / path.name
        export_onnx(network, spec, again)
        made = equal("export.reproducible", file_sha256(again), file_sha256(path), unit="sha256")
    if made.status is Status.PASS:
        return made
    return structs.replace(
        made,
        detail="two exports of one network differ",
        hint="does the exporter write a date, a path or random names into the file?",
    )


def _none_of(
    check_id: str, problems: Iterable[str], *, unit: str, source: str, hint: str = ""
) -> Check:
    found = list(problems)
    shown = found[:SHOWN_DIFFERENCES]
    if len(found) > len(shown):
        shown.append(f"and {len(found) - len(shown)} more")
    return equal(
        check_id, len(found), 0, unit=unit, source=source, detail="\n".join(shown), hint=hint
    )


def _listed(tensors: tuple[TensorFacts, ...]) -> str:
    return ", ".join(map(str, tensors))
