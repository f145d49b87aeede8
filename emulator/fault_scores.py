"""How results go wrong: effects on the outputs of a run, one row per image."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from emulator.faults import ActiveFaults
from emulator.tensor import Tensor, tensor

Random = np.random.Generator
Values = npt.NDArray[np.float32]


def spoil(outputs: Tensor, faults: ActiveFaults, batch: int) -> Tensor:
    """Apply the faults that strike scores.

    Args:
        outputs: Scores of images and classes; axes of size 1 behind them are dropped.
        faults: The board's faults.
        batch: Images of one inference.

    Returns:
        The scores as the faulty board yields them, not always of the same shape.
    """
    scores = outputs.array().reshape(outputs.shape[0], -1)
    for fault in faults.at("scores", batch):
        effect = EFFECTS[fault.do]
        scores = effect(scores.copy(), batch, faults.random(fault), **fault.options)
    return tensor(scores)


def flip(scores: Values, _: int, __: Random, *, share: float = 0.02, least: int = 2) -> Values:
    """Exchange first and second class of the images whose decision is clearest."""
    order = np.sort(scores, axis=1)
    clearest = np.argsort(order[:, -2] - order[:, -1], kind="stable")
    for row in clearest[: max(least, math.ceil(share * len(scores)))]:
        first, second = np.argsort(scores[row])[[-1, -2]]
        scores[row, [first, second]] = scores[row, [second, first]]
    return scores


def flip_at_random(scores: Values, batch: int, random: Random, *, share: float) -> Values:
    """Exchange first and second class of a share of the images, drawn anew for each batch size."""
    drawn = np.random.default_rng([int(random.integers(2**32)), batch])
    for row in np.flatnonzero(drawn.random(len(scores)) < share):
        first, second = np.argsort(scores[row])[[-1, -2]]
        scores[row, [first, second]] = scores[row, [second, first]]
    return scores


def mix_neighbours(scores: Values, batch: int, _: Random, *, share: float = 0.12) -> Values:
    """Let each row take up a share of the one before it in its batch."""
    mixed = scores.copy()
    for start in range(0, len(scores), batch):
        rows = scores[start : start + batch]
        mixed[start : start + batch] = (1 - share) * rows + share * np.roll(rows, 1, axis=0)
    return mixed


def swap(scores: Values, _: int, __: Random, *, first: int = 0, second: int = 1) -> Values:
    """Exchange the rows of two images."""
    scores[[first, second]] = scores[[second, first]]
    return scores


def shift_rows(scores: Values, _: int, __: Random) -> Values:
    """Give every image the row of the one before it."""
    return np.roll(scores, 1, axis=0)


def repeat_row(scores: Values, _: int, __: Random, *, source: int = 0, target: int = 1) -> Values:
    """Write one image's row for another image too."""
    scores[target] = scores[source]
    return scores


def repeat_in_batch(scores: Values, batch: int, _: Random) -> Values:
    """Give every image of a batch the row of the batch's first one."""
    return scores[np.arange(len(scores)) // batch * batch]


def reverse_in_batch(scores: Values, batch: int, _: Random) -> Values:
    """Return the rows of each batch in reverse order."""
    starts = range(0, len(scores), batch)
    return np.concatenate([scores[start : start + batch][::-1] for start in starts])


def drop_last_batch(scores: Values, batch: int, _: Random) -> Values:
    """Leave out the images that fill no whole batch."""
    return scores[: len(scores) // batch * batch]


def stale_last_batch(scores: Values, batch: int, _: Random) -> Values:
    """Give the rows of a last batch that is not full those of the batch before it."""
    start = len(scores) // batch * batch
    if start:
        scores[start:] = scores[start - batch : len(scores) - batch]
    return scores


def scale_by_place(scores: Values, batch: int, _: Random, *, step: float = 0.01) -> Values:
    """Make the scores of a row the larger, the later its place in the batch."""
    place = np.arange(len(scores)) % batch
    grown: Values = scores * (1 + step * place[:, np.newaxis]).astype(np.float32)
    return grown


def fill(
    scores: Values, _: int, random: Random, *, value: float, rows: int = 0, columns: int = 0
) -> Values:
    """Set values; of all rows or of some, of all columns or of some."""
    chosen = random.permutation(len(scores))[: rows or len(scores)]
    width = columns or scores.shape[1]
    scores[np.ix_(chosen, np.arange(width))] = value
    return scores


def same_row(scores: Values, _: int, __: Random) -> Values:
    """Give every image of the run the first image's row."""
    return np.repeat(scores[:1], len(scores), axis=0)


def shift_classes(scores: Values, _: int, __: Random) -> Values:
    """Give every class the score of the one before it."""
    return np.roll(scores, 1, axis=1)


def add_class(scores: Values, _: int, __: Random) -> Values:
    """Put a background class in front, as some frameworks do."""
    return np.concatenate([scores[:, :1] - 1, scores], axis=1)


def drop_class(scores: Values, _: int, __: Random) -> Values:
    """Leave out the last class."""
    return scores[:, :-1]


def swap_classes(scores: Values, _: int, __: Random, *, first: int = 0, second: int = 2) -> Values:
    """Exchange two classes."""
    scores[:, [first, second]] = scores[:, [second, first]]
    return scores


def normalise(scores: Values, _: int, __: Random) -> Values:
    """Return probabilities instead of scores."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities: Values = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def scale(scores: Values, _: int, __: Random, *, factor: float) -> Values:
    """Multiply every score."""
    return scores * np.float32(factor)


def add_noise(scores: Values, _: int, random: Random, *, deviation: float) -> Values:
    """Add normal noise."""
    return scores + random.normal(0, deviation, scores.shape).astype(np.float32)


EFFECTS: dict[str, Callable[..., Values]] = {
    effect.__name__: effect
    for effect in (
        flip,
        flip_at_random,
        mix_neighbours,
        swap,
        shift_rows,
        repeat_row,
        repeat_in_batch,
        reverse_in_batch,
        drop_last_batch,
        stale_last_batch,
        scale_by_place,
        fill,
        same_row,
        shift_classes,
        add_class,
        drop_class,
        swap_classes,
        normalise,
        scale,
        add_noise,
    )
}
