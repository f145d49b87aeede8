"""Scores of two sides, row by row: what they decide and how clearly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from conformance.errors import DumpError

Scores = NDArray[np.float32] | NDArray[np.float64]


def require_comparable(names: Sequence[str], **sides: Scores) -> None:
    """Check that each side has one row of finite scores per image, all of one width.

    Args:
        names: The images, one per row, each once.
        **sides: Scores (images, classes) by the name of their side.

    Raises:
        DumpError: No images, repeated names, wrong shapes, or scores that are not finite.
    """
    shapes = {side: scores.shape for side, scores in sides.items()}
    widths = {shape[1:] for shape in shapes.values()}
    counts = {shape[:1] for shape in shapes.values()} | {(len(set(names)),), (len(names),)}
    wrong_width = len(widths) != 1 or any(
        len(shape) != 2 or shape[1] < 2 for shape in shapes.values()
    )
    if not names or len(counts) != 1 or wrong_width:
        raise DumpError(
            "scores cannot be compared",
            got=f"{len(names)} names ({len(set(names))} distinct), shapes {shapes}",
            expected="one row per image, each image once, and one width of two classes or more",
            next_step="infer the same images on every side",
        )
    for side, scores in sides.items():
        if not np.isfinite(scores).all():
            rows = np.flatnonzero(~np.isfinite(scores).all(axis=1))
            raise DumpError(
                "scores are not finite",
                got=f"{len(rows)} images with NaN or infinity, first {names[int(rows[0])]}",
                expected="finite scores",
                where={"side": side},
                next_step="look for an overflow of float16 or a damaged output file",
            )


def choices(scores: Scores) -> NDArray[np.intp]:
    """Return each image's Top-1 class; of equal scores the first class counts."""
    return np.asarray(scores.argmax(axis=1), np.intp)


def margins(scores: Scores, k: int = 1) -> NDArray[np.float32]:
    """Return how far the k-th best score of each image lies above the next one."""
    ranked = np.sort(scores.astype(np.float64), axis=1)
    return np.asarray(ranked[:, -k] - ranked[:, -k - 1], np.float32)


def gaps(reference: Scores, candidate: Scores) -> NDArray[np.float32]:
    """Return by how much each image's candidate choice lies below the reference's choice.

    Taken in the reference's scores: zero where both choose alike, at least the margin elsewhere.
    """
    rows = np.arange(len(reference))
    best = reference[rows, choices(reference)]
    return np.asarray(best - reference[rows, choices(candidate)], np.float32)


def largest_errors(reference: Scores, candidate: Scores) -> NDArray[np.float32]:
    """Return each image's max|candidate - reference|."""
    return np.asarray(np.abs(candidate - reference).max(axis=1), np.float32)


def top_classes(row: Scores, k: int = 5) -> tuple[int, ...]:
    """Return the k best classes of one image, best first; of equal scores the first class."""
    return tuple(int(c) for c in np.argsort(-row, kind="stable")[:k])
