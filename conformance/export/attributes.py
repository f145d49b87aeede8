"""Compare the attributes of ONNX nodes with what PyTorch computes, operator by operator.

Kernel, stride, pads, dilation, group, ceil_mode and the like are taken from the calls that
PyTorch makes while it runs, so that functional calls count as much as modules. Some mistakes in
them are numerically silent at one input size; here they are not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conformance.export.onnx_model import load_onnx

if TYPE_CHECKING:
    import onnx
    import torch

Attributes = dict[str, Any]

# What ONNX assumes where an attribute is not written (ONNX operator reference, opset 11).
ONNX_DEFAULTS: Mapping[str, Attributes] = {
    "Conv": {"auto_pad": "NOTSET", "group": 1, "pads": [0] * 4, "strides": [1, 1],
             "dilations": [1, 1]},
    "MaxPool": {"auto_pad": "NOTSET", "pads": [0] * 4, "strides": [1, 1], "dilations": [1, 1],
                "ceil_mode": 0, "storage_order": 0},
    "AveragePool": {"auto_pad": "NOTSET", "pads": [0] * 4, "strides": [1, 1], "ceil_mode": 0,
                    "count_include_pad": 0},
    "BatchNormalization": {"epsilon": 1e-5},
    "Gemm": {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0},
}  # fmt: skip
# Attributes that inference does not use.
UNUSED = {"momentum"}


@dataclass(frozen=True)
class Operator:
    """One operator: its attributes and the names of the weights it reads."""

    kind: str
    weights: tuple[str, ...]
    attributes: Attributes


@dataclass
class Trace:
    """What PyTorch did for one image: operators by ONNX kind, in order, and weights it read."""

    operators: dict[str, list[Operator]] = field(default_factory=lambda: defaultdict(list))
    weights_read: set[str] = field(default_factory=set)


def attribute_differences(path: Path, trace: Trace) -> Iterator[str]:
    """Yield one line for each attribute that differs between an ONNX file and PyTorch."""
    written = onnx_operators(path)
    # The exporter merges a concatenation into the one that follows, so only axes can be compared.
    axes, expected_axes = _axes(written["Concat"]), _axes(trace.operators["Concat"])
    if axes != expected_axes:
        yield f"Concat: axes {axes}, expected {expected_axes}"
    for kind in ONNX_DEFAULTS:
        ours, theirs = written[kind], trace.operators[kind]
        if len(ours) != len(theirs):
            yield f"{kind}: {len(ours)} nodes, PyTorch calls it {len(theirs)} times"
        for number, (got, expected) in enumerate(zip(ours, theirs, strict=False)):
            name = got.weights[0].rpartition(".")[0] if got.weights else f"number {number}"
            yield from (f"{kind} {name}: {text}" for text in _differences(got, expected))


def _axes(concatenations: list[Operator]) -> list[int]:
    return sorted({node.attributes["axis"] for node in concatenations})


def _differences(got: Operator, expected: Operator) -> Iterator[str]:
    if got.weights != expected.weights:
        yield f"reads {got.weights}, expected {expected.weights}"
    for name in sorted(got.attributes.keys() | expected.attributes.keys()):
        ours, theirs = got.attributes.get(name), expected.attributes.get(name)
        if ours != theirs:
            yield f"{name} = {ours}, expected {theirs}"


def onnx_operators(path: Path) -> dict[str, list[Operator]]:
    """Return the operators of an ONNX file by kind, in the order of the graph."""
    graph = load_onnx(path).graph
    weights = {tensor.name for tensor in graph.initializer}
    weights |= {node.output[0] for node in graph.node if node.op_type == "Identity"}
    # A dynamic batch makes some exports compute shapes; PyTorch has no operator for that.
    shapes = {node.input[1] for node in graph.node if node.op_type == "Reshape"}
    found: dict[str, list[Operator]] = defaultdict(list)
    for node in graph.node:
        if not shapes.intersection(node.output):
            reads = tuple(name for name in node.input if name in weights)
            found[node.op_type].append(Operator(node.op_type, reads, _attributes(node)))
    return found


def _attributes(node: onnx.NodeProto) -> Attributes:
    import onnx

    written = {a.name: _plain(onnx.helper.get_attribute_value(a)) for a in node.attribute}
    complete = {**ONNX_DEFAULTS.get(node.op_type, {}), **written}
    return {name: value for name, value in complete.items() if name not in UNUSED}


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.decode()
    # ONNX stores float32; a Python float of the same literal must compare equal.
    return float(f"{value:.7g}") if isinstance(value, float) else value


def trace_network(network: torch.nn.Module, input_shape: tuple[int, ...]) -> Trace:
    """Run a network in evaluation mode on one black image and return what it did.

    Args:
        network: The network.
        input_shape: Shape of one input, without the batch: channels, height, width.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    names = {tensor.data_ptr(): name for name, tensor in network.state_dict().items()}
    trace = Trace()

    class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call] # its base is not typed
        def __torch_dispatch__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            call = _arguments(function, args, kwargs or {})
            read = [names.get(v.data_ptr()) for v in call.values() if isinstance(v, torch.Tensor)]
            trace.weights_read.update(name for name in read if name)
            if translate := TRANSLATIONS.get(str(function)):
                kind, tensors, attributes = translate(call)
                weights = tuple(names[t.data_ptr()] for t in tensors if t is not None)
                trace.operators[kind].append(Operator(kind, weights, attributes))
            return function(*args, **(kwargs or {}))

    with torch.no_grad(), Recorder():  # type: ignore[no-untyped-call] # its base is not typed
        network(torch.zeros(1, *input_shape))
    return trace


def _arguments(function: Any, args: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return all arguments of a call by name, defaults included."""
    schema = function._schema.arguments
    given = {argument.name: argument.default_value for argument in schema}
    given |= {argument.name: value for argument, value in zip(schema, args, strict=False)}
    return given | dict(kwargs)


Translated = tuple[str, tuple[Any, ...], Attributes]


def _conv(call: Attributes) -> Translated:
    weight = call["weight"]
    return "Conv", (weight, call["bias"]), {
        **ONNX_DEFAULTS["Conv"],
        "kernel_shape": list(weight.shape[2:]),
        "strides": list(call["stride"]),
        "pads": list(call["padding"]) * 2,
        "dilations": list(call["dilation"]),
        "group": call["groups"],
    }  # fmt: skip


def _window(call: Attributes) -> Attributes:
    return {
        "kernel_shape": list(call["kernel_size"]),
        "strides": list(call["stride"] or call["kernel_size"]),
        "pads": list(call["padding"]) * 2,
        "ceil_mode": int(call["ceil_mode"]),
    }


def _max_pool(call: Attributes) -> Translated:
    window = _window(call) | {"dilations": list(call["dilation"])}
    return "MaxPool", (), ONNX_DEFAULTS["MaxPool"] | window


def _average_pool(call: Attributes) -> Translated:
    window = _window(call) | {"count_include_pad": int(call["count_include_pad"])}
    return "AveragePool", (), ONNX_DEFAULTS["AveragePool"] | window


def _adaptive_pool(call: Attributes) -> Translated:
    (height, width), (rows, columns) = call["self"].shape[2:], call["output_size"]
    kernel = [height // rows, width // columns]
    window = {"kernel_shape": kernel, "strides": kernel}
    return "AveragePool", (), ONNX_DEFAULTS["AveragePool"] | window


def _batch_norm(call: Attributes) -> Translated:
    tensors = tuple(call[name] for name in ("weight", "bias", "running_mean", "running_var"))
    return "BatchNormalization", tensors, {"epsilon": float(f"{call['eps']:.7g}")}


def _linear(call: Attributes) -> Translated:
    scales = {"alpha": float(call["alpha"]), "beta": float(call["beta"]), "transB": 1}
    return "Gemm", (call["mat2"], call["self"]), ONNX_DEFAULTS["Gemm"] | scales


def _concat(call: Attributes) -> Translated:
    return "Concat", (), {"axis": call["dim"] % call["tensors"][0].dim()}


TRANSLATIONS: Mapping[str, Callable[[Attributes], Translated]] = {
    "aten.convolution.default": _conv,
    "aten.max_pool2d_with_indices.default": _max_pool,
    "aten.avg_pool2d.default": _average_pool,
    "aten._adaptive_avg_pool2d.default": _adaptive_pool,
    "aten.native_batch_norm.default": _batch_norm,
    "aten.addmm.default": _linear,
    "aten.cat.default": _concat,
}
