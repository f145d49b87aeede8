"""torchvision, also where its compiled operators do not fit the torch that is installed."""

from __future__ import annotations

import functools
import importlib
from types import ModuleType
from typing import Any

from conformance.errors import ConfigError

_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


@functools.cache
def load_torchvision() -> ModuleType:
    """Import torchvision with its ``models`` and ``transforms``.

    The wheel of the package index is built for CUDA; beside a CPU-only torch its import dies on
    ``operator torchvision::nms does not exist``. Classifiers and transforms need no compiled
    operator, so the two schemas that the import asks for are declared, and it is tried again.

    Raises:
        ConfigError: torch or torchvision is not installed, or cannot be imported.
    """
    try:
        try:
            return importlib.import_module("torchvision")
        except RuntimeError as error:
            if "torchvision::nms does not exist" not in str(error):
                raise
            _declare_operators()
            return importlib.import_module("torchvision")
    except (ImportError, OSError, RuntimeError) as error:
        raise ConfigError(
            "torchvision cannot be imported",
            got=error,
            expected="torch and torchvision, which the extra `export` installs",
            next_step="pip install 'ascend-conformance[export]'",
        ) from error


@functools.cache
def _declare_operators() -> object:
    import torch  # noqa: PLC0415 - takes seconds, and a board needs none of it

    library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call] # torch's own gap
    for name in ("nms", "qnms"):
        library.define(f"{name}{_SIGNATURE}")
    return library  # the declarations live as long as this object, which the cache keeps
