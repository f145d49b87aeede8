"""The conversion itself: read the ONNX model, refuse what ATC refuses, bind shapes, build."""

from __future__ import annotations

import json
import re
from pathlib import Path

from google.protobuf.message import DecodeError
from onnx import ModelProto, checker, shape_inference

from emulator import tuning
from emulator.aipp import read_aipp
from emulator.atc_args import (
    WHOLE_MODES,
    AtcArgs,
    AtcError,
    check_dynamic,
    invalid,
    read_shapes,
    require,
)
from emulator.board import Board
from emulator.fault_models import spoil_built, spoil_model, spoil_shapes
from emulator.graph import bind_shapes, count_macs, dimensions, fed_inputs, tensor_specs
from emulator.om import Aipp, OfflineModel, TensorSpec
from emulator.session import ChipSession
from emulator.soc import known_socs

OPSETS = (((7,), (9, 18)), ((5, 0, 4), (9, 13)), ((0,), (11, 11)))
"""From which release of CANN on which ONNX opsets are read (operator lists of CANN 5.0.1 to 9)."""


def build(args: AtcArgs, board: Board, *, tune: bool = False) -> OfflineModel:
    """Build an offline model.

    Args:
        args: What was asked for.
        board: Where ATC runs.
        tune: Whether to tune first.

    Raises:
        AtcError: the real ATC would refuse it, or the emulator cannot build it.
    """
    require(args, "model", "framework")
    if args["mode"] != "3":
        require(args, "output")
    _check_target(args, board)
    model = _read_onnx(Path(args["model"]), board.state.cann)
    shapes = _shapes(args, model)
    batch = next(iter(shapes.values()))[0]
    aipp = _aipp(args, shapes)
    tuned = tuning.decide(board, args["soc_version"], model, batch, tune=tune)
    spoil_model(model, board.faults, batch)
    bound = _bind(model, spoil_shapes(shapes, board.faults))
    built = _assemble(args, board, bound, aipp, tuned=tuned)
    built = spoil_built(built, board.faults)
    _try_out(built, board)
    return built


def _check_target(args: AtcArgs, board: Board) -> None:
    if args["framework"] != "5":
        raise invalid(args["framework"], "--framework", "the emulated ATC reads ONNX only")
    soc = args["soc_version"]
    if soc not in known_socs():
        raise AtcError(
            "EE1001",
            f"The argument is invalid.Reason: Soc version [{soc}] is invalid",
            "Check the input parameter range of the function.",
        )
    kept = [args[name] for name in ("precision_mode", "precision_mode_v2")]
    if any(mode in WHOLE_MODES for mode in kept):
        raise AtcError(
            "EZ3003", "No supported Ops kernel and engine are found for [Conv_0], optype [Conv2D]."
        )
    tuning.check_mode(args, board)


def _read_onnx(path: Path, cann: str) -> ModelProto:
    try:
        model = ModelProto.FromString(path.read_bytes())
        checker.check_model(model)
    except OSError as error:
        text = f"Value [{path}] for parameter [--model] is invalid. Reason: {error.strerror}"
        raise AtcError("E10003", text) from error
    except (DecodeError, checker.ValidationError) as error:
        text = f"Value [{path}] for parameter [--model] is invalid. Reason: not an ONNX model"
        raise AtcError("E10003", text) from error
    _check_opset(model, cann)
    return model


def _check_opset(model: ModelProto, cann: str) -> None:
    domains = {row.domain for row in model.opset_import}
    if len(domains) > 1:
        raise AtcError(
            "E16005",
            f"The model has [{len(domains)}] domain_version fields, but only one is allowed.",
        )
    version = model.opset_import[0].version
    release = tuple(map(int, re.findall(r"\d+", cann.partition(".RC")[0])))
    lowest, highest = next(opsets for since, opsets in OPSETS if release >= since)
    if lowest <= version <= highest:
        return
    node = model.graph.node[0]
    kind = f"ai.onnx::{version}::{node.op_type}"
    _write_check_result(node.name or node.output[0], kind)
    raise AtcError("E16002", f"No ONNX parser is registered for optype [{kind}].")


def _write_check_result(name: str, kind: str) -> None:
    """The report that ATC leaves in the current folder for an operator it does not know."""
    cause = {"code": 1, "message": "The type is not supported."}
    row = {"cause": [cause], "name": name, "result": "failed", "type": kind}
    text = json.dumps({"op": [row], "status": "failed"}, indent=4)
    Path("check_result.json").write_text(text, encoding="utf-8")


def _shapes(args: AtcArgs, model: ModelProto) -> dict[str, list[int]]:
    given = read_shapes(args["input_shape"])
    check_dynamic(args, given)
    inputs = {row.name: dimensions(row) for row in fed_inputs(model.graph)}
    for name, shape in inputs.items():
        if name not in given and min(shape) < 1:
            raise invalid("-1", name, "maybe you should set input_shape to specify its shape")
        if name in given and len(given[name]) != len(shape):
            raise invalid(
                str(given[name]), "--input_shape", f"input [{name}] has {len(shape)} axes"
            )
    unknown = [name for name in given if name not in inputs]
    if unknown:
        raise AtcError(
            "E10016",
            f"Opname [{unknown[0]}] specified in [--input_shape] is not found in the model, "
            "confirm whether this node name exists, or node is not split with the specified "
            "delimiter ';'",
        )
    _check_out_nodes(args, model)
    return {name: given.get(name, shape) for name, shape in inputs.items()}


def _check_out_nodes(args: AtcArgs, model: ModelProto) -> None:
    names = {node.name for node in model.graph.node}
    for part in filter(None, args["out_nodes"].split(";")):
        if part.rpartition(":")[0] not in names:
            text = f"Opname [{part}] specified in [--out_nodes] is not found in the model"
            raise AtcError("E10016", text)
        raise AtcError(
            "E19999", "Inner Error! The emulated ATC does not cut models at --out_nodes."
        )
    if args["output_type"] not in {"", "FP32"}:
        raise AtcError("E19999", "Inner Error! The emulated ATC writes FP32 outputs only.")


def _aipp(args: AtcArgs, shapes: dict[str, list[int]]) -> Aipp | None:
    if not args["insert_op_conf"]:
        return None
    _, channels, height, width = next(iter(shapes.values()))
    return read_aipp(Path(args["insert_op_conf"]), channels, height, width)


def _bind(model: ModelProto, shapes: dict[str, list[int]]) -> ModelProto:
    try:
        return bind_shapes(model, shapes)
    except shape_inference.InferenceError as error:
        raise AtcError("E19999", f"Inner Error! Infer shape failed: {error}") from error


def _assemble(
    args: AtcArgs, board: Board, bound: ModelProto, aipp: Aipp | None, *, tuned: bool
) -> OfflineModel:
    graph = bound.graph
    inputs = tensor_specs(fed_inputs(graph))
    batch = inputs[0].shape[0]
    if aipp is not None:
        _, channels, height, width = inputs[0].shape
        pixels = TensorSpec(inputs[0].name, (batch, height, width, channels), "uint8")
        inputs = (pixels, *inputs[1:])
    return OfflineModel(
        name=Path(args["output"] or args["model"]).name,
        soc=args["soc_version"],
        cann=board.state.cann,
        batch=batch,
        tuned=tuned,
        inputs=inputs,
        outputs=tensor_specs(list(graph.output)),
        macs=count_macs(graph) // batch,
        command=args.command,
        aipp=aipp,
        onnx=bound.SerializeToString(),
    )


def _try_out(model: OfflineModel, board: Board) -> None:
    """Run the model once: shapes or operators that cannot run must not pass the conversion."""
    try:
        state = board.state
        session = ChipSession(model, seed=state.seed, threads=state.threads, folder=board.folder)
        session.infer(bytes(model.input_bytes))
    except Exception as error:
        raise AtcError(
            "EZ3003",
            f"No supported Ops kernel and engine are found for [{model.name}]: {error}",
        ) from error
