"""The info file of the ``benchmark`` tool: one line ``INDEX PATH WIDTH HEIGHT`` per input."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image

from conformance.errors import ConformanceError, DatasetError
from conformance.imagenet.folders import image_files
from conformance.imagenet.input_files import SUFFIX
from conformance.imagenet.input_folder import UNFINISHED
from conformance.imagenet.preprocess import CHANNELS, IMAGE_FORMATS
from conformance.whole_files import write_whole

JPEG_EXTENSIONS = (".jpg", ".jpeg")
# Pillow's names: MPO is a JPEG file with further pictures behind the first.
_JPEG_FORMATS = ("JPEG", "MPO")
_FLOAT32 = 4


def bin_entries(paths: Iterable[Path], width: int, height: int, *, spelt: str = "") -> list[str]:
    """Return the lines for ``.bin`` files, in the order given, indices from 0.

    Args:
        paths: The files.
        width: Width of every input, in pixels.
        height: Its height; the same, for inputs are cropped to squares.
        spelt: Their folder as the lines are to spell it, such as ``./prep_dataset``; empty for
            the paths as they are.

    Raises:
        ConformanceError: A path holds a blank, which the format cannot carry; or there is no file.
        DatasetError: A file's size is neither that of float32 nor of uint8 values for
            3 x height x width, the sizes are mixed or no square's, or the tool would give two
            files one result.
    """
    every = list(paths)
    _demand_square(every, width, height)
    _demand_sizes(every, width * height * CHANNELS)
    return _lines([(path, width, height) for path in every], spelt)


def jpg_entries(paths: Iterable[Path], *, spelt: str = "") -> list[str]:
    """Return the lines for JPEG files, in the order given, with each picture's own size.

    One index runs over all files; the vendor's script counts anew for each spelling of the
    extension, which gives two lines one index.

    Raises:
        ConformanceError: A path holds a blank, which the format cannot carry; or there is no file.
        DatasetError: A file is no JPEG image, or the tool would give two files one result.
    """
    return _lines([(path, *_picture_size(path)) for path in paths], spelt)


def input_folder(folder: Path) -> tuple[Path, ...]:
    """Return the ``.bin`` files of a folder by name (the vendor's script takes any order).

    For zero-padded names, as ImageNet's are, that is also their natural order.

    Raises:
        DatasetError: The folder is missing or empty, its preparation did not end, or it holds
            anything but ``.bin`` files.
    """
    files = image_files(folder)
    if folder / UNFINISHED in files:
        raise DatasetError(
            "the preparation of these inputs did not end",
            got=f"{len(files) - 1} files, and {UNFINISHED} among them",
            expected="the inputs of all images",
            where={"folder": folder},
            next_step="prepare them again; what is there is written anew",
        )
    return _only(files, (SUFFIX,), folder)


def jpg_folder(folder: Path) -> tuple[Path, ...]:
    """Return the JPEG files of a folder by name, whatever the case of their extension.

    Raises:
        DatasetError: The folder is missing or empty, or holds anything but JPEG files.
    """
    return _only(image_files(folder), JPEG_EXTENSIONS, folder)


def write_info(lines: Iterable[str], target: Path) -> None:
    """Write the lines to ``target``, beside it first, so that it is whole or not there.

    Raises:
        ConformanceError: The file cannot be written.
    """
    write_whole("".join(lines).encode("utf-8", "surrogateescape"), target)


def _lines(entries: Sequence[tuple[Path, int, int]], spelt: str) -> list[str]:
    _demand_stems([path for path, *_ in entries])
    lines = []
    for index, (path, width, height) in enumerate(entries):
        # A Path drops the leading ./ that the guide's lines have.
        name = os.path.join(spelt, path.name) if spelt else str(path)  # noqa: PTH118 - see above
        if any(letter.isspace() for letter in name):
            raise ConformanceError(
                "the info file cannot carry a path with a blank",
                got=repr(name),
                expected="a path without blanks",
                next_step="rename the file or its folder; the tool reads columns split at blanks",
            )
        lines.append(f"{index} {name} {width} {height}\n")
    if not lines:
        raise ConformanceError("an info file of no input", got="no files", expected="one or more")
    return lines


def _demand_stems(paths: Iterable[Path]) -> None:
    """Refuse two files of one result: the tool cuts a name at its first dot."""
    owners: dict[str, Path] = {}
    for path in paths:
        stem = path.name.partition(".")[0]
        if owners.setdefault(stem, path) != path:
            raise DatasetError(
                "the tool would write one result for two files",
                got=f"{owners[stem].name} and {path.name}, both {stem} before the first dot",
                expected="names that differ before their first dot",
                where={"folder": path.parent},
                next_step="rename one of the two",
            )


def _demand_square(paths: Sequence[Path], width: int, height: int) -> None:
    """Refuse a shape that no prepared input has, though its size in bytes may fit."""
    if width == height > 0:
        return
    sizes = {path.stat().st_size for path in paths}
    pixels = {size // CHANNELS // each for size in sizes for each in (1, _FLOAT32)}
    sides = sorted(math.isqrt(count) for count in pixels if math.isqrt(count) ** 2 == count > 0)
    raise DatasetError(
        "no prepared input has this width and height",
        got=f"{width} x {height}",
        expected="a square; these files would fit "
        + (" or ".join(f"{side} x {side}" for side in sides) or "none"),
        next_step="give the crop of the model, for SqueezeNet1_1 224 224",
    )


def _demand_sizes(paths: Iterable[Path], values: int) -> None:
    by_size: dict[int, Path] = {}
    for path in paths:
        by_size.setdefault(path.stat().st_size, path)
    wrong = [path for size, path in by_size.items() if size not in {values, values * _FLOAT32}]
    if wrong or len(by_size) > 1:
        raise DatasetError(
            "inputs are of the wrong size",
            got=", ".join(f"{size:,} bytes ({path.name})" for size, path in by_size.items()),
            expected=f"all {values * _FLOAT32:,} bytes (float32) or all {values:,} (uint8)",
            where={"file": (wrong or list(by_size.values()))[0]},
            next_step="write the inputs again; the tool would read past or across images",
        )


def _picture_size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path, formats=IMAGE_FORMATS) as image:
            if image.format not in _JPEG_FORMATS:
                raise ValueError(f"a {image.format} file")
            return image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DatasetError(
            "image is no JPEG file",
            got=error,
            expected="a JPEG file, whatever its name says: the chip's decoder takes no other",
            where={"image": path.name, "file": path},
            next_step="restore the file from its source, or convert it",
        ) from None


def _only(paths: tuple[Path, ...], extensions: tuple[str, ...], folder: Path) -> tuple[Path, ...]:
    if other := next((path for path in paths if path.suffix.lower() not in extensions), None):
        raise DatasetError(
            "the folder holds something else",
            got=other.name,
            expected=f"only files ending in {', '.join(extensions)}",
            where={"folder": folder},
            next_step="move it elsewhere; every file of the folder becomes a line",
        )
    return paths
