"""Inputs that no photograph gives: zeros, constants, the ends of the range, and all times 1000."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from conformance.spec import ModelSpec

Inputs = dict[str, npt.NDArray[np.float32]]
SCALES = (1, 1000)


def probe_inputs(spec: ModelSpec) -> Inputs:
    """Return named input tensors, float32 of the spec's input shape (channels, height, width).

    The ends of the range are black and white after normalisation; the chequered one holds both
    beside each other in every channel.
    """
    mean, std = np.array(spec.preprocess.mean), np.array(spec.preprocess.std)
    black, white = (0 - mean) / std, (1 - mean) / std
    rows, columns = np.indices(spec.input_shape[1:])
    chequered = np.where(((rows + columns) % 2)[None], white[:, None, None], black[:, None, None])
    return {
        "zeros": np.zeros(spec.input_shape, np.float32),
        "one": np.ones(spec.input_shape, np.float32),
        "minus-one": np.full(spec.input_shape, -1, np.float32),
        "black": _constant(black, spec.input_shape),
        "white": _constant(white, spec.input_shape),
        "chequered": chequered.astype(np.float32),
    }


def scaled(inputs: Mapping[str, npt.NDArray[np.float32]], scale: int) -> Inputs:
    """Return the inputs multiplied by a scale, under the same names."""
    return {name: array * np.float32(scale) for name, array in inputs.items()}


def _constant(
    channels: npt.NDArray[np.float64], shape: tuple[int, int, int]
) -> npt.NDArray[np.float32]:
    return np.broadcast_to(channels[:, None, None], shape).astype(np.float32)
