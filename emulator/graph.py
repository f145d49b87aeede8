"""What ATC reads from an ONNX model: its inputs, its opset, its work; and the bound batch."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from onnx import (
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    helper,
    shape_inference,
)

from emulator.om import TensorSpec

NUMPY_NAMES: dict[int, str] = {
    TensorProto.FLOAT: "float32",
    TensorProto.UINT8: "uint8",
    TensorProto.INT32: "int32",
    TensorProto.INT64: "int64",
}


def fed_inputs(graph: GraphProto) -> list[ValueInfoProto]:
    """The inputs that a tool must feed: those without an initial value."""
    constants = {tensor.name for tensor in graph.initializer}
    return [row for row in graph.input if row.name not in constants]


def dimensions(row: ValueInfoProto) -> list[int]:
    """A value's shape; -1 where the model leaves it open."""
    dims = row.type.tensor_type.shape.dim
    return [dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims]


def bind_shapes(model: ModelProto, shapes: dict[str, list[int]]) -> ModelProto:
    """Give the inputs fixed shapes and infer all others.

    Raises:
        onnx.shape_inference.InferenceError: the operators do not fit together in these shapes.
    """
    bound = ModelProto()
    bound.CopyFrom(model)
    del bound.graph.value_info[:]
    for row in fed_inputs(bound.graph):
        kind = row.type.tensor_type.elem_type
        row.CopyFrom(helper.make_tensor_value_info(row.name, kind, shapes[row.name]))
    for row in bound.graph.output:
        row.type.tensor_type.ClearField("shape")
    return shape_inference.infer_shapes(bound, strict_mode=True, data_prop=True)


def tensor_specs(rows: list[ValueInfoProto]) -> tuple[TensorSpec, ...]:
    """Names, shapes and types of inputs or outputs whose shapes are known."""
    return tuple(
        TensorSpec(row.name, tuple(dimensions(row)), NUMPY_NAMES[row.type.tensor_type.elem_type])
        for row in rows
    )


def count_macs(graph: GraphProto) -> int:
    """Multiply-accumulate operations of convolutions and matrix products, the batch included."""
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for row in [*graph.input, *graph.value_info, *graph.output]:
        shapes.setdefault(row.name, dimensions(row))
    return sum(_node_macs(graph, shapes))


def _node_macs(graph: GraphProto, shapes: dict[str, list[int]]) -> Iterator[int]:
    for node in graph.node:
        if node.op_type not in {"Conv", "Gemm", "MatMul"}:
            continue
        result, weights = shapes.get(node.output[0]), shapes.get(node.input[1])
        if result and weights:
            yield prod(result) * _terms(node, weights)


def _terms(node: NodeProto, weights: list[int]) -> int:
    """How many products are added up for one value of the result."""
    if node.op_type == "Conv":
        return prod(weights[1:])
    if node.op_type == "Gemm" and any(row.name == "transB" and row.i for row in node.attribute):
        return weights[1]
    return weights[-2]
