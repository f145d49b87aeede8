"""Why a path cannot be reached: the system names its end, this names the place."""

from __future__ import annotations

import os
from pathlib import Path


def first_obstacle(path: Path) -> dict[str, object]:
    """Name the outermost folder on the way that is not there or may not be entered, if any."""
    for parent in reversed(path.absolute().parents):
        if not os.access(parent, os.F_OK, effective_ids=True):
            return {"does not exist": parent}
        if not os.access(parent, os.X_OK, effective_ids=True):
            return {"may not be entered": parent}
    return {}
