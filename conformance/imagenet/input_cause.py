"""Why inputs differ: the first step that does, and the known deviation that they equal."""

from __future__ import annotations

from collections.abc import Sequence

from conformance.errors import ConfigError
from conformance.imagenet.dataset import ImageFile
from conformance.imagenet.deviations import named_deviation
from conformance.imagenet.effects import read_effects
from conformance.imagenet.independent import independent_steps
from conformance.imagenet.preprocess import Prepared, prepare_steps
from conformance.imagenet.steps import STEPS, Step, content_sha256, first_difference
from conformance.spec import Preprocess


def told_cause(
    examples: Sequence[tuple[ImageFile, str]], preprocess: Preprocess, kind: Prepared
) -> str:
    """Say at which step the examples part from torchvision's, and which deviation they equal.

    Args:
        examples: Images, and the sha256 of what was fed of each; it is not what must be fed.
        preprocess: The model's geometry and normalisation.
        kind: What was fed: ``float32`` or ``uint8``.

    Raises:
        DatasetError: An image cannot be prepared, or the measured deviations cannot be read.
    """
    last: Step = "normalise" if kind == "float32" else "uint8"
    made = [(image.path, fed) for image, fed in examples]
    found = named_deviation(made, preprocess, last)
    step = found.step if found else _step(examples, preprocess, last)
    told = f"first step that differs: {step}"
    return f"{told}, {read_effects().told(found.name)}" if found else told


def _step(examples: Sequence[tuple[ImageFile, str]], preprocess: Preprocess, last: Step) -> str:
    """Return the first step at which our own preparation of any example parts from torchvision's.

    Where it ends in something else than was fed, the fault lies behind it.
    """
    parted = set()
    for image, fed in examples:
        own = prepare_steps(image.path, preprocess)
        if content_sha256(getattr(own, last)) != fed:
            return "feeding (decode, resize, crop and normalise give another input than was fed)"
        try:
            parted.add(first_difference(own, independent_steps(image.path, preprocess)))
        except ConfigError:  # a board has the digests of the independent side, and no torchvision
            return "not known without torchvision (our own preparation is what was fed)"
    return next((step for step in STEPS if step in parted), last)
