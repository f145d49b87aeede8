"""Write an ONNX model, and read back what was written."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from conformance.errors import ExportError
from conformance.spec import ModelSpec

if TYPE_CHECKING:
    import onnx
    import torch

BATCH_AXIS = "batch"


@dataclass(frozen=True)
class TensorFacts:
    """Name, element type and shape of a graph's input or output; a named dimension is dynamic."""

    name: str
    element_type: str
    shape: tuple[int | str, ...]

    def __str__(self) -> str:
        return f"{self.name}: {self.element_type} {'x'.join(map(str, self.shape))}"


@dataclass(frozen=True)
class OnnxFacts:
    """What an ONNX file says about itself."""

    opsets: tuple[tuple[str, int], ...]
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    operators: tuple[str, ...]


def export_onnx(network: torch.nn.Module, spec: ModelSpec, target: Path) -> None:
    """Write a float32 network as ONNX: N x 3 x crop x crop in, N x classes out, N dynamic.

    The network must be in evaluation mode.

    Raises:
        ExportError: The exporter refused the network.
    """
    import torch

    image = torch.zeros(1, *spec.input_shape)
    try:
        with warnings.catch_warnings():
            # The exporter announces its successor, which writes opset 18 whatever it is asked for.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                network,
                (image,),
                str(target),
                opset_version=spec.export.opset,
                input_names=[spec.export.input],
                output_names=[spec.export.output],
                dynamic_axes={name: {0: BATCH_AXIS} for name in _tensor_names(spec)},
                dynamo=False,
                # Evaluation mode would fold batch normalisation into the convolutions, and the
                # weights could no longer be compared bit by bit. ATC folds them itself.
                training=torch.onnx.TrainingMode.PRESERVE,
                do_constant_folding=False,
            )
    except (RuntimeError, TypeError, ValueError, torch.onnx.errors.OnnxExporterError) as error:
        raise ExportError(
            "network could not be exported",
            got=error,
            where={"model": spec.name, "opset": spec.export.opset},
            next_step="an operator without a form in this opset needs another opset or network",
        ) from error


def _tensor_names(spec: ModelSpec) -> tuple[str, str]:
    return spec.export.input, spec.export.output


def load_onnx(path: Path) -> onnx.ModelProto:
    """Read an ONNX file; tensors outside the file are not followed.

    Raises:
        ExportError: The file is missing or is not ONNX.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        return onnx.load(path, load_external_data=False)
    except (OSError, DecodeError) as error:
        raise ExportError(
            "ONNX model cannot be read",
            got=error,
            where={"file": path},
            next_step="remove it; the next run exports it again",
        ) from error


def validity_problem(path: Path) -> str:
    """Return what ONNX's own checker and shape inference object to; empty for a valid file."""
    import onnx

    try:
        onnx.checker.check_model(load_onnx(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        return str(error)
    return ""


def read_facts(path: Path) -> OnnxFacts:
    """Return opsets, inputs, outputs and operators of an ONNX file, in the file's order."""
    graph = (model := load_onnx(path)).graph
    weights = {tensor.name for tensor in graph.initializer}
    aliases = set(_aliases(graph))
    return OnnxFacts(
        # Every entry: the default domain has two names, and the last of two is not the only one.
        opsets=tuple(
            sorted((entry.domain or "ai.onnx", entry.version) for entry in model.opset_import)
        ),
        inputs=tuple(_tensor_facts(value) for value in graph.input if value.name not in weights),
        outputs=tuple(_tensor_facts(value) for value in graph.output),
        operators=tuple(
            sorted({node.op_type for node in graph.node if node.output[0] not in aliases})
        ),
    )


def _tensor_facts(value: onnx.ValueInfoProto) -> TensorFacts:
    import onnx

    kind = value.type.tensor_type
    return TensorFacts(
        name=value.name,
        element_type=onnx.TensorProto.DataType.Name(kind.elem_type).lower(),
        shape=tuple(dim.dim_param or dim.dim_value for dim in kind.shape.dim),
    )


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Return every tensor stored in an ONNX file by name, those it shares under each name."""
    import onnx

    graph = load_onnx(path).graph
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for alias, name in _aliases(graph).items():
        stored[alias] = stored[name]
    return stored


def _aliases(graph: onnx.GraphProto) -> dict[str, str]:
    """Map the outputs of Identity nodes on stored tensors to the tensors they repeat.

    The exporter writes equal tensors once and the others as Identity nodes.
    """
    stored = {tensor.name for tensor in graph.initializer}
    found: dict[str, str] = {}
    for node in graph.node:
        if node.op_type == "Identity" and node.input[0] in stored | set(found):
            found[node.output[0]] = found.get(node.input[0], node.input[0])
    return found


def weight_differences(
    stored: Mapping[str, np.ndarray], state: Mapping[str, torch.Tensor], read: Collection[str]
) -> Iterator[str]:
    """Yield one line for each weight that is not bit-equal in ONNX file and checkpoint.

    Args:
        stored: Tensors of the ONNX file.
        state: Tensors of the checkpoint.
        read: Names of those that inference reads (training counters and auxiliary heads are not
            read). Each must be in the file, and the file must hold no other float tensors than
            these (single numbers, such as a clip's limits, apart).
    """
    expected = {name: tensor for name, tensor in state.items() if name in read}
    for name, tensor in expected.items():
        if name not in stored:
            yield f"{name}: missing in the ONNX file"
        elif problem := _bit_difference(stored[name], tensor.numpy()):
            yield f"{name}: {problem}"
    for name, array in stored.items():
        if name not in expected and array.dtype.kind == "f" and array.size > 1:
            yield f"{name}: not in the checkpoint, {array.dtype} {array.shape}"


def _bit_difference(got: np.ndarray, expected: np.ndarray) -> str:
    if (got.dtype, got.shape) != (expected.dtype, expected.shape):
        return f"{got.dtype} {got.shape}, expected {expected.dtype} {expected.shape}"
    if got.tobytes() == expected.tobytes():
        return ""
    # Compared as bytes, so that NaN and the sign of zero count.
    width = got.dtype.itemsize
    differ = (
        np.frombuffer(got.tobytes(), f"V{width}") != np.frombuffer(expected.tobytes(), f"V{width}")
    ).reshape(got.shape)
    largest = float(np.max(np.abs(got - expected)))
    return f"{int(differ.sum())} of {got.size} values differ, by at most {largest:.3g}"
