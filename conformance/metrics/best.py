"""The best classes of each image: what is kept of scores once a run is over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

DEPTH = 5
# Of the reference more are kept, so that how far any class that an engine chose lies below the
# reference's own choice can be told from them.
REFERENCE_DEPTH = 20


@dataclass(frozen=True, eq=False)
class Best:
    """The best classes of each image: ids int32 and scores float32, both (images, depth)."""

    ids: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]


def best_classes(scores: npt.NDArray[Any], depth: int = DEPTH) -> Best:
    """Return the best classes of each row; of equal scores the lowest class comes first.

    Args:
        scores: (images, classes), finite.
        depth: How many classes; all if there are fewer.
    """
    left = np.array(scores, np.float32)
    rows = np.arange(len(left))
    ids = np.empty((len(left), min(depth, left.shape[1])), np.int32)
    for place in range(ids.shape[1]):
        ids[:, place] = left.argmax(axis=1)  # the first of equals
        left[rows, ids[:, place]] = -np.inf
    return Best(ids, np.take_along_axis(np.asarray(scores, np.float32), ids, axis=1))
