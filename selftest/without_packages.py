"""A plugin of pytest that hides packages, as if they were not installed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import metadata

HIDDEN = "HIDDEN_PACKAGES"


def hide(packages: list[str]) -> None:
    """Make every import of the packages fail, and every question after their versions."""
    for name in packages:
        sys.modules[name] = None  # type: ignore[assignment]  # Python's own way to block an import
    vars(metadata)["version"] = _without(packages, metadata.version)


def _without(packages: list[str], version: Callable[[str], str]) -> Callable[[str], str]:
    def asked(name: str) -> str:
        if name in packages:
            raise metadata.PackageNotFoundError(name)
        return version(name)

    return asked


if HIDDEN in os.environ:
    hide(os.environ[HIDDEN].split(","))
