"""The embedded sample: drawn pictures in ImageNet's layout, for when there are no photographs."""

from __future__ import annotations

import enum
import functools
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from conformance.errors import DatasetError
from conformance.imagenet.sample_drawing import Recipe, Size, draw_picture, invent_recipe

CLASS_COUNT = 100
# Two of each class and a little, so that no batch size above 2 divides it: the last is partial.
EVALUATION_COUNT = 202
FITTING_PER_CLASS = 3

_CLASS_STEP = 10  # spreads the classes over 0 to 999, so that no two labels are neighbours
_SHUFFLE = 37  # has no factor in common with CLASS_COUNT: files are in no order of classes
_GREY_EVERY, _CMYK_EVERY = 23, 29

# Width and height. Most make torchvision's geometry differ from its neighbours: the resized long
# side is truncated where rounding would add a pixel, and half a pixel of the crop's margin is
# rounded to even where truncation or rounding up would move it.
_SIZES: tuple[Size, ...] = (
    (500, 375),
    (317, 223),
    (229, 295),
    (404, 244),
    (205, 285),
    (319, 239),
    (243, 349),
    (333, 254),
    (375, 500),
    (327, 293),
    (249, 391),
    (314, 250),
    (211, 323),
    (357, 305),
    (252, 360),
    (300, 300),
)


class Half(enum.IntEnum):
    """The two halves of the sample; a picture belongs to exactly one."""

    EVALUATION = 0
    FITTING = 1


def class_ids() -> tuple[int, ...]:
    """Return the labels that the sample uses, rising."""
    return tuple(range(_CLASS_STEP // 2, CLASS_COUNT * _CLASS_STEP, _CLASS_STEP))


def label(index: int) -> int:
    """Return the class id of the picture of this index, the same in both halves."""
    return class_ids()[index * _SHUFFLE % CLASS_COUNT]


def encode_picture(half: Half, index: int) -> bytes:
    """Return one picture as a JPEG file, the same bytes for one version of Pillow.

    Everything is seeded by half and index, so neither order nor number of the pictures matters.
    """
    rng = _generator(half, index)
    picture = draw_picture(_recipe(label(index)), _SIZES[index % len(_SIZES)], rng)
    file = io.BytesIO()
    picture.convert(_mode(index)).save(file, "JPEG", quality=int(rng.integers(75, 96)))
    return file.getvalue()


def fitting_pictures(per_class: int = FITTING_PER_CLASS) -> Iterator[tuple[Image.Image, int]]:
    """Yield the pictures to fit a classifier to, each with its class id; none is ever evaluated."""
    for index in range(per_class * CLASS_COUNT):
        jpeg = encode_picture(Half.FITTING, index)
        yield Image.open(io.BytesIO(jpeg)), label(index)


def write_sample(folder: Path, *, count: int = EVALUATION_COUNT) -> None:
    """Write the evaluation half: ``val/*.JPEG`` and ``val_label.txt`` with ``NAME CLASS`` lines.

    The folder appears whole or not at all.

    Args:
        folder: Where to; must be absent or empty.
        count: Number of pictures. A smaller sample is the beginning of a larger one.

    Raises:
        DatasetError: The count is below 1, or the folder cannot be written or is not empty.
    """
    if count < 1:
        raise DatasetError("a sample without pictures", got=count, expected="a count of at least 1")
    try:
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
            # Not the scratch folder itself: that one is closed to all other users.
            unfinished = Path(scratch) / folder.name
            _write_files(unfinished, count)
            unfinished.replace(folder)
    except OSError as error:
        raise DatasetError(
            "the sample images cannot be written",
            got=error,
            expected="a folder that is absent or empty, in a writable one",
            where={"folder": folder},
            next_step="remove the folder, free some space, or choose another",
        ) from error


def _write_files(folder: Path, count: int) -> None:
    (folder / "val").mkdir(parents=True)
    lines = []
    for index in range(count):
        # Unlike ILSVRC2012_val_*, so that nobody takes the sample for the standard set.
        name = f"sample_val_{index + 1:08d}.JPEG"
        (folder / "val" / name).write_bytes(encode_picture(Half.EVALUATION, index))
        lines.append(f"{name} {label(index)}\n")
    (folder / "val_label.txt").write_text("".join(lines), "utf-8")


def _mode(index: int) -> str:
    if index % _GREY_EVERY == 0:
        return "L"
    return "CMYK" if index % _CMYK_EVERY == 0 else "RGB"


@functools.cache
def _recipe(class_id: int) -> Recipe:
    return invent_recipe(_generator(len(Half), class_id))


def _generator(stream: int, index: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([stream, index]))
