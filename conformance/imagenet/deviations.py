"""Known ways to prepare an image slightly wrong, and what each was measured to change.

A deviation is prepared here step by step with Pillow and numpy, apart from
:mod:`conformance.imagenet.preprocess`, so that a difference can be named: what equals the input
bit for bit is what happened. What each of them changes stands in ``deviations.toml``, which
``python -m benchmarks.deviations`` measures.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from conformance.imagenet.steps import Step, Steps, content_sha256
from conformance.spec import Preprocess

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]


@dataclasses.dataclass(frozen=True)
class Deviation:
    """A way to prepare an image; the defaults are the correct one.

    Attributes:
        name: What it does otherwise.
        step: The first step that shows it.
        draft: Whether the JPEG decoder may shrink the image by itself.
        exif: Whether the rotation that the camera noted is carried out.
        channels: Order of the channels.
        shorter_by: Pixels by which the short side is too short.
        long_side: How the long side becomes an integer.
        square: Whether both sides become the short one.
        filter: Pillow's filter.
        antialias: Whether shrinking averages over all pixels; without it, over two.
        reducing_gap: Pillow's parameter of that name, by which it shrinks in two steps.
        crop_offset: How the crop's offsets become integers.
        shift: Pixels by which the crop is moved to the right.
        mirrored: Whether left and right are exchanged.
        divisor: What pixels are divided by.
        mean: Mean to subtract, or None for the model's.
        std: What is divided by at the end, or None for the model's.
        fused: Whether one multiplication and one addition stand for the three operations.
    """

    name: str
    step: Step
    draft: bool = False
    exif: bool = False
    channels: str = "RGB"
    shorter_by: int = 0
    long_side: Callable[[float], int] = int
    square: bool = False
    filter: Image.Resampling = Image.Resampling.BILINEAR
    antialias: bool = True
    reducing_gap: float | None = None
    crop_offset: Callable[[float], int] = round
    shift: int = 0
    mirrored: bool = False
    divisor: int = 255
    mean: float | None = None
    std: float | None = None
    fused: bool = False


CORRECT = Deviation("correct", "decode")
DEVIATIONS = (
    Deviation("JPEG draft mode", "decode", draft=True),
    Deviation("EXIF rotation carried out", "decode", exif=True),
    Deviation("blue first (BGR)", "decode", channels="BGR"),
    Deviation("long side rounded, not truncated", "resize", long_side=round),
    Deviation("short side one pixel less", "resize", shorter_by=1),
    Deviation("squeezed into a square", "resize", square=True),
    Deviation("bicubic", "resize", filter=Image.Resampling.BICUBIC),
    Deviation("no antialias", "resize", antialias=False),
    Deviation("shrunk in two steps (reducing_gap=1)", "resize", reducing_gap=1.0),
    Deviation("crop one pixel to the right", "crop", shift=1),
    Deviation("crop offset by floor, not round", "crop", crop_offset=int),
    Deviation("mirrored", "crop", mirrored=True),
    Deviation("one multiplication and one addition", "normalise", fused=True),
    Deviation("mean 0.5 in every channel", "normalise", mean=0.5),
    Deviation("not divided by the deviation", "normalise", std=1.0),
    Deviation("not divided by 255", "normalise", divisor=1),
)


def deviant_steps(path: Path, preprocess: Preprocess, deviation: Deviation) -> Steps:
    """Prepare one image file as a deviation does.

    Raises:
        OSError: Pillow cannot read the file.
    """
    decoded = _decoded(path, preprocess, deviation)
    resized = _resized(decoded, preprocess, deviation)
    pixels = _cropped(resized, preprocess.crop, deviation)
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    return Steps(
        decode=np.asarray(decoded),
        resize=np.asarray(resized),
        crop=planes,
        normalise=_normalised(planes, preprocess, deviation),
        uint8=pixels,
    )


def _decoded(path: Path, preprocess: Preprocess, deviation: Deviation) -> Image.Image:
    with Image.open(path) as opened:
        if deviation.draft:
            opened.draft("RGB", (preprocess.resize, preprocess.resize))
        turned = ImageOps.exif_transpose(opened) if deviation.exif else opened
        image = turned.convert("RGB")
    channels = dict(zip("RGB", image.split(), strict=True))
    return Image.merge("RGB", [channels[name] for name in deviation.channels])


def _resized(image: Image.Image, preprocess: Preprocess, deviation: Deviation) -> Image.Image:
    short = preprocess.resize - deviation.shorter_by
    long = deviation.long_side(short * max(image.size) / min(image.size))
    size = (short, long) if image.width < image.height else (long, short)
    size = (short, short) if deviation.square else size
    if deviation.antialias:
        return image.resize(size, deviation.filter, reducing_gap=deviation.reducing_gap)
    # Interpolates between the four nearest pixels, however much the picture shrinks.
    across, down = (old / new for old, new in zip(image.size, size, strict=True))
    matrix = (across, 0, 0, 0, down, 0)
    return image.transform(size, Image.Transform.AFFINE, matrix, deviation.filter)


def _cropped(image: Image.Image, side: int, deviation: Deviation) -> Bytes:
    left, top = (deviation.crop_offset((length - side) / 2) for length in image.size)
    left += deviation.shift
    pixels = np.array(image.crop((left, top, left + side, top + side)))
    return pixels[:, ::-1] if deviation.mirrored else pixels


def _normalised(planes: Bytes, preprocess: Preprocess, deviation: Deviation) -> Floats:
    mean, std = (
        np.array(wanted if other is None else [other] * 3, np.float32)[:, None, None]
        for wanted, other in ((preprocess.mean, deviation.mean), (preprocess.std, deviation.std))
    )
    divisor = np.float32(deviation.divisor)
    tensor = planes.astype(np.float32)
    fused = deviation.fused
    made: Floats = (
        tensor * (1 / (divisor * std)) - mean / std if fused else ((tensor / divisor - mean) / std)
    )
    return made


def named_deviation(
    made: Sequence[tuple[Path, str]],
    preprocess: Preprocess,
    step: Step,
    among: Sequence[Deviation] = DEVIATIONS,
) -> Deviation | None:
    """Return the deviation that makes exactly this of every image, None if none does.

    Args:
        made: Image files, and the sha256 of the bytes that a step made of each.
        preprocess: The model's geometry and normalisation.
        step: That step.
        among: The deviations to try.
    """
    return next(
        (
            deviation
            for deviation in among
            if made
            and all(
                content_sha256(getattr(deviant_steps(path, preprocess, deviation), step)) == sha256
                for path, sha256 in made
            )
        ),
        None,
    )
