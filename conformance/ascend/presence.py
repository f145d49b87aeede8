"""Signs of a board, cheap enough to look for at any time; no tool is run."""

from __future__ import annotations

import os
from pathlib import Path

from conformance.ascend.tools import path_folders, programs_named

DEVICE_NODES = "davinci[0-9]*"
# Where the driver's installer and containers put npu-smi, for users whose PATH lacks these folders.
STANDARD_FOLDERS = (Path("/usr/local/bin"), Path("/usr/local/sbin"))


def board_signs(devices: Path = Path("/dev")) -> list[str]:
    """Return what suggests that an Ascend board is in this machine: its tool, its device nodes.

    A tool that this user may not execute is such a sign too.
    """
    folders = [*path_folders(os.environ.get("PATH", "")), *STANDARD_FOLDERS]
    tools = programs_named("npu-smi", folders)
    return [*map(str, tools), *map(str, sorted(devices.glob(DEVICE_NODES)))]
