"""From a photograph to an input tensor, bit-equal to the guide's algorithm and to torchvision's.

Convert to RGB, resize the short side bilinearly (the long side truncated to an integer), crop the
centre (offsets rounded half to even), divide by 255, subtract the mean, divide by the deviation:
the steps of Ascend ModelZoo's ``imagenet_torch_preprocess.py`` of 2021, which equal torchvision's
``Resize, CenterCrop, ToTensor, Normalize`` on a PIL image.

What Pillow's ``convert("RGB")`` makes of unusual images is what both of them feed to the model:
greyscale is repeated, a palette is looked up, transparency is dropped, CMYK is converted without a
colour profile, 16 bits are clipped at 255 (so such a picture is nearly white), and EXIF rotation
is ignored.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from conformance.errors import DatasetError
from conformance.imagenet.steps import Steps
from conformance.spec import Preprocess

# Formats that hold photographs. Pillow would also open others, some with the help of programs.
IMAGE_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
# Pillow's own limit against decompression bombs. It needs 4 bytes for each pixel, so neither the
# image nor its resized form takes more than 358 MB.
MAX_PIXELS = 89_478_485
CHANNELS = 3

Prepared = Literal["float32", "uint8"]
Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]


def prepare_image(image: Image.Image, preprocess: Preprocess) -> Floats:
    """Return the input tensor of one picture: float32, 3 x crop x crop, normalised RGB.

    Raises:
        DatasetError: The picture is too large to be resized.
    """
    side = preprocess.crop
    return normalised(crop_planes(image, preprocess)[np.newaxis], preprocess).reshape(
        -1, side, side
    )


def prepare_uint8(image: Image.Image, preprocess: Preprocess) -> Bytes:
    """Return the input of a model with AIPP: uint8, crop x crop x 3, RGB, not normalised.

    Raises:
        DatasetError: The picture is too large to be resized.
    """
    return np.asarray(_cropped(image, preprocess))


def prepare_file(path: Path, preprocess: Preprocess, kind: Prepared) -> Floats | Bytes:
    """Return what is fed to the model for one image file.

    Args:
        path: The image file.
        preprocess: The model's geometry and normalisation.
        kind: ``float32`` for 3 x crop x crop, ``uint8`` for crop x crop x 3 (AIPP).

    Raises:
        DatasetError: The file is missing, empty, cut short, no image or too large; names it.
    """
    image = open_rgb(path, preprocess)
    with naming(path):
        prepare = prepare_image if kind == "float32" else prepare_uint8
        return prepare(image, preprocess)


def prepare_steps(path: Path, preprocess: Preprocess) -> Steps:
    """Return what each step of the preparation makes of one image file.

    Raises:
        DatasetError: The file is missing, empty, cut short, no image or too large; names it.
    """
    image = open_rgb(path, preprocess)
    return Steps(
        decode=np.asarray(image),
        resize=np.asarray(_resized(image, preprocess)),
        crop=crop_planes(image, preprocess),
        normalise=prepare_image(image, preprocess),
        uint8=prepare_uint8(image, preprocess),
    )


def input_bytes(preprocess: Preprocess, kind: Prepared) -> int:
    """Return the size of one input: 602,112 bytes as float32 and 150,528 as uint8 for crop 224."""
    width = np.dtype(np.float32).itemsize if kind == "float32" else 1
    return CHANNELS * preprocess.crop**2 * width


def open_rgb(path: Path, preprocess: Preprocess) -> Image.Image:
    """Decode an image file whole, as RGB.

    Raises:
        DatasetError: The file is missing, empty, cut short, no image or too large; names it.
    """
    try:
        with Image.open(path, formats=IMAGE_FORMATS) as image:
            _demand_feasible(image, preprocess)
            image.load()
            # A conversion would copy what is RGB already, as nearly every photograph is.
            return image if image.mode == "RGB" else image.convert("RGB")
    except DatasetError as error:
        error.where.update(image=path.name, file=path)
        raise
    except Exception as error:  # noqa: BLE001 - decoders raise anything at all for damaged files
        raise DatasetError(
            "image cannot be decoded",
            got=f"{type(error).__name__}: {error}{_size(path)}",
            expected=f"a whole image ({', '.join(IMAGE_FORMATS)})",
            where={"image": path.name, "file": path},
            next_step="restore the file from its source; the set is not complete without it",
        ) from None


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name the image for whose steps behind the decoder there is no memory.

    Raises:
        DatasetError: There is none.
    """
    try:
        yield
    except MemoryError:
        raise DatasetError(
            "no memory to resize an image",
            got=f"MemoryError{_size(path)}",
            expected=f"memory for a picture of up to {MAX_PIXELS:,} pixels, and for it resized",
            where={"image": path.name, "file": path},
            next_step="use fewer processes or end others; is this really a photograph of the set?",
        ) from None


def _size(path: Path) -> str:
    """Return a file's size as it completes a message, or nothing where there is no file."""
    with contextlib.suppress(OSError):
        return f" ({path.stat().st_size:,} bytes)"
    return ""


def crop_planes(image: Image.Image, preprocess: Preprocess) -> Bytes:
    """Return the resized, cropped picture: uint8, 3 x crop x crop, RGB, not normalised.

    Raises:
        DatasetError: The picture is too large to be resized.
    """
    side = preprocess.crop
    cropped = _cropped(image, preprocess)
    # Pillow hands out one channel at a time faster than numpy transposes all three.
    planes = b"".join(cropped.tobytes("raw", channel) for channel in "RGB")
    return np.frombuffer(planes, np.uint8).reshape(CHANNELS, side, side)


def normalised(planes: Bytes, preprocess: Preprocess, out: Floats | None = None) -> Floats:
    """Return uint8 planes (N x 3 x H x W) as float32: ``(x / 255 - mean) / std`` by channel.

    Every step is rounded to float32, in the guide's order; one multiplication and one addition
    would be faster and differ in the last bit.
    """
    tensors = np.empty(planes.shape, np.float32) if out is None else out
    np.divide(planes, np.float32(255), out=tensors, dtype=np.float32)
    mean, std = (np.asarray(three, np.float32) for three in (preprocess.mean, preprocess.std))
    for channel in range(CHANNELS):
        # Scalars: an array of three would be spread over the pixels with strides, and slower.
        tensors[:, channel] -= mean[channel]
        tensors[:, channel] /= std[channel]
    return tensors


def resized_size(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    """Return (width, height) after resizing: the long side is truncated, not rounded."""
    width, height = size
    if width < height:
        return short_side, int(short_side * height / width)
    return int(short_side * width / height), short_side


def _cropped(image: Image.Image, preprocess: Preprocess) -> Image.Image:
    _demand_feasible(image, preprocess)
    resized = _resized(image if image.mode == "RGB" else image.convert("RGB"), preprocess)
    left, top = (round((side - preprocess.crop) / 2) for side in resized.size)
    return resized.crop((left, top, left + preprocess.crop, top + preprocess.crop))


def _resized(rgb: Image.Image, preprocess: Preprocess) -> Image.Image:
    size = resized_size(rgb.size, preprocess.resize)
    return rgb.resize(size, Image.Resampling.BILINEAR) if size != rgb.size else rgb


def _demand_feasible(image: Image.Image, preprocess: Preprocess) -> None:
    width, height = resized_size(image.size, preprocess.resize)
    if max(image.width * image.height, width * height) > MAX_PIXELS:
        raise DatasetError(
            "image is too large",
            got=f"{image.width} x {image.height} pixels, {width} x {height} once resized",
            expected=f"at most {MAX_PIXELS:,} pixels, both as stored and once resized",
            next_step="remove the image; no photograph of ImageNet is near that size",
        )
