"""What is fed to the device against an independent preparation of the same photographs.

Statistics cannot see a crop that is one pixel off; comparing every value can. The independent
side is torchvision's own ``Resize, CenterCrop, ToTensor, Normalize``, the transforms of its model
card, on the file itself; nothing of :mod:`conformance.imagenet.preprocess` takes part in it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from conformance.errors import DatasetError
from conformance.export.network import import_torchvision
from conformance.imagenet.dataset import ImageFile, shortened
from conformance.imagenet.preprocess import Prepared
from conformance.spec import Preprocess

Tensor = npt.NDArray[np.generic]


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
    """Outcome of comparing every image: how many, and those that differ, in order."""

    compared: int
    differing: tuple[InputDifference, ...]

    def describe(self) -> str:
        """Return the counts and the first differing images, for a reader."""
        if not self.differing:
            return f"all {self.compared} inputs are bit-equal to an independent preparation"
        shown = shortened(difference.name for difference in self.differing)
        largest = max(difference.largest for difference in self.differing)
        return (
            f"{len(self.differing)} of {self.compared} inputs differ from an independent "
            f"preparation, by up to {largest:.6g}: {shown}"
        )


def independent_input(path: Path, preprocess: Preprocess, kind: Prepared) -> Tensor:
    """Return torchvision's own preparation of one image file.

    ``float32``: 3 x crop x crop, normalised. ``uint8``: crop x crop x 3, not normalised (AIPP).

    Raises:
        ConfigError: torchvision cannot be imported.
        OSError: Pillow cannot read the file.
    """
    with Image.open(path) as image:
        made = _transforms(preprocess, kind)(image.convert("RGB"))
    return np.asarray(made)


@functools.cache
def _transforms(preprocess: Preprocess, kind: Prepared) -> Callable[[Image.Image], object]:
    transforms = import_torchvision("transforms")
    steps = [transforms.Resize(preprocess.resize), transforms.CenterCrop(preprocess.crop)]
    if kind == "float32":
        steps += [
            transforms.ToTensor(),
            transforms.Normalize(list(preprocess.mean), list(preprocess.std)),
        ]
    composed: Callable[[Image.Image], object] = transforms.Compose(steps)
    return composed


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
    for image in images:
        name, tensor = next(stream, (None, None))
        if name != image.name or tensor is None:
            raise _out_of_step(name or "no further input", image.name)
        expected = independent_input(image.path, preprocess, kind)
        if difference := _difference(image.name, tensor, expected):
            differing.append(difference)
    if (extra := next(stream, None)) is not None:
        raise _out_of_step(extra[0], "no further input")
    return InputComparison(len(images), tuple(differing))


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
