"""Labelled photographs in a fixed order, and what may be claimed of them."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt

from conformance.errors import DatasetError
from conformance.image_names import stems_by_name
from conformance.imagenet.digests import sha256_of_files

FULL_COUNT = 50_000
FULL_CLASSES = 1000
_NAMES_SHOWN = 5


class ImageClass(StrEnum):
    """What a set of images is, and so what may be claimed from it."""

    FULL = "full"
    SUBSET = "subset"
    SAMPLE = "sample"


@dataclasses.dataclass(frozen=True, slots=True)
class ImageFile:
    """One photograph: its name within the set, and its file."""

    name: str
    path: Path


@dataclasses.dataclass(frozen=True, slots=True)
class LabelledImage(ImageFile):
    """One photograph and its class, counted from 0."""

    label: int


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Labelled images in a fixed order: rising by name.

    Attributes:
        root: The folder they come from.
        images: The images; names are unique, also after :func:`result_stem`.
        classes: Number of classes; every label lies below it.
        drawn: Whether this suite drew the images itself. Then they are a sample whatever their
            names say.

    Raises:
        DatasetError: No image at all, a repeated name, or a label that is no class.
    """

    root: Path
    images: tuple[LabelledImage, ...]
    classes: int
    drawn: bool = False

    def __post_init__(self) -> None:
        if not self.images:
            raise DatasetError(
                "no images",
                got="an empty set",
                expected="at least one labelled image",
                where={"folder": self.root},
                next_step="check that the folder is the right one and was unpacked",
            )
        _demand_unique(image.name for image in self.images)
        stems_by_name(image.name for image in self.images)
        for image in self.images:
            if not 0 <= image.label < self.classes:
                raise DatasetError(
                    "a label is no class",
                    got=image.label,
                    expected=f"0 to {self.classes - 1}",
                    where={"image": image.name},
                    next_step="correct the label",
                )
        object.__setattr__(self, "images", tuple(sorted(self.images, key=lambda i: i.name)))

    def __len__(self) -> int:
        return len(self.images)

    @property
    def names(self) -> tuple[str, ...]:
        """Image names, in order."""
        return tuple(image.name for image in self.images)

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Class of each image, int64, in order."""
        return np.array([image.label for image in self.images], np.int64)

    @property
    def image_class(self) -> ImageClass:
        """What the set is, derived from its names and labels alone, never claimed.

        ``full`` is the 50,000 standard names of ImageNet's validation set with 50 images of each
        of the 1000 classes.
        """
        if self.drawn:
            return ImageClass.SAMPLE
        return ImageClass.FULL if self._is_full() else ImageClass.SUBSET

    def _is_full(self) -> bool:
        if len(self) != FULL_COUNT or self.classes != FULL_CLASSES:
            return False
        standard = {f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, FULL_COUNT + 1)}
        per_class = np.bincount(self.labels, minlength=FULL_CLASSES)
        each = FULL_COUNT // FULL_CLASSES
        return {image.path.name for image in self.images} == standard and bool(
            (per_class == each).all()
        )

    def subset(self, count: int) -> Dataset:
        """Return ``count`` of the images, spread evenly over the classes, always the same ones.

        Within each class the images are ranked by the sha256 of their names; the subset takes all
        first-ranked images, then all second-ranked, and so on, in the order of their digests.
        Hence two runs take the same images, no class is ahead of another by more than one image
        (as long as it has any left), and a larger subset contains every smaller one.

        Raises:
            DatasetError: ``count`` is below 1 or above the number of images.
        """
        if not 1 <= count <= len(self):
            raise DatasetError(
                "a subset of that size cannot be taken",
                got=f"{count} images",
                expected=f"1 to {len(self)}, the images that are there",
                where={"folder": self.root},
                next_step="give another number to --images, or leave it out",
            )
        return dataclasses.replace(self, images=tuple(_stratified(self.images)[:count]))

    def contents(self, *, cache_file: Path | None = None, fresh: bool = False) -> list[str]:
        """Return the sha256 of each image file, in order.

        Args:
            cache_file: Where the digests of unchanged files are remembered; None reads them all.
            fresh: Read every file whatever the cache says, as release evidence needs.

        Raises:
            DatasetError: An image is missing or cannot be read.
        """
        paths = [image.path for image in self.images]
        return sha256_of_files(paths, cache_file=cache_file, fresh=fresh)

    def digest(self, contents: Sequence[str] | None = None) -> str:
        """Return the sha256 over every image's name, label and content, in order.

        Args:
            contents: What :meth:`contents` returned; None reads every file.

        Raises:
            DatasetError: An image is missing or cannot be read.
        """
        total = hashlib.sha256()
        for image, content in zip(self.images, contents or self.contents(), strict=True):
            total.update(f"{image.name}\0{image.label}\0{content}\n".encode(errors="surrogatepass"))
        return total.hexdigest()


def _demand_unique(names: Iterable[str]) -> None:
    repeated = [name for name, times in collections.Counter(names).items() if times > 1]
    if repeated:
        raise DatasetError(
            "image names are repeated",
            got=shortened(repeated),
            expected="each name once",
            next_step="rename the images",
        )


def _stratified(images: Iterable[LabelledImage]) -> list[LabelledImage]:
    """Order images by (rank within their class, digest of the name)."""
    taken: collections.Counter[int] = collections.Counter()
    ranked: list[tuple[int, str, LabelledImage]] = []
    for key, image in sorted((_name_key(image.name), image) for image in images):
        ranked.append((taken[image.label], key, image))
        taken[image.label] += 1
    return [image for *_, image in sorted(ranked, key=lambda entry: entry[:2])]


def _name_key(name: str) -> str:
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()


def shortened(names: Iterable[str]) -> str:
    """Return the first few of the names, and how many there are if that is not all."""
    every = list(names)
    shown = ", ".join(repr(name) for name in every[:_NAMES_SHOWN])
    return shown if len(every) <= _NAMES_SHOWN else f"{shown}, ... ({len(every)} in all)"
