"""What is fed to an engine against an independent preparation of the same photographs.

Statistics cannot see a crop that is one pixel off; comparing every value can. The independent
side is torchvision's own ``Resize, CenterCrop, ToTensor, Normalize``, the transforms of its model
card, on the file itself; nothing of :mod:`conformance.imagenet.preprocess` takes part in it.

Inputs in memory are compared value by value, and those that lay on disk for a tool by the digests
of their files.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from conformance.errors import DatasetError
from conformance.imagenet.dataset import ImageFile, shortened
from conformance.imagenet.independent import Tensor, independent_input
from conformance.imagenet.input_cause import told_cause
from conformance.imagenet.preprocess import Prepared
from conformance.imagenet.steps import content_sha256
from conformance.spec import Preprocess

_EXAMPLES = 3  # differing images that are traced step by step


@dataclasses.dataclass(frozen=True, slots=True)
class InputDifference:
    """One image whose input is not what it must be.

    Attributes:
        name: The image.
        values: How many of its values differ; 0 where only digests are known.
        largest: Largest absolute difference, in the input's own unit; 0 where only digests are
            known.
    """

    name: str
    values: int = 0
    largest: float = 0.0


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
        by = f", by up to {largest:.6g}" if largest else ""
        return (
            f"{len(self.differing)} of {self.compared} inputs differ from an independent "
            f"preparation{by}: {shown}\n{self.cause}"
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
    _demand_images(images)
    stream = iter(fed)
    differing = []
    examples: list[tuple[ImageFile, str]] = []
    for image in images:
        name, tensor = next(stream, (None, None))
        if name != image.name or tensor is None:
            raise _out_of_step(name or "no further input", image.name)
        expected = independent_input(image.path, preprocess, kind)
        if difference := _difference(image.name, tensor, expected):
            differing.append(difference)
            if len(examples) < _EXAMPLES:
                examples.append((image, content_sha256(tensor)))
    if (extra := next(stream, None)) is not None:
        raise _out_of_step(extra[0], "no further input")
    cause = told_cause(examples, preprocess, kind) if examples else ""
    return InputComparison(len(images), tuple(differing), cause)


def compare_input_digests(
    images: Sequence[ImageFile],
    fed: Sequence[str],
    expected: Sequence[str],
    preprocess: Preprocess,
    kind: Prepared,
) -> InputComparison:
    """Compare the files of inputs, by their digests, with an independent preparation.

    Args:
        images: Every image that must have been fed, in order.
        fed: The sha256 of each file that the tool was given, in the same order.
        expected: The sha256 of the independent preparation of each image, in the same order.
        preprocess: The model's geometry and normalisation.
        kind: What the inputs are: ``float32`` or ``uint8``.

    Raises:
        DatasetError: There is no image, or not exactly one digest of either side for each.
    """
    _demand_images(images)
    for digests in (fed, expected):
        if len(digests) != len(images):
            raise _out_of_step(f"{len(digests)} digests", f"{len(images)}, one for each image")
    pairs = zip(images, fed, expected, strict=True)
    differing = [(image, given) for image, given, wanted in pairs if given != wanted]
    cause = told_cause(differing[:_EXAMPLES], preprocess, kind) if differing else ""
    named = tuple(InputDifference(image.name) for image, _ in differing)
    return InputComparison(len(images), named, cause)


def demand_same_inputs(
    images: Sequence[ImageFile], fed: Sequence[str], earlier: Sequence[str]
) -> None:
    """Refuse inputs that are not those of the run which ``input.digest`` is about.

    Args:
        images: The images, in order.
        fed: The sha256 of each file that the tool is given now, in the same order.
        earlier: The same of the accuracy run.

    Raises:
        DatasetError: A digest differs, or is missing; names the images.
    """
    if len(fed) != len(images) or len(earlier) != len(images):
        raise _out_of_step(f"{len(fed)} and {len(earlier)} digests", f"{len(images)} of each")
    pairs = zip(images, fed, earlier, strict=True)
    if other := [image.name for image, now, before in pairs if now != before]:
        raise DatasetError(
            "inputs are not those that the accuracy run was given",
            got=f"{len(other)} of {len(images)} differ: {shortened(other)}",
            expected="the same bytes for the same image",
            next_step="did an image change during the run? Run again; if it stays, look for what "
            "writes into --scratch=DIR",
        )


def _demand_images(images: Sequence[ImageFile]) -> None:
    if not images:
        raise DatasetError("nothing to compare", got="no images", expected="at least one")


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
