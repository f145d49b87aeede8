"""The sign that tells what the emulator makes from what a board makes."""

from __future__ import annotations

import sys
import time

MARK = "ASCEND-EMULATOR"
SENTENCE = f"{MARK}: no Ascend chip is involved"
STARTED_AT = time.perf_counter()
"""When this program began, as nearly as Python can tell: the tools' end-to-end clock."""


def say(line: str = "") -> None:
    """Print one line at once, so that a program killed later has still said it."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def seconds() -> float:
    """Now, on the clock of ``STARTED_AT``."""
    return time.perf_counter()
