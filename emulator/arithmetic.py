"""The chip's arithmetic: float16 after every operator, and a tiling of its own per batch size.

ONNX Runtime computes in float32 on a CPU, even for a float16 graph. So the graph is rewritten:
weights and inputs are rounded to float16 and every result passes through a pair of Cast nodes.
A chip adds up in another order for each batch size; a factor of 1 plus some 3e-7 on each output
channel, applied before the rounding, stands for that.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    helper,
    numpy_helper,
    shape_inference,
)

from emulator.om import Aipp

JITTER = 3e-7
CHOOSING_OPERATORS = frozenset(
    {
        "Clip",
        "Concat",
        "Constant",
        "Dropout",
        "Flatten",
        "Gather",
        "Identity",
        "MaxPool",
        "Relu",
        "Reshape",
        "Slice",
        "Split",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)
"""They return values that they were given: what went in as float16 comes out as float16."""


def chip_graph(content: bytes, *, batch: int, seed: int, aipp: Aipp | None = None) -> bytes:
    """Rewrite a model whose batch is bound into what the emulated chip computes.

    Args:
        content: ONNX model.
        batch: Its batch size, which chooses the jitter.
        seed: The board's seed.
        aipp: If given, the first input becomes uint8 N·H·W·3 and is normalised in the graph.

    Returns:
        An ONNX model with the same input and output names, all of float32 but an AIPP input.
    """
    model = shape_inference.infer_shapes(ModelProto.FromString(content), data_prop=True)
    graph = model.graph
    _round_constants(graph)
    _add_jitter(graph, np.random.SeedSequence([seed, batch]))
    inputs = list(_round_inputs(graph, aipp))
    results = list(_round_results(graph))
    del graph.node[:]
    graph.node.extend(inputs + results)
    del graph.value_info[:]
    return model.SerializeToString()


def to_half(values: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    """Round to float16, kept as float32; what is too large becomes infinite as on a chip."""
    with np.errstate(over="ignore"):
        return values.astype(np.float16).astype(np.float32)


def _round_constants(graph: GraphProto) -> None:
    for tensor in _constants(graph):
        if tensor.data_type == TensorProto.FLOAT:
            rounded = to_half(numpy_helper.to_array(tensor))
            tensor.CopyFrom(numpy_helper.from_array(rounded, tensor.name))


def _constants(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                yield attribute.t


def _add_jitter(graph: GraphProto, seeds: np.random.SeedSequence) -> None:
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for index, node in enumerate(graph.node):
        axis = _output_axis(node)
        if axis is None or node.input[1] not in weights:
            continue
        kernel = numpy_helper.to_array(weights[node.input[1]])
        state = [*seeds.generate_state(2), index, zlib.crc32(node.output[0].encode())]
        channels = (kernel.shape[axis],)
        noise = np.random.default_rng(state).standard_normal(channels)
        factor = 1 + JITTER * noise.clip(-3, 3)
        scaled = kernel * factor.reshape([-1 if at == axis else 1 for at in range(kernel.ndim)])
        _replace_input(graph, node, 1, scaled)
        if len(node.input) > 2 and node.input[2] in weights:
            bias = numpy_helper.to_array(weights[node.input[2]])
            _replace_input(graph, node, 2, bias * factor)


def _output_axis(node: NodeProto) -> int | None:
    """Axis of the second input that runs over the output's channels, if the operator has one."""
    if node.op_type == "Gemm":
        transposed = any(row.name == "transB" and row.i for row in node.attribute)
        return 0 if transposed else 1
    return {"Conv": 0}.get(node.op_type)


def _replace_input(
    graph: GraphProto, node: NodeProto, position: int, values: npt.NDArray[np.float64]
) -> None:
    # Two nodes may share a weight, so each gets a copy of its own.
    name = f"{node.output[0]}__chip_input_{position}"
    graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
    node.input[position] = name


def _round_inputs(graph: GraphProto, aipp: Aipp | None) -> Iterator[NodeProto]:
    constants = {tensor.name for tensor in graph.initializer}
    fed = [row for row in graph.input if row.name not in constants]
    for position, row in enumerate(fed):
        if row.type.tensor_type.elem_type != TensorProto.FLOAT:
            continue
        rounded = f"{row.name}__chip"
        for node in graph.node:
            node.input[:] = [rounded if name == row.name else name for name in node.input]
        source = row.name
        if aipp is not None and position == 0:
            source = f"{row.name}__pixels"
            yield from _aipp_nodes(graph, row.name, source, aipp)
        yield from _cast_pair(source, rounded)


def _aipp_nodes(graph: GraphProto, name: str, result: str, aipp: Aipp) -> Iterator[NodeProto]:
    tensor_type = next(row for row in graph.input if row.name == name).type.tensor_type
    batch, channels, height, width = (dim.dim_value for dim in tensor_type.shape.dim)
    shape = (batch, height, width, channels)
    tensor_type.CopyFrom(helper.make_tensor_type_proto(TensorProto.UINT8, shape).tensor_type)
    order = [2, 1, 0] if aipp.swap_red_blue else [0, 1, 2]
    for suffix, values in (
        ("order", np.array(order, np.int64)),
        ("mean", np.array(aipp.mean, np.float32).reshape(1, channels, 1, 1)),
        ("factor", np.array(aipp.factor, np.float32).reshape(1, channels, 1, 1)),
    ):
        graph.initializer.append(numpy_helper.from_array(values, f"{name}__{suffix}"))
    steps = [f"{name}__{step}" for step in ("float", "planes", "ordered", "centred")]
    yield helper.make_node("Cast", [name], [steps[0]], to=TensorProto.FLOAT)
    yield helper.make_node("Transpose", [steps[0]], [steps[1]], perm=[0, 3, 1, 2])
    yield helper.make_node("Gather", [steps[1], f"{name}__order"], [steps[2]], axis=1)
    yield helper.make_node("Sub", [steps[2], f"{name}__mean"], [steps[3]])
    yield helper.make_node("Mul", [steps[3], f"{name}__factor"], [result])


def _round_results(graph: GraphProto) -> Iterator[NodeProto]:
    kinds = {row.name: row.type.tensor_type.elem_type for row in [*graph.value_info, *graph.output]}
    for node in graph.node:
        if node.op_type in CHOOSING_OPERATORS:
            yield node
            continue
        pairs = []
        for position, name in enumerate(node.output):
            if name and kinds.get(name, TensorProto.FLOAT) == TensorProto.FLOAT:
                node.output[position] = f"{name}__exact"
                pairs += _cast_pair(f"{name}__exact", name)
        yield node
        yield from pairs


def _cast_pair(source: str, target: str) -> list[NodeProto]:
    half = f"{target}__half"
    return [
        helper.make_node("Cast", [source], [half], to=TensorProto.FLOAT16),
        helper.make_node("Cast", [half], [target], to=TensorProto.FLOAT),
    ]
