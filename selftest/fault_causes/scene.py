"""Where a cause acts, how it changes a function, and how it gets its name."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MORE = list[str]
IMAGENET = "--imagenet="


@dataclass(frozen=True)
class Scene:
    """Where a cause acts.

    Attributes:
        folder: The run's own folder.
        arguments: pytest's arguments so far.
    """

    folder: Path
    arguments: list[str]

    def option(self, name: str) -> str:
        """Return the value of one of the suite's options."""
        return next(word for word in self.arguments if word.startswith(name)).removeprefix(name)

    def images(self) -> Path:
        """Return a copy of the photographs that may be spoilt."""
        copy = self.folder / "imagenet"
        shutil.copytree(self.option(IMAGENET), copy)
        return copy

    def weights(self) -> dict[str, Any]:
        """Return the tensors of the weights file, or of the sample that stands for it."""
        import torch

        given = self.option("--weights=")
        stored = Path(self.option("--artifacts=")) / "checkpoint"
        path = next(stored.glob("*/checkpoint.pth")) if given == "sample" else Path(given)
        return dict(torch.load(path, weights_only=True))

    def with_weights(self, tensors: object) -> MORE:
        """Save other weights and return the option that names them."""
        import torch

        torch.save(tensors, self.folder / "weights.pth")
        return [f"--weights={self.folder / 'weights.pth'}"]


def replace(place: str, name: str, make: Callable[[Any], Any]) -> None:
    """Replace a name of a module, or of a class in it, by what is made of its value."""
    module, _, attribute = place.partition(":")
    owner: Any = importlib.import_module(module)
    owner = getattr(owner, attribute) if attribute else owner
    setattr(owner, name, make(getattr(owner, name)))


Cause = Callable[[Scene], MORE]
CAUSES: dict[str, Cause] = {}


def cause(function: Cause) -> Cause:
    """Make a function known by its name, with hyphens."""
    CAUSES[function.__name__.replace("_", "-")] = function
    return function
