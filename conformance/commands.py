"""How a command ends: with a message and a status that tell the truth."""

from __future__ import annotations

import sys
from collections.abc import Callable

from conformance.errors import ConformanceError

FAILED = 1
INTERRUPTED = 130  # as shells report SIGINT


def exit_status(action: Callable[[], None]) -> int:
    """Run a command and return its exit status: 0 only if nothing was lost.

    A :class:`ConformanceError` becomes its message on stderr and status 1, Ctrl-C status 130; any
    other exception is a defect and keeps its traceback.
    """
    try:
        action()
    except ConformanceError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("interrupted: nothing half-written was kept", file=sys.stderr)
        return INTERRUPTED
    return 0
