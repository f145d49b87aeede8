"""The chip's clock: what a device would have taken, from the published table.

A model other than SqueezeNet 1.1 is slower by its work, of which a quarter is taken to be fixed.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from functools import partial

from emulator.board import BoardState
from emulator.faults import ActiveFaults
from emulator.om import OfflineModel

SQUEEZENET_MACS = 349_151_936
FIXED_SHARE = 0.25
HEADROOM = 1.25
"""By how much the device rate stays above the rate that the host sees."""


BLOCK = 100
"""Batches over which the rate within a run wanders."""
DRIFT_STEPS = 60
"""Runs, or blocks of a long one, after which a chip that gets slower has come to rest."""


class ChipClock:
    """Device times of one model on one chip.

    Args:
        state: The board's state.
        model: The model that runs.
        device: Logical id of the chip; each has a noise of its own.
        faults: Faults of place ``clock`` change the rate; they know which run of the chip this is.
    """

    def __init__(
        self, state: BoardState, model: OfflineModel, device: int, faults: ActiveFaults
    ) -> None:
        self._batch = model.batch
        self._spread = state.clock_spread
        rate = state.facts.squeezenet_fps(model.batch) * state.clock_factor
        rate *= state.facts.tuned_gain if model.tuned else 1.0
        rate /= FIXED_SHARE + (1 - FIXED_SHARE) * model.macs / SQUEEZENET_MACS
        self._changes: list[Callable[[int, int], float]] = []
        for fault in faults.at("clock", model.batch):
            options = dict(fault.options)
            self._spread = float(options.pop("spread", self._spread))
            self._changes.append(partial(RATES[fault.do], **options))
        seed = f"{state.seed} {device} {model.batch} {model.tuned}"
        wander = _wandering(random.Random(seed), faults.run, state.clock_memory)  # noqa: S311 - noise
        self._random = random.Random(f"{seed} {faults.run}")  # noqa: S311 - noise, no secret
        self._run = faults.run
        self._fps = rate * (1 + self._spread * wander)

    def _noise(self, count: int) -> Sequence[float]:
        """Noise of single batches, on top of one that holds for a block of them."""
        blocks = _normal(self._random, -(-count // BLOCK))
        single = _normal(self._random, count)
        return [
            max(-4.0, min(4.0, blocks[number // BLOCK] + value)) * self._spread
            for number, value in enumerate(single)
        ]

    def batch_ms(self, count: int, sharers: int = 0) -> list[float]:
        """Device milliseconds of each of some batches.

        Args:
            count: Number of batches.
            sharers: Other processes on the chip; each takes an equal part of it.
        """
        mean_ms = 1000 * self._batch / self._fps * (1 + sharers)
        noise = self._noise(count)
        centre = sum(noise) / count
        factors = self._factors(count)
        return [
            mean_ms / factors[number // BLOCK] * (1 + value - centre)
            for number, value in enumerate(noise)
        ]

    def _factors(self, count: int) -> list[float]:
        """By how much faults change the rate of each block of the run."""
        blocks = range(-(-count // BLOCK))
        return [math.prod(change(self._run, block) for change in self._changes) for block in blocks]


def _normal(source: random.Random, count: int) -> list[float]:
    return [source.gauss() for _ in range(count)]


def _wandering(source: random.Random, run: int, memory: float) -> float:
    """Noise of one run, in standard deviations; correlated with that of the run before."""
    value, *steps = [max(-3.0, min(3.0, step)) for step in _normal(source, run + 1)]
    for step in steps:
        value = memory * value + math.sqrt(1 - memory**2) * step
    return value


def _scaled(_run: int, _block: int, *, factor: float) -> float:
    return factor


def _drifting(run: int, block: int, *, per_run: float) -> float:
    return 1 - per_run * min(run + block, DRIFT_STEPS)


def _alternating(run: int, block: int, *, factor: float) -> float:
    """Slower in the second half of the order A B B A of runs, or of the blocks of a long one.

    It begins after the first of them, which warms the chip up.
    """
    step = block or run
    return factor if step and (step - 1) % 4 in (1, 2) else 1.0


RATES: dict[str, Callable[..., float]] = {
    "scale": _scaled,
    "drift": _drifting,
    "alternate": _alternating,
}


def wait_until(moment_s: float) -> None:
    """Sleep until the performance counter reaches a moment, if it has not."""
    time.sleep(max(0.0, moment_s - time.perf_counter()))
