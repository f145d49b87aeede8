"""The guide's export command: what its script does, and loudly where that one fails silently."""

from __future__ import annotations

import tempfile
from pathlib import Path

from conformance.check import Status
from conformance.errors import ExportError
from conformance.export.checks import opset_check, valid_check
from conformance.export.network import build_network
from conformance.export.onnx_model import export_onnx, read_facts
from conformance.export.state_dict import load_state_dict
from conformance.spec import load_spec
from conformance.whole_files import demand_apart, write_whole


def export_checkpoint(model: str, checkpoint: Path, target: Path) -> str:
    """Export a checkpoint file and return a line for the reader.

    The file appears whole or not at all, and only if it is valid ONNX in the spec's opset.

    Raises:
        CheckpointError: The weights cannot be used.
        ExportError: The network cannot be exported, or what was written is not what was asked for.
        ConformanceError: The target cannot be written.
    """
    demand_apart(target, files=[checkpoint])
    spec = load_spec(model)
    network = build_network(spec.architecture)
    network.load_state_dict(load_state_dict(checkpoint, spec))
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "model.onnx"
        export_onnx(network, spec, written)
        for made in (valid_check(written), opset_check(read_facts(written), spec)):
            if made.status is not Status.PASS:
                raise ExportError(made.describe(), where={"checkpoint": checkpoint})
        write_whole(written.read_bytes(), target)
    return f"{target}: ONNX opset {spec.export.opset}, from {checkpoint}"
