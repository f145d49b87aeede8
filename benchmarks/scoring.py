"""Results of 50,000 images to Top-N: the guide's scorer on TXT against ours on TXT and BIN."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks import guide_baseline
from benchmarks.material import Material
from benchmarks.measurement import Row, duel
from conformance.metrics.guide_commands import evaluate_dumps

TITLE = "Scoring"
UNIT = "results/s"
NOTE = (
    "1000 classes, `%f` texts as `ais_bench` writes them. Ours also "
    "checks that every result is there, whole, finite and alone; it reads TXT on all cores, the "
    "guide's scorer on one, as it does. Both sides give the same Top1 to Top5."
)
COUNT = 50_000
QUICK_COUNT = 1000
CLASSES = 1000
_DIFFERENT = 250  # different contents; more would measure the generator


def rows(material: Material) -> Iterator[Row]:
    """Measure TXT against TXT and BIN against the guide's TXT."""
    count = QUICK_COUNT if material.quick else COUNT
    folder = material.scratch / "scoring"
    txt, binary, labels = _written(folder, count)
    expected = guide_baseline.score(txt, labels, folder / "guide.json")
    for dumps, goal in ((txt, 5.0), (binary, 20.0)):
        target = folder / f"{dumps.name}.json"
        result = duel(
            [lambda: guide_baseline.score(txt, labels, folder / "guide.json")],
            [functools.partial(evaluate_dumps, dumps, labels, target)],
            rounds=2 if material.quick else 3,
        )
        _demand_same(target, expected)
        job = f"{count:,} {dumps.name.upper()} results against TXT by the guide's scorer"
        yield result.row(f"{job}, {statistics.median(result.ours_s):.1f} s", count, UNIT, goal)


def _written(folder: Path, count: int) -> tuple[Path, Path, Path]:
    txt, binary, label_file = folder / "txt", folder / "bin", folder / "val_label.txt"
    for each in (txt, binary):
        each.mkdir(parents=True)
    random = np.random.default_rng(0)
    tables = random.normal(0, 5, (_DIFFERENT, CLASSES)).astype(np.float32).round(6)
    texts = ["".join(f"{value:f} " for value in row) + "\n" for row in tables]
    labels = random.integers(0, CLASSES, count)
    labels[::2] = tables.argmax(axis=1)[np.arange(0, count, 2) % _DIFFERENT]
    for number in range(count):
        stem = f"ILSVRC2012_val_{number + 1:08d}_1"
        (txt / f"{stem}.txt").write_text(texts[number % _DIFFERENT])
        (binary / f"{stem}.bin").write_bytes(tables[number % _DIFFERENT].tobytes())
    names = (f"ILSVRC2012_val_{number + 1:08d}.JPEG" for number in range(count))
    lines = (f"{name} {label}\n" for name, label in zip(names, labels, strict=True))
    label_file.write_text("".join(lines))
    return txt, binary, label_file


def _demand_same(target: Path, accuracies: list[float]) -> None:
    text = target.read_text()
    for n, accuracy in enumerate(accuracies, start=1):
        if f'"Top{n} accuracy", "value": "{round(np.float64(accuracy) * 100, 2)}%"' not in text:
            raise AssertionError(f"Top{n} differs from the guide's {accuracy}: {text}")
