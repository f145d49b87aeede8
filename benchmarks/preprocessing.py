"""Images to input tensors: the guide's algorithm against ours."""

from __future__ import annotations

import functools
import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from benchmarks import guide_baseline
from benchmarks.material import Material
from benchmarks.measurement import Row, duel
from conformance.imagenet.dataset import ImageFile, LabelledImage
from conformance.imagenet.input_files import write_inputs
from conformance.imagenet.parallel import usable_cores
from conformance.imagenet.preprocess import prepare_file
from conformance.whole_files import write_whole

TITLE = "Preprocessing"
UNIT = "images/s"
NOTE = (
    "Bit-equal outputs, checked in the same run. The guide's algorithm always writes a file; the "
    "third line takes its file away as well, which leaves JPEG decoding and resizing, the same "
    "Pillow calls on both sides."
)
MANY = 2000


def rows(material: Material) -> Iterator[Row]:
    """Measure one core with and without files, and all cores."""
    images = material.images(200)
    files = [functools.partial(_write, image, material) for image in images]
    memory = [functools.partial(_prepare, image, material) for image in images]
    guide = [functools.partial(_guide, image, material) for image in images]
    bare = [functools.partial(guide_baseline.prepared, image.path) for image in images]
    with_files = duel(guide, files, rounds=material.rounds)
    _demand_equal(material, images)
    yield with_files.row("one core, files written", len(images), UNIT, goal=1.5)
    without = duel(guide, memory, rounds=material.rounds)
    yield without.row("one core, ours in memory, guide as it is", len(images), UNIT, goal=2)
    unwritten = duel(bare, memory, rounds=material.rounds)
    yield unwritten.row("one core, both in memory", len(images), UNIT)
    yield _all_cores(material)


def _all_cores(material: Material) -> Row:
    images = _linked(material, 64 if material.quick else MANY)
    cores = usable_cores()
    theirs, ours = material.scratch / "guide_all", material.scratch / "ours_all"

    def guide() -> None:
        _emptied(theirs)
        guide_baseline.prepare_all([image.path for image in images], theirs)

    def suite() -> None:
        _emptied(ours)
        write_inputs(images, ours, material.spec.preprocess, "float32", workers=cores)

    result = duel([guide], [suite], rounds=2 if material.quick else 3)
    job = f"all {cores} cores, {len(images):,} files written, start of the processes included"
    return result.row(job, len(images), UNIT)


def _linked(material: Material, count: int) -> list[ImageFile]:
    """Give the photographs further names until there are ``count``."""
    folder = material.scratch / "many"
    folder.mkdir()
    images = []
    for number, image in zip(range(count), itertools.cycle(material.dataset.images), strict=False):
        path = folder / f"many_{number:06d}.JPEG"
        path.symlink_to(image.path.absolute())
        images.append(ImageFile(path.name, path))
    return images


def _write(image: LabelledImage, material: Material) -> None:
    folder = material.scratch / "ours"
    folder.mkdir(exist_ok=True)
    target = folder / f"{image.name.partition('.')[0]}.bin"
    write_whole(prepare_file(image.path, material.spec.preprocess, "float32").data, target)


def _prepare(image: LabelledImage, material: Material) -> None:
    prepare_file(image.path, material.spec.preprocess, "float32")


def _guide(image: LabelledImage, material: Material) -> None:
    folder = material.scratch / "guide"
    folder.mkdir(exist_ok=True)
    guide_baseline.prepare(image.path, folder)


def _emptied(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()


def _demand_equal(material: Material, images: tuple[LabelledImage, ...]) -> None:
    for image in images:
        name = f"{image.name.partition('.')[0]}.bin"
        theirs, ours = (material.scratch / side / name for side in ("guide", "ours"))
        if theirs.read_bytes() != ours.read_bytes():
            raise AssertionError(f"{name} is not bit-equal to the guide's, in {os.fspath(ours)}")
