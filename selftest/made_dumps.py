"""Results as the tools write them, made for tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from conformance.ascend.dumps import read_dumps
from conformance.predictions import Predictions

CLASSES = 10
NAMES = tuple(f"ILSVRC2012_val_{n:08d}.JPEG" for n in range(1, 5))
LABELS = np.arange(4, dtype=np.int64)
Table = npt.NDArray[np.float32]


def table(width: int = CLASSES) -> Table:
    return np.random.default_rng(1).normal(size=(len(NAMES), width)).astype(np.float32).round(4)


def line(row: Table) -> str:
    return "".join(f"{value:f} " for value in row) + "\n"


def stem(name: str) -> str:
    return name.removesuffix(".JPEG")


def txt(folder: Path, rows: Table | None = None, index: int = 1) -> Path:
    for name, row in zip(NAMES, table() if rows is None else rows, strict=True):
        (folder / f"{stem(name)}_{index}.txt").write_text(line(row))
    return folder


def binary(folder: Path, rows: Table | None = None, index: int = 1) -> Path:
    for name, row in zip(NAMES, table() if rows is None else rows, strict=True):
        (folder / f"{stem(name)}_{index}.bin").write_bytes(row.tobytes())
    return folder


def npy(folder: Path, rows: Table | None = None, index: int = 1) -> Path:
    for name, row in zip(NAMES, table() if rows is None else rows, strict=True):
        np.save(folder / f"{stem(name)}_{index}.npy", row[np.newaxis])
    return folder


WRITERS = {"txt": txt, "bin": binary, "npy": npy}
Writer = Callable[[Path, Table | None, int], Path]
each_format = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)


def read(folder: Path, **options: object) -> Predictions:
    return read_dumps(folder, NAMES, LABELS, CLASSES, **options)  # type: ignore[arg-type] # passed on as given


def second(folder: Path) -> Path:
    (path,) = folder.glob("ILSVRC2012_val_00000002_*")
    return path
