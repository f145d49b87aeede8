"""The folder of a preparation: one run at a time, and nobody else's files in it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from conformance.errors import ConformanceError
from conformance.imagenet.dataset import shortened
from conformance.whole_files import PART_NAME, PART_SUFFIX

# Lies among the files until all are there, so that no part of a set is taken for the whole. Who
# prepares holds a lock on it.
UNFINISHED = f".unfinished{PART_SUFFIX}"
_OURS = re.compile(f"{PART_NAME}|{re.escape(UNFINISHED)}")


@contextlib.contextmanager
def claimed_folder(folder: Path, targets: Sequence[Path]) -> Iterator[None]:
    """Hold a folder while inputs are written into it; its mark goes when the block succeeds.

    What a killed run left half-written is cleared. Nothing else is, and nothing at all where the
    folder is refused.

    Args:
        folder: Made if absent.
        targets: The files that will be written.

    Raises:
        ConformanceError: The folder cannot be used, holds other files, or another run writes
            into it.
    """
    mark = folder / UNFINISHED
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _demand_no_others(folder, targets)
            held = stack.enter_context(mark.open("a"))
            _lock(held.fileno(), mark)
            _demand_no_others(folder, targets)
            _clear_parts(folder)
        except OSError as error:
            raise ConformanceError(
                "the folder for the inputs cannot be used",
                got=error,
                expected="a folder that you may write to, on a disk that can lock files",
                where={"folder": folder},
                next_step="give another folder",
            ) from None
        yield
        mark.unlink()


def _lock(descriptor: int, mark: Path) -> None:
    """Lock the mark; it must still be the file of its name, which a run that ends removes."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        alone = os.path.samestat(os.fstat(descriptor), mark.stat())
    except (BlockingIOError, FileNotFoundError):
        alone = False
    if not alone:
        raise ConformanceError(
            "another preparation writes into this folder",
            got=f"{mark.name} is locked by it",
            expected="one preparation at a time: each would overwrite the other's inputs",
            where={"folder": mark.parent},
            next_step="wait until it has ended, or give another folder",
        )


def _demand_no_others(folder: Path, targets: Sequence[Path]) -> None:
    wanted = {path.name for path in targets}
    names = {path.name for path in folder.iterdir()} - wanted
    if foreign := sorted(name for name in names if not _OURS.fullmatch(name)):
        raise ConformanceError(
            "the folder holds files of another run, which the inference tool would also read",
            got=shortened(foreign),
            expected="an empty folder, or one with inputs of the same images",
            where={"folder": folder},
            next_step="empty the folder, or give another one",
        )


def _clear_parts(folder: Path) -> None:
    for path in folder.iterdir():
        if re.fullmatch(PART_NAME, path.name):
            path.unlink(missing_ok=True)
