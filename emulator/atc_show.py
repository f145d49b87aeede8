"""ATC's ``--mode=1`` (offline model to JSON) and ``--mode=6`` (summary on the terminal)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from emulator.atc_args import AtcError
from emulator.board import write_atomically
from emulator.marker import MARK, say
from emulator.om import OfflineModel, OmError, TensorSpec, unpack

TYPE_NAMES = {"float32": "DT_FLOAT", "uint8": "DT_UINT8", "int32": "DT_INT32", "int64": "DT_INT64"}


def show_json(om: Path, target: Path) -> None:
    """Write the model's definition as JSON: attributes, and a graph of inputs and outputs.

    Raises:
        AtcError: the file is no offline model.
    """
    document = model_json(_read(om))
    write_atomically(target, json.dumps(document, indent=2).encode() + b"\n")


def show_summary(om: Path) -> None:
    """Print the model's command line, versions and sizes.

    Raises:
        AtcError: the file is no offline model.
    """
    model = _read(om)
    size = len(model.onnx)
    say("============ Display Model Info start ============")
    say(f"Original Atc command line: {model.command}")
    say(
        f"system   info: atc_version[{_version(model)}], soc_version[{model.soc}], "
        "framework_type[Onnx]."
    )
    say(
        f"resource info: memory_size[{2 * size} B], weight_size[{size} B], "
        "stream_num[1], event_num[0]."
    )
    say(
        f"om       info: modeldef_size[{om.stat().st_size - size} B], weight_data_size[{size} B], "
        "tbe_kernels_size[0 B], cust_aicpu_kernel_store_size[0 B], task_info_size[0 B]."
    )
    say("============ Display Model Info end   ============")


def _read(om: Path) -> OfflineModel:
    try:
        return unpack(om.read_bytes())
    except (OSError, OmError) as error:
        text = f"Value [{om}] for parameter [--om] is invalid. Reason: invalid om file, {error}"
        raise AtcError("E10003", text) from error


def _version(model: OfflineModel) -> str:
    return f"EMU {model.cann}"


def model_json(model: OfflineModel) -> dict[str, Any]:
    """The definition in the form that ATC gives it: attributes are pairs of key and value."""
    attributes = {
        "atc_version": _version(model),
        "opp_version": _version(model),
        "atc_cmdline": model.command,
        "soc_version": model.soc,
        "framework_type": "Onnx",
        "made_by": MARK,
    }
    data = [_operator(spec, "Data", "output_desc") for spec in model.inputs]
    result = {
        "name": "Node_Output",
        "type": "NetOutput",
        "input_desc": [_tensor(spec) for spec in model.outputs],
    }
    return {
        "attr": [{"key": key, "value": {"s": text}} for key, text in attributes.items()],
        "graph": [{"name": model.name, "op": [*data, result]}],
        "name": model.name,
    }


def _operator(spec: TensorSpec, kind: str, side: str) -> dict[str, Any]:
    row = _tensor(spec)
    return {"name": spec.name, "type": kind, "input_desc": [row], side: [row]}


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    layout = "NHWC" if spec.dtype == "uint8" else "NCHW" if len(spec.shape) == 4 else "ND"
    return {
        "name": spec.name,
        "dtype": TYPE_NAMES[spec.dtype],
        "layout": layout,
        "shape": {"dim": list(spec.shape)},
    }
