"""Files that are whole or not there."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from conformance.errors import ConformanceError

PART_SUFFIX = ".part"
_RANDOM_BYTES = 8
# What names a temporary file of ours, as a regular expression; a user's file is not named so.
PART_NAME = rf"\.[0-9a-f]{{{2 * _RANDOM_BYTES}}}\{PART_SUFFIX}"


def write_whole(content: bytes | memoryview, target: Path) -> None:
    """Write ``content`` beside ``target`` under a hidden name of its own, then rename it.

    Whatever happens in between (a full disk, Ctrl-C, a kill), no file of the target's name is ever
    half-written. Two writers of one target do not meet: the file is that of the last, and whole.

    Raises:
        ConformanceError: The file cannot be written; names it.
    """
    part = target.with_name(f".{secrets.token_hex(_RANDOM_BYTES)}{PART_SUFFIX}")
    try:
        try:
            with part.open("xb") as file:
                file.write(content)
            os.replace(part, target)  # noqa: PTH105 - keeps both names in the error
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(target, error) from error


def demand_apart(target: Path, *, files: Iterable[Path] = (), folder: Path | None = None) -> None:
    """Refuse to write over one of the files that the new one is made of, or among them.

    Args:
        target: The file to be written.
        files: Some of what it is made of.
        folder: All of whose files it is made of.

    Raises:
        ConformanceError: It would, or its folder is not there; names both.
    """
    try:
        beside = target.parent.stat()
        own = [path for path in files if path.exists() and target.exists()]
        lost = [path for path in own if path.samefile(target)]
        if folder is not None and folder.exists() and os.path.samestat(beside, folder.stat()):
            lost.append(folder)
    except OSError as error:
        raise _unwritable(target, error) from None
    if lost:
        raise ConformanceError(
            "the file to write is, or lies among, the files that it is made of",
            got=target,
            expected=f"another place than {lost[0]}",
            where={"file": target},
            next_step="give another name or folder; nothing was changed",
        )


def write_whole_with_folder(content: bytes | memoryview, target: Path) -> None:
    """Write a file as :func:`write_whole` does, and the folder that it lies in.

    Raises:
        ConformanceError: The folder or the file cannot be written; names the file.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(target, error) from error
    write_whole(content, target)


def remove_earlier(target: Path) -> None:
    """Remove the file of an earlier run, if there is one, so that a failure leaves none.

    Raises:
        ConformanceError: It is there and cannot be removed; names it.
    """
    try:
        target.unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(target, error) from None


def _unwritable(target: Path, error: OSError) -> ConformanceError:
    absent = error.errno == errno.ENOENT
    return ConformanceError(
        "a file cannot be written",
        got=error,
        expected="room and permission to write",
        where={"file": target},
        next_step="make the folder first" if absent else "free some space, or give another folder",
    )
