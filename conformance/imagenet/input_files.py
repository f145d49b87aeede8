"""Input tensors as ``.bin`` files, as the vendor's tools read them."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

from conformance.errors import ConformanceError, DatasetError
from conformance.image_names import stems_by_name
from conformance.imagenet.dataset import ImageFile
from conformance.imagenet.input_folder import claimed_folder
from conformance.imagenet.parallel import each_in_order
from conformance.imagenet.preprocess import Prepared, prepare_file
from conformance.spec import Preprocess
from conformance.whole_files import write_whole

SUFFIX = ".bin"


def shards(images: Sequence[ImageFile], size: int) -> Iterator[Sequence[ImageFile]]:
    """Yield the images in runs of at most ``size``, so that a folder never holds more.

    Raises:
        ConformanceError: ``size`` is below 1.
    """
    if size < 1:
        raise ConformanceError("a shard holds at least one image", got=size, expected="1 or more")
    for start in range(0, len(images), size):
        yield images[start : start + size]


def write_inputs(
    images: Sequence[ImageFile],
    folder: Path,
    preprocess: Preprocess,
    kind: Prepared,
    *,
    workers: int = 1,
    title: str = "",
) -> tuple[Path, ...]:
    """Write one ``STEM.bin`` per image and return the paths, in the images' order.

    Each file is written beside its target and renamed, so that a killed run leaves no file that
    looks whole; and ``input_folder.UNFINISHED`` lies among them until the last one is there, so
    that it leaves no folder that does. A file that is already there is written anew.

    Args:
        images: What to prepare.
        folder: Where the files go; made if absent. It may hold nothing else.
        preprocess: The model's geometry and normalisation.
        kind: ``float32`` (602,112 bytes for crop 224) or ``uint8`` (150,528 bytes, AIPP).
        workers: Processes that prepare and write.
        title: Title of a progress bar; empty shows none.

    Raises:
        DatasetError: An image cannot be prepared (names it), two would share one file, or there is
            none at all.
        ConformanceError: A file cannot be written, the folder holds files of another run, or
            another run writes into it.
    """
    if not images:
        raise DatasetError("no images", got="an empty list", expected="at least one image")
    stems = stems_by_name(image.name for image in images)
    targets = tuple(folder / f"{stems[image.name]}{SUFFIX}" for image in images)
    write = functools.partial(_write_chunk, preprocess=preprocess, kind=kind)
    jobs = list(zip(images, targets, strict=True))
    with claimed_folder(folder, targets):
        written = sum(each_in_order(write, jobs, workers=workers, title=title))
        if written != len(targets):
            raise ConformanceError("files were lost", got=written, expected=len(targets))
    return targets


def _write_chunk(
    jobs: Sequence[tuple[ImageFile, Path]], preprocess: Preprocess, kind: Prepared
) -> int:
    for image, target in jobs:
        write_whole(prepare_file(image.path, preprocess, kind).data, target)
    return len(jobs)
