"""What the best classes of each image leave open: orders of equal scores, and ranks beyond them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from conformance.metrics.best import DEPTH, Best

Right = npt.NDArray[np.bool_]


def right_in_orders(
    best: Best, labels: npt.NDArray[np.int32], n: int
) -> tuple[Right, Right, Right]:
    """Tell for each image whether its label is among the N best, equal scores in three orders.

    Args:
        best: The best classes, at least five of them.
        labels: True class of each image.
        n: How many classes count, from 1 to 5.

    Returns:
        The lowest class first, as the suite counts; against the label as far as may be; for it as
        far as may be. A class that is not in the list may equal the last one that is.
    """
    ids, scores = best.ids[:, :DEPTH], best.scores[:, :DEPTH]
    found = ids == labels[:, np.newaxis]
    listed, place = found.any(axis=1), found.argmax(axis=1)
    own = np.where(listed, scores[np.arange(len(ids)), place], scores[:, -1])[:, np.newaxis]
    above, at_least = (scores > own).sum(axis=1), (scores >= own).sum(axis=1)
    whole = at_least < ids.shape[1]
    behind = labels > ids[:, -1]  # of equal scores the lowest class is listed
    return (
        listed & (place < n),
        listed & whole & (at_least <= n),
        (listed | behind) & (above < n),
    )


def near_ranks(
    best: Best, labels: npt.NDArray[np.int32], width: float
) -> list[tuple[int, int]] | None:
    """Count, for N from 1 to 5, the labels whose score lies within a width of the N-th other one.

    Args:
        best: The reference's best classes.
        labels: True class of each image.
        width: That distance, in the reference's scores.

    Returns:
        For each N the least and the most that it can be: a label beyond the list has a score that
        is only known to be no higher than the last. None where the list is too short.
    """
    depth = best.ids.shape[1]
    if depth <= DEPTH:
        return None
    found = best.ids == labels[:, np.newaxis]
    listed = found.any(axis=1)
    place = np.where(listed, found.argmax(axis=1), depth)
    ranks = np.arange(DEPTH)
    others = np.take_along_axis(best.scores, ranks + (place[:, np.newaxis] <= ranks), axis=1)
    own = best.scores[np.arange(len(place)), np.minimum(place, depth - 1)]
    near = np.abs(others - own[:, np.newaxis]) <= width
    least = (near & listed[:, np.newaxis]).sum(axis=0).tolist()
    return list(zip(least, near.sum(axis=0).tolist(), strict=True))


def least_error(one: Best, other: Best) -> float:
    """Return the largest difference of a score that two lists have in common; 0 if none."""
    most = 0.0
    for place in range(min(DEPTH, other.ids.shape[1])):
        same = one.ids == other.ids[:, [place]]
        apart = np.abs(one.scores - other.scores[:, [place]])
        most = max(most, float(np.where(same, apart, 0).max()))
    return most
