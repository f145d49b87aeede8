"""The preparation that ours is held against: torchvision's own transforms on the same file."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from conformance.errors import DatasetError
from conformance.export.network import import_torchvision
from conformance.imagenet.dataset import ImageFile
from conformance.imagenet.preprocess import Prepared
from conformance.imagenet.steps import Steps, content_sha256
from conformance.spec import Preprocess

Tensor = npt.NDArray[np.generic]


def independent_input(path: Path, preprocess: Preprocess, kind: Prepared) -> Tensor:
    """Return torchvision's own preparation of one image file.

    ``float32``: 3 x crop x crop, normalised. ``uint8``: crop x crop x 3, not normalised (AIPP).

    Raises:
        ConfigError: torchvision cannot be imported.
        OSError: Pillow cannot read the file.
    """
    steps = _transforms(preprocess)
    with Image.open(path) as image:
        cropped = steps.crop(steps.resize(image.convert("RGB")))
    return np.asarray(steps.normalise(cropped) if kind == "float32" else cropped)


def independent_steps(path: Path, preprocess: Preprocess) -> Steps:
    """Return what each of torchvision's own steps makes of one image file.

    Raises:
        ConfigError: torchvision cannot be imported.
        OSError: Pillow cannot read the file.
    """
    steps = _transforms(preprocess)
    with Image.open(path) as image:
        decoded = image.convert("RGB")
    resized = steps.resize(decoded)
    cropped = steps.crop(resized)
    pixels = np.asarray(cropped)
    return Steps(
        decode=np.asarray(decoded),
        resize=np.asarray(resized),
        crop=pixels.transpose(2, 0, 1),
        normalise=np.asarray(steps.normalise(cropped)),
        uint8=pixels,
    )


def digests_of_chunk(images: Sequence[ImageFile], preprocess: Preprocess) -> list[tuple[str, str]]:
    """Return the sha256 of torchvision's own preparation of each image: as float32, as uint8.

    Raises:
        ConfigError: torchvision cannot be imported.
        DatasetError: Pillow cannot read an image; names it.
    """
    return [_digests(image, preprocess) for image in images]


def _digests(image: ImageFile, preprocess: Preprocess) -> tuple[str, str]:
    try:
        steps = independent_steps(image.path, preprocess)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DatasetError(
            "image cannot be read",
            got=error,
            expected="an image that Pillow reads",
            where={"image": image.name, "file": image.path},
            next_step="restore the file from its source",
        ) from None
    return content_sha256(steps.normalise), content_sha256(steps.uint8)


class _Transforms(NamedTuple):
    resize: Callable[[Image.Image], Image.Image]
    crop: Callable[[Image.Image], Image.Image]
    normalise: Callable[[Image.Image], object]


@functools.cache
def _transforms(preprocess: Preprocess) -> _Transforms:
    transforms = import_torchvision("transforms")
    normalise = transforms.Normalize(list(preprocess.mean), list(preprocess.std))
    return _Transforms(
        resize=transforms.Resize(preprocess.resize),
        crop=transforms.CenterCrop(preprocess.crop),
        normalise=transforms.Compose([transforms.ToTensor(), normalise]),
    )
