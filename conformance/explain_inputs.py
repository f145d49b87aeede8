"""Scores beyond their bound, explained by what the model was fed: tried with ONNX Runtime."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import math
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from conformance.build import Builder
from conformance.errors import ExportError
from conformance.imagenet.dataset import ImageFile
from conformance.imagenet.deviations import CORRECT, DEVIATIONS, Deviation, deviant_steps
from conformance.metrics.scores import Scores, largest_errors
from conformance.predictions import Predictions
from conformance.spec import ModelSpec

# Two images that agree in a thousand scores each agree for one reason.
TRIED_IMAGES = 2
# What only preparation on the chip can forget; on the host it would be no known deviation.
NO_MEAN = Deviation("no mean subtracted", "normalise", mean=0.0)

Tensor = npt.NDArray[np.float32]
Prepare = Callable[[ImageFile], Tensor]


@dataclasses.dataclass(frozen=True)
class InputTrial:
    """Tries known mistakes of preparation on a few images, in place of what the chip was fed."""

    builder: Builder
    spec: ModelSpec

    def explain(self, candidate: Predictions, epsilon: float) -> str:
        """Return what an image must be fed as, for the ONNX model to say what the candidate says.

        Args:
            candidate: Scores beyond their bound.
            epsilon: Largest allowed difference of a score.

        Raises:
            DatasetError: An image cannot be prepared.
        """
        if not importlib.util.find_spec("onnxruntime"):  # on a board with a filled store
            return ""
        try:
            return self._explained(candidate, epsilon)
        except ExportError:  # a model that cannot be tried explains nothing; its own checks say so
            return ""

    def _explained(self, candidate: Predictions, epsilon: float) -> str:
        from conformance.runners.onnxruntime_runner import open_session, run_session

        images = self.builder.dataset(self.spec).images[:TRIED_IMAGES]
        model = self.builder.onnx_model(self.spec)
        session = open_session(model)

        def error(tensor: Tensor, scores: Scores) -> float:
            if not np.isfinite(tensor).all():
                return math.inf
            found = run_session(session, model, tensor[None])
            return float(largest_errors(found, scores[None])[0])

        def fits(prepared: Prepare) -> bool:
            # Not a list: most mistakes are ruled out by the first image.
            errors = (
                error(prepared(image), scores)
                for image, scores in zip(images, candidate.scores, strict=False)
            )
            return all(value <= epsilon for value in errors)

        if fits(self._correct):  # else what changes nothing on these images would be blamed
            return ""
        for name, prepared in self._mistakes():
            if fits(prepared):
                return f"the scores are those of the ONNX model on inputs with this mistake: {name}"
        return ""

    def _mistakes(self) -> Iterator[tuple[str, Prepare]]:
        yield "red and blue exchanged behind the normalisation", self._exchanged
        for mistake in (*DEVIATIONS, NO_MEAN):
            yield mistake.name, functools.partial(self._prepared, mistake)

    def _correct(self, image: ImageFile) -> Tensor:
        return self._prepared(CORRECT, image)

    def _exchanged(self, image: ImageFile) -> Tensor:
        return self._correct(image)[::-1].copy()

    def _prepared(self, mistake: Deviation, image: ImageFile) -> Tensor:
        return deviant_steps(image.path, self.spec.preprocess, mistake).normalise
