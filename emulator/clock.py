"""The chip's clock: what a device would have taken, from the published table.

A model other than SqueezeNet 1.1 is slower by its work, of which a quarter is taken to be fixed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from emulator.board import BoardState
from emulator.faults import ActiveFaults
from emulator.om import OfflineModel

SQUEEZENET_MACS = 349_151_936
FIXED_SHARE = 0.25
HEADROOM = 1.25
"""By how much the device rate stays above the rate that the host sees."""


class ChipClock:
    """Device times of one model on one chip.

    Args:
        state: The board's state.
        model: The model that runs.
        device: Logical id of the chip; each has a noise of its own.
        faults: Faults of place ``clock`` change the rate.
    """

    def __init__(
        self, state: BoardState, model: OfflineModel, device: int, faults: ActiveFaults
    ) -> None:
        self._batch = model.batch
        self._spread = state.clock_spread
        self._random = np.random.default_rng([state.seed, device, model.batch, int(model.tuned)])
        rate = state.facts.squeezenet_fps(model.batch) * state.clock_factor
        rate *= state.facts.tuned_gain if model.tuned else 1.0
        rate /= FIXED_SHARE + (1 - FIXED_SHARE) * model.macs / SQUEEZENET_MACS
        for fault in faults.at("clock", model.batch):
            rate *= float(fault.options["factor"])
        self._fps = rate * (1 + self._noise(1)[0])

    def _noise(self, count: int) -> Sequence[float]:
        values = self._random.standard_normal(count).clip(-3, 3) * self._spread
        return [float(value) for value in values]

    def batch_ms(self, count: int, sharers: int = 0) -> list[float]:
        """Device milliseconds of each of some batches.

        Args:
            count: Number of batches.
            sharers: Other processes on the chip; each takes an equal part of it.
        """
        mean_ms = 1000 * self._batch / self._fps * (1 + sharers)
        noise = self._noise(count)
        centre = sum(noise) / count
        return [mean_ms * (1 + value - centre) for value in noise]


def wait_until(moment_s: float) -> None:
    """Sleep until the performance counter reaches a moment, if it has not."""
    time.sleep(max(0.0, moment_s - time.perf_counter()))
