"""Peak memory of evaluating 50,000 images, above what the frameworks take by themselves."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from benchmarks.material import Material
from benchmarks.measurement import Row

TITLE = "Memory"
NOTE = (
    "Memory of the process and its workers that no other process shares (USS), sampled every "
    "50 ms, minus the same after the frameworks were imported. Two runs are added up, so the "
    "figure is an upper bound: all the images, decoded by the workers, through a network of one "
    "layer (what grows with their number), and 64 through the real network (what does not)."
)
COUNT = 50_000
QUICK_COUNT = 2000
LIMIT_MIB = 1024


def rows(material: Material) -> Iterator[Row]:
    """Measure PyTorch and ONNX Runtime, each in a process of its own."""
    count = QUICK_COUNT if material.quick else COUNT
    folder = str(material.dataset.images[0].path.parent)
    for engine in ("torch", "onnxruntime"):
        command = [sys.executable, "-m", "benchmarks.memory_of_one", engine, str(count), folder]
        ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603 - our own interpreter and module
        peak_mib = float(ended.stdout.split()[-1])
        yield Row(
            f"{count:,} images streamed through {engine}, batches of 16, two workers",
            ours=f"{peak_mib:,.0f} MiB",
            goal=f"≤ {LIMIT_MIB} MiB",
            met=peak_mib <= LIMIT_MIB,
        )
