"""Signs of a board, cheap enough to look for at any time; no tool is run."""

from __future__ import annotations

import shutil
from pathlib import Path

DEVICE_NODES = "davinci[0-9]*"


def board_signs(devices: Path = Path("/dev")) -> list[str]:
    """Return what suggests that an Ascend board is in this machine: its tool, its device nodes."""
    tool = shutil.which("npu-smi")
    nodes = sorted(str(node) for node in devices.glob(DEVICE_NODES))
    return [*([tool] if tool else []), *nodes]
