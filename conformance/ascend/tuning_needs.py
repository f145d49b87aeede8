"""What tuning takes of a machine, asked for before hours of work are begun."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil

from conformance.errors import ToolError

GIB = 2**30


@dataclass(frozen=True)
class TuningNeeds:
    """What tuning takes, as the AOE user guide says of AOE.

    Attributes:
        memory_gib: Memory of the machine.
        disk_gib: Free space in the work folder.
    """

    memory_gib: float = 32.0
    disk_gib: float = 20.0


def require_room(folder: Path, needs: TuningNeeds) -> None:
    """Refuse to begin hours of work that must fail for want of memory or disk.

    Raises:
        ToolError: Names everything that is short.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = (
        ("memory", psutil.virtual_memory().total / GIB, needs.memory_gib),
        (f"free disk in {folder}", shutil.disk_usage(folder).free / GIB, needs.disk_gib),
    )
    # A machine of 32 GiB reports a little less.
    if short := [row for row in found if row[1] < 0.9 * row[2]]:
        raise ToolError(
            "tuning cannot begin: the machine is too small",
            got="; ".join(f"{name} {got:.1f} GiB" for name, got, _ in short),
            expected="; ".join(f"{name} at least {least:g} GiB" for name, _, least in short),
            next_step="tune on a larger machine and bring its store here, or use --tune=off",
        )
