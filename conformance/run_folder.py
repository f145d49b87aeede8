"""The places in the folder of one run: what its bundle keeps, and what goes when the run ends."""

from __future__ import annotations

from pathlib import Path

# Names that stand in the bundle's own records, always with forward slashes.
LOGS = "logs"
BOARD = "board"
WORK = "work"


def logs_folder(run_folder: Path) -> Path:
    """Return where logs and performance files of tools are kept; they stay in the bundle."""
    return run_folder / LOGS


def work_folder(run_folder: Path) -> Path:
    """Return where the run's workers share scores, failures and the chip; it goes at the end."""
    return run_folder / WORK
