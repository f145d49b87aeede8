"""Pictures for tests: drawn in place, or the real photographs where a checkout has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conformance.imagenet.dataset import Dataset, LabelledImage
from conformance.imagenet.folders import open_dataset

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
PHOTOGRAPHS = SHARED / "imagenet-sample"
WEIGHTS = SHARED / "squeezenet1_1-fp16-rounded.pth"

WEIGHTS_OPTION = f"--weights={WEIGHTS if WEIGHTS.exists() else 'sample'}"

needs_photographs = pytest.mark.skipif(
    not PHOTOGRAPHS.is_dir(), reason=f"the real photographs are not at {PHOTOGRAPHS}"
)


def real_photographs() -> Dataset:
    """Open the 500 photographs; only under :data:`needs_photographs`."""
    return open_dataset(PHOTOGRAPHS, 1000)


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """Draw an RGB picture of smooth noise, so that every step of resizing matters."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def drawn(folder: Path, count: int, size: tuple[int, int] = (120, 90)) -> Dataset:
    """Write ``count`` JPEG files of different content and open them, label = number modulo 10."""
    folder.mkdir(parents=True, exist_ok=True)
    images = []
    for number in range(count):
        path = folder / f"drawn_{number:03d}.JPEG"
        noise(*size, seed=number).save(path, quality=90)
        images.append(LabelledImage(path.name, path, number % 10))
    return Dataset(folder, tuple(images), 10, drawn=True)
