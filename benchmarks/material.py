"""What the benchmarks work on: real photographs and weights if given, else generated ones."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from conformance.export.network import build_network
from conformance.imagenet.dataset import Dataset, LabelledImage
from conformance.imagenet.folders import open_dataset
from conformance.spec import ModelSpec, load_spec

if TYPE_CHECKING:
    import torch

GENERATED_IMAGES = 96
# The commonest size of ImageNet's photographs.
GENERATED_SIZE = (500, 375)


@dataclasses.dataclass(frozen=True)
class Material:
    """Input of the benchmarks.

    Attributes:
        spec: The model.
        dataset: Photographs.
        weights: A ``.pth`` file, or None for random weights.
        scratch: An empty folder for files.
        quick: Do little work: to see that everything runs, not to quote figures.
    """

    spec: ModelSpec
    dataset: Dataset
    weights: Path | None
    scratch: Path
    quick: bool

    @property
    def rounds(self) -> int:
        """How often a duel is repeated."""
        return 2 if self.quick else 5

    def images(self, at_most: int) -> tuple[LabelledImage, ...]:
        """Return up to ``at_most`` photographs; a quick run takes 32 at most."""
        count = min(at_most, 32) if self.quick else at_most
        return self.dataset.subset(min(count, len(self.dataset))).images

    def network(self) -> torch.nn.Module:
        """Build the network, with the given weights or with random ones (seed 0)."""
        import torch

        torch.manual_seed(0)
        network = build_network(self.spec.architecture)
        if self.weights is not None:
            network.load_state_dict(torch.load(self.weights, weights_only=True))
        return network.eval()

    def described(self) -> str:
        """Say what the figures were measured on."""
        weights = self.weights.name if self.weights else "random weights"
        kind = "generated images" if self.dataset.drawn else "photographs"
        return f"{self.spec.name} with {weights}, {len(self.dataset)} {kind}"


def gather(imagenet: Path | None, weights: Path | None, scratch: Path, *, quick: bool) -> Material:
    """Open the photographs, or draw images where none are given.

    Raises:
        DatasetError: The folder of photographs is wrong.
    """
    spec = load_spec("squeezenet1_1")
    classes = spec.export.classes
    if imagenet is None:
        dataset = generated(scratch / "val", classes)
    else:
        dataset = open_dataset(imagenet, classes)
    return Material(spec, dataset, weights, scratch, quick)


def generated(folder: Path, classes: int) -> Dataset:
    """Draw smooth noise with the size and about the bytes of ImageNet's photographs."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    width, height = GENERATED_SIZE
    images = []
    for number in range(GENERATED_IMAGES):
        path = folder / f"generated_{number:03d}.JPEG"
        coarse = random.integers(0, 256, (height // 6, width // 6, 3), np.uint8)
        drawn = Image.fromarray(coarse).resize(GENERATED_SIZE, Image.Resampling.BICUBIC)
        drawn.save(path, quality=95)
        images.append(LabelledImage(path.name, path, number % classes))
    return Dataset(folder, tuple(images), classes, drawn=True)
