"""Scores beyond their bound, explained by what the model was fed: tried with PyTorch."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from conformance.build import Builder
from conformance.imagenet.dataset import ImageFile
from conformance.imagenet.deviations import CORRECT, DEVIATIONS, Deviation, deviant_steps
from conformance.metrics.scores import Scores, largest_errors
from conformance.predictions import Predictions
from conformance.spec import ModelSpec

# Two images that agree in a thousand scores each agree for one reason.
TRIED_IMAGES = 2
# What only preparation on the chip can forget; on the host it would be no known deviation.
NO_MEAN = Deviation("no mean subtracted", "normalise", mean=0.0)

Tensors = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class InputTrial:
    """Tries known mistakes of preparation on a few images, in place of what the chip was fed."""

    builder: Builder
    spec: ModelSpec

    def explain(self, candidate: Predictions, epsilon: float) -> str:
        """Return what an image must be fed as, for PyTorch to say what the candidate says.

        Args:
            candidate: Scores beyond their bound.
            epsilon: Largest allowed difference of a score.

        Raises:
            DatasetError: An image cannot be prepared.
        """
        if not importlib.util.find_spec("torch"):  # on a board with a filled store
            return ""
        images = self.builder.dataset(self.spec).images[:TRIED_IMAGES]
        scores = candidate.scores[: len(images)]
        for name, tensors in self._mistakes(images):
            if np.isfinite(tensors).all() and self._errors(tensors, scores).max() <= epsilon:
                return f"the scores are those of PyTorch on inputs with this mistake: {name}"
        return ""

    def _errors(self, tensors: Tensors, scores: Scores) -> npt.NDArray[np.float32]:
        from conformance.runners.in_memory import run_torch

        inputs = {str(number): tensor for number, tensor in enumerate(tensors)}
        found = run_torch(self.builder.network(self.spec), inputs, batch=1)
        return largest_errors(np.stack(list(found.values())), scores)

    def _mistakes(self, images: Sequence[ImageFile]) -> Iterator[tuple[str, Tensors]]:
        right = self._prepared(images, CORRECT)
        yield "red and blue exchanged behind the normalisation", right[:, ::-1].copy()
        for mistake in (*DEVIATIONS, NO_MEAN):
            yield mistake.name, self._prepared(images, mistake)

    def _prepared(self, images: Sequence[ImageFile], mistake: Deviation) -> Tensors:
        prepare = self.spec.preprocess
        return np.stack([deviant_steps(one.path, prepare, mistake).normalise for one in images])
