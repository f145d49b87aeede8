"""From a picture to an input tensor, in the geometry and arithmetic of torchvision."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from conformance.spec import Preprocess


def prepare_image(image: Image.Image, preprocess: Preprocess) -> npt.NDArray[np.float32]:
    """Return the input tensor of one picture: float32, 3 x crop x crop, normalised RGB.

    Resizes the short side bilinearly, truncates the long side, and crops the centre with Python's
    rounding of halves to even: torchvision's Resize, CenterCrop, ToTensor and Normalize.
    """
    rgb = image.convert("RGB")
    short = min(rgb.size)
    width, height = (int(preprocess.resize * side / short) for side in rgb.size)
    resized = rgb.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (round((side - preprocess.crop) / 2) for side in resized.size)
    box = (left, top, left + preprocess.crop, top + preprocess.crop)
    pixels = np.asarray(resized.crop(box), dtype=np.float32) / np.float32(255)
    mean, std = (np.asarray(three, np.float32) for three in (preprocess.mean, preprocess.std))
    return np.ascontiguousarray(((pixels - mean) / std).transpose(2, 0, 1))
