"""Measure one engine's peak memory: ``python -m benchmarks.memory_of_one ENGINE COUNT FOLDER``."""

from __future__ import annotations

import argparse
import importlib
import itertools
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from benchmarks.material import Material, gather
from benchmarks.reference_evaluation import BATCH, exported
from conformance.imagenet.batches import stream_batches
from conformance.imagenet.dataset import ImageFile
from conformance.imagenet.folders import image_files
from conformance.predictions import Predictions
from conformance.runners.onnxruntime_runner import infer_with_onnxruntime
from conformance.runners.torch_runner import infer_with_torch

if TYPE_CHECKING:
    import torch

MIB = 2**20
_REAL_IMAGES = 64
_WORKERS = 2


class Peak:
    """Highest memory of this process and its children while a ``with`` block runs, in bytes."""

    def __init__(self) -> None:
        self.highest = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            self.highest = max(self.highest, memory_now())


def memory_now() -> int:
    """Return the bytes that this process and its children hold and share with no other."""
    total = 0
    own = psutil.Process()
    for each in (own, *own.children(recursive=True)):
        try:
            total += each.memory_full_info().uss
        except psutil.NoSuchProcess:
            continue  # a worker that ended while it was asked
    return total


def one_layer(classes: int) -> torch.nn.Module:
    """Build a network whose own memory is next to nothing: a global mean and one layer."""
    import torch

    pool, flat = torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    return torch.nn.Sequential(pool, flat, torch.nn.Linear(3, classes)).eval()


def numbered(files: Sequence[ImageFile], count: int) -> list[ImageFile]:
    """Give some files further names until there are ``count`` images."""
    several = zip(range(count), itertools.cycle(files), strict=False)
    return [ImageFile(str(number), file.path) for number, file in several]


def peak_of(engine: str, count: int, folder: Path, material: Material) -> int:
    """Return the two peaks of one engine, added up, in bytes above the frameworks' own."""
    importlib.import_module("onnxruntime")
    files = [ImageFile(path.name, path) for path in image_files(folder)[:_REAL_IMAGES]]
    networks = (one_layer(material.spec.export.classes), material.network())
    total = 0
    for network, images in zip(networks, (numbered(files, count), files), strict=True):
        infer: Callable[..., Predictions] = infer_with_torch
        given: Any = network
        if engine == "onnxruntime":
            infer, given = infer_with_onnxruntime, exported(network, material)
        before = memory_now()
        with Peak() as peak:
            batches = stream_batches(images, material.spec.preprocess, BATCH, workers=_WORKERS)
            names = tuple(image.name for image in images)
            infer(given, batches, names, np.zeros(len(images), np.int64))
        total += peak.highest - before
    return total


def main() -> None:
    """Print the peak in MiB, as the last word."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", choices=["torch", "onnxruntime"])
    parser.add_argument("count", type=int)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        material = gather(None, None, Path(scratch), quick=True)
        print(peak_of(given.engine, given.count, given.folder, material) / MIB)


if __name__ == "__main__":
    main()
