"""What a preparation needs against what the machine has, before anything is written."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import psutil

from conformance.errors import ConformanceError
from conformance.imagenet.preprocess import MAX_PIXELS, Prepared, input_bytes
from conformance.spec import Preprocess

GIB = 2**30
# Never fill a disk to the last byte: the tools write their results beside the inputs.
_KEPT_FREE = 0.1
_WORKER_BYTES = 64 * 2**20  # an interpreter with numpy and Pillow, measured as 45 MiB
_BYTES_PER_PIXEL = 4  # Pillow keeps RGB in 32 bits
_COPIES = 3  # as stored, as RGB, and resized


@dataclasses.dataclass(frozen=True, slots=True)
class Preflight:
    """Need against what is free. Bytes, except for inodes (files) and shard (images).

    Attributes:
        images: Images to prepare.
        image_bytes: Size of one input.
        workers: Processes that prepare.
        free_bytes: Free on the disk of the folder.
        free_inodes: Files that may still be made there; None where the file system has no limit.
        free_memory: Memory available now.
        shard: Images whose inputs lie on the disk at once.
    """

    images: int
    image_bytes: int
    workers: int
    free_bytes: int
    free_inodes: int | None
    free_memory: int
    shard: int

    @property
    def need_bytes(self) -> int:
        """Bytes on disk for all images at once."""
        return self.images * self.image_bytes

    @property
    def need_memory(self) -> int:
        """Memory for the workers while each decodes an ordinary photograph."""
        return self.workers * _WORKER_BYTES

    @property
    def worst_memory(self) -> int:
        """Memory if every worker decodes the largest image that is accepted, at the same time."""
        return self.workers * (_WORKER_BYTES + _COPIES * MAX_PIXELS * _BYTES_PER_PIXEL)

    def describe(self) -> str:
        """Return need against what is free, one line each, for a reader."""
        inodes = "no limit" if self.free_inodes is None else f"{self.free_inodes:,} free"
        at_once = f"{self.shard * self.image_bytes / GIB:.2f} at once"
        disk = (
            f"{self.need_bytes / GIB:.2f} GiB needed, {at_once}, {self.free_bytes / GIB:.2f} free"
        )
        largest = f"{self.worst_memory / GIB:.2f} with the largest images that are accepted"
        memory = f"{self.need_memory / GIB:.2f} GiB needed ({largest})"
        rows = {
            "disk": disk,
            "files": f"{self.images:,} needed, {self.shard:,} at once, {inodes}",
            "memory": f"{memory}, {self.free_memory / GIB:.2f} free",
            "shards": f"{-(-self.images // self.shard)} of up to {self.shard:,} images",
        }
        return "\n".join(f"{name}: {text}" for name, text in rows.items())


def preflight(
    images: int,
    preprocess: Preprocess,
    kind: Prepared,
    folder: Path,
    *,
    workers: int = 1,
    most: int | None = None,
) -> Preflight:
    """Weigh the need for ``images`` inputs in ``folder`` against the machine.

    Args:
        images: Images to prepare, at least 1.
        preprocess: The model's geometry, which fixes the size of one input.
        kind: ``float32`` or ``uint8``.
        folder: Where the inputs will go; it need not exist yet.
        workers: Processes that prepare.
        most: Most images to have on the disk at once; None for as many as fit.

    Raises:
        ConformanceError: Not even one input fits on the disk, or the memory is too small.
    """
    disk = os.statvfs(_existing(folder))
    free_bytes = disk.f_bavail * disk.f_frsize
    free_inodes = disk.f_favail if disk.f_files else None
    size = input_bytes(preprocess, kind)
    room = min(int(free_bytes * (1 - _KEPT_FREE)) // size, images, most or images)
    shard = room if free_inodes is None else min(room, free_inodes)
    found = Preflight(
        images, size, workers, free_bytes, free_inodes, psutil.virtual_memory().available, shard
    )
    if shard < 1:
        raise _too_small("the disk is full", found, "another folder, on a larger disk", folder)
    if found.need_memory > found.free_memory:
        raise _too_small("the memory is too small", found, "fewer processes", folder)
    return found


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest parent that is there."""
    path = folder.absolute()
    while not os.path.exists(path):  # noqa: PTH110 - Path.exists() raises for a closed parent
        path = path.parent
    return path


def _too_small(what: str, found: Preflight, instead: str, folder: Path) -> ConformanceError:
    return ConformanceError(
        what,
        got=(
            f"{found.free_bytes:,} bytes and {found.free_inodes} files free on the disk, "
            f"{found.free_memory:,} bytes of memory"
        ),
        expected=f"room for one input of {found.image_bytes:,} bytes and {found.need_memory:,} "
        "bytes of memory",
        where={"folder": folder},
        next_step=f"use {instead}",
    )
