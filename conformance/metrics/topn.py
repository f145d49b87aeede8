"""Top-N accuracy as exact integer counts, with the range that ties leave open."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import numpy.typing as npt

from conformance.predictions import Predictions

DEPTH = 5
_ROWS = 1024  # rows ranked at a time, so that intermediate arrays stay small


@dataclasses.dataclass(frozen=True, slots=True)
class TopN:
    """Hits among the N highest scores, for N from 1 to 5 (or to the number of classes, if fewer).

    Attributes:
        images: Number of images.
        classes: Number of classes.
        hits: Counts with equal scores ordered lowest class first.
        worst: Counts if every tie went against the label: what a PASS needs.
        best: Counts if every tie went for the label: what a FAIL needs.
    """

    images: int
    classes: int
    hits: tuple[int, ...]
    worst: tuple[int, ...]
    best: tuple[int, ...]

    def accuracy_pct(self, n: int) -> float:
        """Return the Top-``n`` accuracy in percent, unrounded; ``n`` counts from 1."""
        return 100 * self.hits[n - 1] / self.images


def count_topn(predictions: Predictions) -> TopN:
    """Count Top1 to Top5 hits of the predictions, exactly and for every way to break ties."""
    lowest_first, worst, best = label_ranks(predictions)
    depth = min(DEPTH, predictions.classes)
    return TopN(
        images=len(predictions),
        classes=predictions.classes,
        hits=_hits(lowest_first, depth),
        worst=_hits(worst, depth),
        best=_hits(best, depth),
    )


def label_ranks(
    predictions: Predictions,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the rank of each image's label among its scores, counted from 0, three times.

    The three int64 arrays of N ranks order equal scores (1) lowest class first, (2) against the
    label, (3) for the label. Float16 outputs hold many equal scores, and the guide's scorer leaves
    their order to an unstable sort.
    """
    parts = [
        _ranked(
            predictions.scores[start : start + _ROWS], predictions.labels[start : start + _ROWS]
        )
        for start in range(0, len(predictions), _ROWS)
    ]
    lowest_first, worst, best = (np.concatenate(each) for each in zip(*parts, strict=True))
    return lowest_first, worst, best


def _ranked(
    scores: npt.NDArray[Any], labels: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    own = np.take_along_axis(scores, labels[:, np.newaxis], axis=1)
    above = np.count_nonzero(scores > own, axis=1)
    equal = scores == own
    tied = np.count_nonzero(equal, axis=1) - 1
    before = np.zeros_like(tied)
    for row in np.flatnonzero(tied):  # few rows hold a tie at their label
        before[row] = np.count_nonzero(equal[row, : labels[row]])
    return above + before, above + tied, above


def _hits(ranks: npt.NDArray[np.int64], depth: int) -> tuple[int, ...]:
    return tuple(int(np.count_nonzero(ranks < n)) for n in range(1, depth + 1))


def result_json(topn: TopN) -> str:
    """Return the one-line JSON that the guide's ``imagenet_acc_eval.py`` writes, byte for byte.

    Every value is text. A percentage is rounded to two places by numpy, which scales, rounds half
    to even and scales back, and is printed without trailing zeros: ``87.1%``.
    """
    value = [
        {"key": "Number of images", "value": str(topn.images)},
        {"key": "Number of classes", "value": str(topn.classes)},
    ]
    for n, hits in enumerate(topn.hits, start=1):
        accuracy = np.float64(hits) / topn.images
        shown = float(np.round(accuracy * 100, 2))
        value.append({"key": f"Top{n} accuracy", "value": f"{shown}%"})
    return json.dumps({"title": "Overall statistical evaluation", "value": value})
