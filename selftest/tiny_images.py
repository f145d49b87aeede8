"""A few tiny photographs in the guide's layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def write_photographs(root: Path, count: int = 3) -> None:
    """Write ``count`` noisy JPEG files of 40 x 30 pixels into ``root/val``, and their labels."""
    (root / "val").mkdir(parents=True)
    rng = np.random.default_rng(3)
    names = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, count + 1)]
    for name in names:
        pixels = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "val" / name)
    labels = (f"{name} {label}\n" for label, name in enumerate(names))
    (root / "val_label.txt").write_text("".join(labels))
