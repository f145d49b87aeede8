"""The label file: one image and one class per line, as the Ascend ModelZoo guide keeps it."""

from __future__ import annotations

import re
from pathlib import Path

from conformance.errors import DatasetError

LABEL_FILE = "val_label.txt"
# int() alone would also take signs, underscores and digits of other scripts.
_LABEL = re.compile(r"[0-9]{1,9}")
_EXAMPLE = "`ILSVRC2012_val_00000001.JPEG 65`, one image per line"


def read_labels(path: Path, classes: int) -> dict[str, int]:
    """Read ``NAME LABEL`` lines into a mapping from image name to class, in file order.

    What loses nothing is accepted: CRLF line ends, a UTF-8 byte order mark, tabs or several blanks
    between the columns, blank lines, and blanks within a name (the last column is the label).

    Args:
        path: The label file, in UTF-8.
        classes: Number of classes; labels run from 0 to ``classes - 1``.

    Raises:
        DatasetError: The file cannot be read or is empty, or a line has no label, a label that is
            no class, a repeated image or a path in place of a name. Names file and line.
    """
    labels: dict[str, int] = {}
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        name, label = _columns(line, classes, path, number)
        if name in labels:
            raise _wrong("an image is labelled twice", name, "each image once", path, number)
        labels[name] = label
    if not labels:
        raise DatasetError(
            "label file is empty",
            expected=_EXAMPLE,
            where={"file": path},
            next_step="restore the label file that belongs to the images",
        )
    return labels


def _lines(path: Path) -> list[str]:
    try:
        # Not splitlines(): that would also split at rare characters which a file name may hold.
        return path.read_text("utf-8-sig").replace("\r\n", "\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            "label file cannot be read",
            got=error,
            expected=f"a UTF-8 text file with lines such as {_EXAMPLE}",
            where={"file": path},
            next_step="check that the file exists, is readable for you, and is UTF-8",
        ) from None


def _columns(line: str, classes: int, path: Path, number: int) -> tuple[str, int]:
    columns = line.strip().rsplit(None, 1)
    if len(columns) != 2:
        raise _wrong("a line has no label", line.strip(), _EXAMPLE, path, number)
    name, text = columns
    if "/" in name or "\\" in name:
        raise _wrong("a line names a path", name, "a bare file name in val/", path, number)
    if not _LABEL.fullmatch(text) or int(text) >= classes:
        raise _wrong("a label is no class", text, f"0 to {classes - 1}", path, number)
    return name, int(text)


def _wrong(what: str, got: str, expected: str, path: Path, number: int) -> DatasetError:
    return DatasetError(
        f"label file is wrong: {what}",
        got=repr(got),
        expected=expected,
        where={"file": path, "line": number},
        next_step="correct the line; labels are torchvision's class indices, counted from 0",
    )
