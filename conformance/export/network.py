"""Untrained networks, built by the constructors that model specs name."""

from __future__ import annotations

import difflib
import functools
import importlib
from types import ModuleType
from typing import TYPE_CHECKING

from conformance.errors import ConfigError, SpecError
from conformance.spec import Architecture

if TYPE_CHECKING:
    import torch

# torchvision registers fake kernels for these on import. Its wheel is built for CUDA torch and
# cannot load its compiled operators beside a CPU torch, yet classifiers need none of them.
_BOX_OPERATORS = ("nms", "qnms")
_BOX_ARGUMENTS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def build_network(architecture: Architecture) -> torch.nn.Module:
    """Return the network in eval mode, with untrained weights from torch's global generator.

    Raises:
        SpecError: torchvision has no such classifier, or it refuses the arguments.
        ConfigError: torchvision cannot be imported.
    """
    models = import_torchvision("models")
    name = architecture.constructor
    _demand_known(name, models.list_models(module=models))
    try:
        network: torch.nn.Module = models.get_model(name, weights=None, **architecture.arguments)
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise SpecError(
            f"torchvision's {name} refuses its arguments",
            got=error,
            expected=f"arguments that torchvision.models.{name} takes, and never any weights",
            where={"key": "architecture.arguments", "arguments": architecture.arguments},
            next_step="correct the table [architecture.arguments] of the model's TOML",
        ) from None
    return network.eval()


def import_torchvision(submodule: str) -> ModuleType:
    """Import ``torchvision.<submodule>``, also beside a torch that it was not built for.

    Raises:
        ConfigError: torch or torchvision is missing or broken.
    """
    try:
        try:
            return importlib.import_module(f"torchvision.{submodule}")
        except RuntimeError as error:
            if "torchvision::nms does not exist" not in str(error):
                raise
            _declare_box_operators()
            return importlib.import_module(f"torchvision.{submodule}")
    except (ImportError, RuntimeError, OSError) as error:
        raise ConfigError(
            f"torchvision.{submodule} cannot be imported",
            got=error,
            expected="torch and torchvision of matching versions",
            next_step="install the extra `export` of this project",
        ) from error


@functools.cache  # a declaration ends with its Library object, so the cache keeps it alive
def _declare_box_operators() -> torch.library.Library:
    import torch

    # torch gives these two methods no types.
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for operator in _BOX_OPERATORS:
        library.define(operator + _BOX_ARGUMENTS)  # type: ignore[no-untyped-call]
    return library


def _demand_known(name: str, known: list[str]) -> None:
    if name in known:
        return
    near = difflib.get_close_matches(name, known, n=3)
    raise SpecError(
        f"torchvision has no classifier {name!r}",
        expected=" or ".join(near) or f"one of {', '.join(known)}",
        where={"key": "architecture.constructor"},
        next_step="correct `constructor` in the table [architecture] of the model's TOML",
    )
