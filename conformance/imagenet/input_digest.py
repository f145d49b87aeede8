"""What is fed to the device against an independent preparation of the same photographs.

Statistics cannot see a crop that is one pixel off; comparing every value can. The independent
side is torchvision's own ``Resize, CenterCrop, ToTensor, Normalize``, the transforms of its model
card, on the file itself; nothing of :mod:`conformance.imagenet.preprocess` takes part in it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from conformance.errors import DatasetError
from conformance.imagenet.dataset import ImageFile, shortened
from conformance.imagenet.deviations import named_deviation
from conformance.imagenet.effects import read_effects
from conformance.imagenet.independent import Tensor, independent_input, independent_steps
from conformance.imagenet.preprocess import Prepared, prepare_steps
from conformance.imagenet.steps import STEPS, Step, first_difference
from conformance.spec import Preprocess

_EXAMPLES = 3  # differing images that are traced step by step


@dataclasses.dataclass(frozen=True, slots=True)
class InputDifference:
    """One image whose input is not what it must be.

    Attributes:
        name: The image.
        values: How many of its values differ.
        largest: Largest absolute difference, in the input's own unit.
    """

    name: str
    values: int
    largest: float


@dataclasses.dataclass(frozen=True, slots=True)
class InputComparison:
    """Outcome of comparing every image.

    Attributes:
        compared: How many there are.
        differing: Those that differ, in order.
        cause: The first step that differs, and the known deviation that makes just these inputs.
    """

    compared: int
    differing: tuple[InputDifference, ...]
    cause: str = ""

    def describe(self) -> str:
        """Return the counts and the first differing images, for a reader."""
        if not self.differing:
            return f"all {self.compared} inputs are bit-equal to an independent preparation"
        shown = shortened(difference.name for difference in self.differing)
        largest = max(difference.largest for difference in self.differing)
        return (
            f"{len(self.differing)} of {self.compared} inputs differ from an independent "
            f"preparation, by up to {largest:.6g}: {shown}\n{self.cause}"
        )


def compare_inputs(
    images: Sequence[ImageFile],
    fed: Iterable[tuple[str, Tensor]],
    preprocess: Preprocess,
    kind: Prepared,
) -> InputComparison:
    """Compare inputs in memory, image by image, with an independent preparation.

    Args:
        images: Every image that must have been fed, in order.
        fed: (image name, input) in the same order; one at a time, so that it may be a stream.
        preprocess: The model's geometry and normalisation.
        kind: What the inputs are: ``float32`` or ``uint8``.

    Raises:
        DatasetError: There is no image, or not exactly one input for each, in order.
        ConfigError: torchvision cannot be imported.
    """
    if not images:
        raise DatasetError("nothing to compare", got="no images", expected="at least one")
    stream = iter(fed)
    differing = []
    examples: list[tuple[ImageFile, Tensor]] = []
    for image in images:
        name, tensor = next(stream, (None, None))
        if name != image.name or tensor is None:
            raise _out_of_step(name or "no further input", image.name)
        expected = independent_input(image.path, preprocess, kind)
        if difference := _difference(image.name, tensor, expected):
            differing.append(difference)
            if len(examples) < _EXAMPLES:
                examples.append((image, tensor.copy()))
    if (extra := next(stream, None)) is not None:
        raise _out_of_step(extra[0], "no further input")
    cause = _cause(examples, preprocess, kind) if examples else ""
    return InputComparison(len(images), tuple(differing), cause)


def _cause(
    examples: Sequence[tuple[ImageFile, Tensor]], preprocess: Preprocess, kind: Prepared
) -> str:
    """Say at which step the examples part from torchvision's, and which deviation they equal."""
    last: Step = "normalise" if kind == "float32" else "uint8"
    contents = [(image.path, tensor.tobytes()) for image, tensor in examples]
    found = named_deviation(contents, preprocess, last)
    step = found.step if found else _step(examples, preprocess, last)
    told = f"first step that differs: {step}"
    return f"{told}, {read_effects().told(found.name)}" if found else told


def _step(examples: Sequence[tuple[ImageFile, Tensor]], preprocess: Preprocess, last: Step) -> str:
    """Return the first step at which our own preparation of any example parts from torchvision's.

    Where it ends in something else than was fed, the fault lies behind it.
    """
    parted = set()
    for image, tensor in examples:
        own = prepare_steps(image.path, preprocess)
        if getattr(own, last).tobytes() != tensor.tobytes():
            return "feeding (decode, resize, crop and normalise give another input than was fed)"
        parted.add(first_difference(own, independent_steps(image.path, preprocess)))
    return next((step for step in STEPS if step in parted), last)


def compare_input_files(
    images: Sequence[ImageFile],
    files: Mapping[str, Path],
    preprocess: Preprocess,
    kind: Prepared,
) -> InputComparison:
    """Compare ``.bin`` files, by image name, with an independent preparation.

    Raises:
        DatasetError: A file is missing, unreadable or of the wrong size, or belongs to no image.
        ConfigError: torchvision cannot be imported.
    """
    foreign = sorted(files.keys() - {image.name for image in images})
    if foreign:
        raise DatasetError("inputs without an image", got=shortened(foreign), expected="none")
    fed = ((image.name, _read(image.name, files, preprocess, kind)) for image in images)
    return compare_inputs(images, fed, preprocess, kind)


def _read(name: str, files: Mapping[str, Path], preprocess: Preprocess, kind: Prepared) -> Tensor:
    side = preprocess.crop
    shape = (3, side, side) if kind == "float32" else (side, side, 3)
    path = files.get(name)
    try:
        content = b"" if path is None else path.read_bytes()
        return np.frombuffer(content, "<f4" if kind == "float32" else "u1").reshape(shape)
    except (OSError, ValueError) as error:
        raise DatasetError(
            "an input file is missing, unreadable or of the wrong size",
            got=error,
            expected=f"{kind} values of shape {shape}",
            where={"image": name, "file": path},
            next_step="write the inputs again",
        ) from None


def _difference(name: str, tensor: Tensor, expected: Tensor) -> InputDifference | None:
    if tensor.shape != expected.shape or tensor.dtype != expected.dtype:
        raise DatasetError(
            "an input has the wrong form",
            got=f"{tensor.dtype} {tensor.shape}",
            expected=f"{expected.dtype} {expected.shape}",
            where={"image": name},
            next_step="compare the model's [preprocess] table with what feeds the device",
        )
    if tensor.tobytes() == expected.tobytes():
        return None
    apart = np.abs(tensor.astype(np.float64) - expected.astype(np.float64))
    return InputDifference(name, int(np.count_nonzero(apart)), float(apart.max()))


def _out_of_step(got: str, expected: str) -> DatasetError:
    return DatasetError(
        "inputs and images do not belong together",
        got=got,
        expected=expected,
        next_step="feed each image once, in the order of the dataset",
    )
