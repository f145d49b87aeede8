"""Input tensors in memory, batch by batch, for runners that need no files."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Generator, Sequence
from pathlib import Path

import numpy as np

from conformance.errors import ConfigError
from conformance.imagenet.dataset import ImageFile
from conformance.imagenet.parallel import each_in_order
from conformance.imagenet.preprocess import Bytes, Floats, crop_planes, naming, normalised, open_rgb
from conformance.spec import Preprocess


@dataclasses.dataclass(frozen=True, slots=True)
class InputBatch:
    """Images that are inferred together.

    Attributes:
        names: Image names, n of them.
        tensors: float32, n x 3 x crop x crop; each batch owns its memory.
    """

    names: tuple[str, ...]
    tensors: Floats


def stream_batches(
    images: Sequence[ImageFile],
    preprocess: Preprocess,
    batch: int,
    *,
    workers: int = 1,
    title: str = "",
) -> Generator[InputBatch, None, None]:
    """Yield every image once, in order, ``batch`` at a time; the last batch may be smaller.

    With several workers the images are decoded ahead of the consumer in other processes, a few
    dozen of them at most; they cross as uint8 and are normalised here, a quarter of the traffic.

    Args:
        images: What to prepare.
        preprocess: The model's geometry and normalisation.
        batch: Images per batch.
        workers: Processes that decode; 1 decodes in this one.
        title: Title of a progress bar; empty shows none.

    Raises:
        ConfigError: ``batch`` is below 1.
        DatasetError: An image cannot be prepared; names it.
    """
    if batch < 1:
        raise ConfigError(
            "a batch of that size cannot be made", got=batch, expected="1 or more images"
        )
    crop = functools.partial(cropped_chunk, preprocess=preprocess)
    rest: list[Bytes] = []
    start = 0
    for planes in each_in_order(crop, images, workers=workers, title=title):
        rest.extend(planes)
        while len(rest) >= batch:
            yield _batch(images[start : start + batch], rest[:batch], preprocess)
            del rest[:batch]
            start += batch
    if rest:
        yield _batch(images[start:], rest, preprocess)


def cropped_chunk(images: Sequence[ImageFile], preprocess: Preprocess) -> Bytes:
    """Return the resized, cropped pictures of some images: uint8, n x 3 x crop x crop.

    Raises:
        DatasetError: An image cannot be prepared; names it.
    """
    return np.stack([_planes(image.path, preprocess) for image in images])


def _planes(path: Path, preprocess: Preprocess) -> Bytes:
    image = open_rgb(path, preprocess)
    with naming(path):
        return crop_planes(image, preprocess)


def _batch(
    images: Sequence[ImageFile], planes: Sequence[Bytes], preprocess: Preprocess
) -> InputBatch:
    names = tuple(image.name for image in images)
    return InputBatch(names, normalised(np.stack(planes), preprocess))
