"""The steps from a photograph to an input tensor, and at which of them two preparations part."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Literal

import numpy as np
import numpy.typing as npt

Step = Literal["decode", "resize", "crop", "normalise", "uint8"]
STEPS: tuple[Step, ...] = ("decode", "resize", "crop", "normalise", "uint8")


@dataclasses.dataclass(frozen=True, slots=True)
class Steps:
    """What each step makes of one picture.

    Attributes:
        decode: The whole picture as RGB: uint8, height x width x 3.
        resize: The same, its short side of the model's size.
        crop: The centre, channel by channel: uint8, 3 x crop x crop.
        normalise: What is fed as float32: 3 x crop x crop.
        uint8: What is fed to a model with AIPP: uint8, crop x crop x 3.
    """

    decode: npt.NDArray[np.uint8]
    resize: npt.NDArray[np.uint8]
    crop: npt.NDArray[np.uint8]
    normalise: npt.NDArray[np.float32]
    uint8: npt.NDArray[np.uint8]

    def digests(self) -> dict[Step, str]:
        """Return the sha256 of each step's type, shape and values, in the order of the steps."""
        return {step: _digest(getattr(self, step)) for step in STEPS}


def _digest(array: npt.NDArray[np.generic]) -> str:
    form = f"{array.dtype.str} {array.shape}\n"
    return hashlib.sha256(form.encode() + array.tobytes()).hexdigest()


def content_sha256(array: npt.NDArray[np.generic]) -> str:
    """Return the sha256 of an array's bytes: that of the file which holds nothing else."""
    return hashlib.sha256(array.tobytes()).hexdigest()


def first_difference(first: Steps, second: Steps) -> Step | None:
    """Return the first step of which two preparations make something else, None if of none."""
    one, other = first.digests(), second.digests()
    return next((step for step in STEPS if one[step] != other[step]), None)
