"""The exporter writes another model, or its engine says something else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from selftest.fault_causes.scene import MORE, Scene, cause, replace


def _exported(
    spoil: Callable[[Path], object], place: str = "conformance.export.onnx_model"
) -> MORE:
    """Let the exporter write a file that is then spoilt."""

    def spoiling(export: Any) -> Any:
        def spoilt(network: Any, spec: Any, target: Path) -> None:
            export(network, spec, target)
            spoil(target)

        return spoilt

    replace(place, "export_onnx", spoiling)
    return []


def _edited(edit: Callable[[Any], object]) -> MORE:
    """Let the exporter write a model that is then edited."""

    def spoil(target: Path) -> None:
        import onnx

        model = onnx.load(str(target))
        edit(model)
        target.write_bytes(model.SerializeToString())

    return _exported(spoil)


def _attribute(model: Any, kind: str, name: str, number: int = 0) -> Any:
    nodes = [node for node in model.graph.node if node.op_type == kind]
    return next(row for row in nodes[number].attribute if row.name == name)


@cause
def export_of_opset_13(scene: Scene) -> MORE:
    return _edited(lambda model: setattr(model.opset_import[0], "version", 13))


@cause
def export_of_two_domains(scene: Scene) -> MORE:
    return _edited(lambda model: setattr(model.opset_import.add(domain="ai.onnx.ml"), "version", 2))


@cause
def export_drops_a_weight(scene: Scene) -> MORE:
    def edit(model: Any) -> None:
        tensor = model.graph.initializer[3]
        tensor.raw_data = bytes(len(tensor.raw_data))

    return _edited(edit)


@cause
def export_rounds_weights(scene: Scene) -> MORE:
    def edit(model: Any) -> None:
        from onnx import numpy_helper

        for tensor in model.graph.initializer:
            values = numpy_helper.to_array(tensor)
            if values.dtype == np.float32:
                coarse = (values.view(np.uint32) & np.uint32(0xFFFF8000)).view(np.float32)
                tensor.CopyFrom(numpy_helper.from_array(coarse.copy(), tensor.name))

    return _edited(edit)


@cause
def export_with_wrong_pads(scene: Scene) -> MORE:
    def edit(model: Any) -> None:
        for node in model.graph.node:
            for row in node.attribute:
                if row.name == "pads" and list(row.ints) == [1, 1, 1, 1]:
                    row.ints[:] = [0, 0, 2, 2]
                    return

    return _edited(edit)


@cause
def export_with_wrong_ceil_mode(scene: Scene) -> MORE:
    def edit(model: Any) -> None:
        row = _attribute(model, "MaxPool", "ceil_mode")
        row.i = 1 - row.i

    return _edited(edit)


@cause
def export_with_wrong_stride(scene: Scene) -> MORE:
    def edit(model: Any) -> None:
        _attribute(model, "MaxPool", "strides", 2).ints[:] = [1, 1]

    return _edited(edit)


def _each_batch(model: Any, value: int) -> None:
    for row in (*model.graph.input, *model.graph.output):
        if row.type.tensor_type.shape.dim:
            row.type.tensor_type.shape.dim[0].dim_value = value


@cause
def export_with_fixed_batch(scene: Scene) -> MORE:
    return _edited(lambda model: _each_batch(model, 1))


@cause
def export_with_other_input_name(scene: Scene) -> MORE:
    def edit(model: Any) -> None:
        model.graph.input[0].name = "actual_input_1"
        for node in model.graph.node:
            node.input[:] = ["actual_input_1" if n == "image" else n for n in node.input]

    return _edited(edit)


@cause
def export_of_other_output_width(scene: Scene) -> MORE:
    def edit(model: Any) -> None:
        model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 1001

    return _edited(edit)


@cause
def export_with_softmax(scene: Scene) -> MORE:
    def edit(model: Any) -> None:
        last = model.graph.node[-1]
        last.output[0] = "scores"
        model.graph.node.add(op_type="Softmax", input=["scores"], output=["class"], name="softmax")

    return _edited(edit)


@cause
def export_mixes_rows(scene: Scene) -> MORE:
    def edit(model: Any) -> None:
        from onnx import helper

        last = model.graph.node[-1]
        last.output[0] = "scores"
        mean = helper.make_node("ReduceMean", ["scores"], ["mean"], axes=[0], keepdims=1)
        less = helper.make_node("Mul", ["mean", "share"], ["less"])
        model.graph.node.extend(
            [mean, less, helper.make_node("Add", ["scores", "less"], ["class"])]
        )
        model.graph.initializer.append(helper.make_tensor("share", 1, [1], [0.001]))

    return _edited(edit)


@cause
def export_truncated(scene: Scene) -> MORE:
    return _exported(lambda target: os.truncate(target, target.stat().st_size // 2))


@cause
def export_differs_each_time(scene: Scene) -> MORE:
    # A doc_string more, in the second export alone.
    def spoil(target: Path) -> None:
        target.write_bytes(target.read_bytes() + b"\x32\x01x")

    return _exported(spoil, "conformance.export.checks")


def _engine(change: Callable[[Any], Any]) -> MORE:
    """Let ONNX Runtime return something else."""

    def changing(run: Any) -> Any:
        return lambda *given: {name: change(scores) for name, scores in run(*given).items()}

    replace("conformance.runners.in_memory", "run_onnxruntime", changing)
    return []


@cause
def engine_computes_in_float16(scene: Scene) -> MORE:
    return _engine(lambda scores: np.clip(scores, -65504, 65504).astype("f2").astype("f4"))


@cause
def engine_overflows(scene: Scene) -> MORE:
    return _engine(lambda scores: np.where(np.arange(len(scores)) == 3, np.inf, scores))
