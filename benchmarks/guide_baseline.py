"""The opponent: the algorithms of the guide's scripts, written anew and no faster than there."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
RESIZE = 256
CROP = 224
FILES_PER_PROCESS = 500
DEPTH = 5


def prepared(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Return one input as the guide computes it: a transposed view, 3 x 224 x 224."""
    image = Image.open(path).convert("RGB")
    width, height = image.size
    if min(width, height) != RESIZE:
        if width < height:
            size = (RESIZE, int(RESIZE * height / width))
        else:
            size = (int(RESIZE * width / height), RESIZE)
        image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = (round((side - CROP) / 2) for side in image.size)
    image = image.crop((left, top, left + CROP, top + CROP))
    tensor = np.array(image, dtype=np.float32).transpose(2, 0, 1) / np.float32(255)
    tensor -= np.array(MEAN, dtype=np.float32)[:, None, None]
    tensor /= np.array(STD, dtype=np.float32)[:, None, None]
    return tensor


def prepare(path: Path, folder: Path) -> None:
    """Write one input; from a transposed view numpy writes value by value."""
    prepared(path).tofile(folder / f"{path.name.partition('.')[0]}.bin")


def _prepare_several(paths: Sequence[Path], folder: Path) -> None:
    for path in paths:
        prepare(path, folder)


def prepare_all(paths: Sequence[Path], folder: Path) -> None:
    """Write all inputs, one process for each 500 files (at least two, as for 50,000)."""
    size = min(FILES_PER_PROCESS, -(-len(paths) // 2))
    parts = [paths[start : start + size] for start in range(0, len(paths), size)]
    with multiprocessing.Pool(len(parts)) as pool:
        pool.starmap(_prepare_several, [(part, folder) for part in parts])


def score(dumps: Path, label_file: Path, target: Path) -> list[float]:
    """Score TXT results as the guide does, and return the Top1 to Top5 accuracies."""
    labels = {}
    for line in label_file.read_text().splitlines():
        name, label = line.strip().split(" ")
        labels[name.split(".")[0]] = label
    hits = np.zeros(DEPTH)
    files = os.listdir(dumps)  # noqa: PTH208 - as the guide lists them
    for file in files:
        scores = _one_result(dumps / file)
        order = np.argsort(-scores)
        wanted = int(labels[file.split(".")[0].rpartition("_")[0]])
        for position in range(DEPTH):
            if str(wanted) == str(order[position]):
                hits[position] += 1
                break
    accuracies: list[float] = (np.cumsum(hits) / len(files)).tolist()
    target.write_text(json.dumps(accuracies))
    return accuracies


def _one_result(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    with path.open() as file:
        fields = file.readline().strip().split(" ")
    scores = np.zeros(len(fields), dtype=np.float32)
    for position, field in enumerate(fields):
        scores[position] = np.float32(field)
    return scores
