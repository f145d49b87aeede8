"""Predictions: one row of scores per image, complete and finite, or an error."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from conformance.errors import DumpError

Scores = npt.NDArray[np.float32] | npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
_NAMES_SHOWN = 5


@dataclasses.dataclass(frozen=True, eq=False)
class Predictions:
    """What a model said of each image.

    Attributes:
        names: Image names, N of them, each once, in the dataset's order.
        scores: float32 (float64 for a float64 reference), N x classes, all finite.
        labels: int64, N, each below the number of classes.

    Raises:
        DumpError: There is no image, a name is repeated, shapes or types do not fit, a label is
            no class, or a score is not finite; names the images.
    """

    names: tuple[str, ...]
    scores: Scores
    labels: Labels

    def __post_init__(self) -> None:
        _demand_form(self.names, self.scores, self.labels)
        _demand_unique(self.names)
        beyond = (self.labels < 0) | (self.labels >= self.classes)
        self._demand_none(beyond, "a label is no class", f"0 to {self.classes - 1}")
        self._demand_none(not_finite(self.scores), "scores are not finite", "finite numbers only")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def classes(self) -> int:
        """Number of scores of each image."""
        return int(self.scores.shape[1])

    def _demand_none(self, bad: npt.NDArray[np.bool_], what: str, expected: str) -> None:
        if bad.any():
            raise DumpError(
                f"predictions are wrong: {what}",
                got=f"{int(bad.sum())} of {len(self)} images: {self._named(bad)}",
                expected=expected,
                next_step="look at the outputs of these images",
            )

    def _named(self, chosen: npt.NDArray[np.bool_]) -> str:
        return ", ".join(self.names[index] for index in np.flatnonzero(chosen)[:_NAMES_SHOWN])


def not_finite(scores: Scores) -> npt.NDArray[np.bool_]:
    """Tell of each row whether it holds what is no finite number."""
    # A sum is finite only if every score is (or overflows, and then the row is looked at).
    with np.errstate(over="ignore", invalid="ignore"):
        suspect: npt.NDArray[np.bool_] = ~np.isfinite(scores.sum(axis=1))
    if suspect.any():
        suspect[suspect] = ~np.isfinite(scores[suspect]).all(axis=1)
    return suspect


def _demand_form(names: tuple[str, ...], scores: Scores, labels: Labels) -> None:
    count = len(names)
    fits = (
        count > 0
        and scores.ndim == 2
        and scores.shape[0] == count
        and scores.shape[1] > 0
        and labels.shape == (count,)
        and scores.dtype in (np.float32, np.float64)
        and labels.dtype == np.int64
    )
    if not fits:
        raise DumpError(
            "predictions do not fit together",
            got=f"{count} names, scores {scores.dtype} {scores.shape}, "
            f"labels {labels.dtype} {labels.shape}",
            expected="N names, N x classes scores in float32 or float64, N labels in int64, N > 0",
            next_step="give each image one row of scores and one label",
        )


def _demand_unique(names: tuple[str, ...]) -> None:
    repeated = [name for name, times in collections.Counter(names).items() if times > 1]
    if repeated:
        raise DumpError(
            "predictions are wrong: an image appears more than once",
            got=", ".join(repeated[:_NAMES_SHOWN]),
            expected="each image once",
            next_step="look for a batch that was inferred twice",
        )


class ScoreCollector:
    """Collects scores batch by batch into predictions, and takes no image twice or out of turn.

    The memory for all scores is taken once: 200 MB for 50,000 images of 1000 classes in float32.

    Args:
        names: Every image that must come, in order.
        labels: int64, the class of each.
        dtype: Type of the scores to keep.
    """

    def __init__(self, names: tuple[str, ...], labels: Labels, dtype: npt.DTypeLike) -> None:
        self._names = names
        self._labels = labels
        self._dtype = np.dtype(dtype)
        self._scores: Scores | None = None
        self._filled = 0

    @property
    def filled(self) -> int:
        """Images taken so far."""
        return self._filled

    def rows(self) -> Iterator[tuple[str, list[float]]]:
        """Yield name and scores of each image taken so far, while others are still to come."""
        if self._scores is not None:
            for name, scores in zip(self._names, self._scores[: self._filled], strict=False):
                yield name, scores.tolist()

    def add(self, names: tuple[str, ...], scores: Scores) -> None:
        """Take the scores (n x classes) of the next n images.

        Raises:
            DumpError: The images are not the next ones, or the scores have the wrong shape.
        """
        due = self._names[self._filled : self._filled + len(names)]
        if names != due or not names:
            raise DumpError(
                "a batch holds other images than were due",
                got=", ".join(names[:_NAMES_SHOWN]) or "no image",
                expected=", ".join(due[:_NAMES_SHOWN]) or "no further image",
                next_step="feed each image once, in the order of the dataset",
            )
        if scores.ndim != 2 or len(scores) != len(names):
            raise DumpError(
                "a batch has the wrong output shape",
                got=scores.shape,
                expected=f"({len(names)}, classes)",
                where={"first image": names[0]},
                next_step="look at the model's output",
            )
        if self._scores is None:
            self._scores = np.empty((len(self._names), scores.shape[1]), self._dtype)
        if scores.shape[1] != self._scores.shape[1]:
            raise DumpError(
                "a batch has another width than the ones before",
                got=scores.shape[1],
                expected=self._scores.shape[1],
                where={"first image": names[0]},
                next_step="look at the model's output",
            )
        self._scores[self._filled : self._filled + len(names)] = scores
        self._filled += len(names)

    def finish(self) -> Predictions:
        """Return the predictions.

        Raises:
            DumpError: Images are missing, or a score is not finite.
        """
        if self._scores is None or self._filled != len(self._names):
            missing = self._names[self._filled :]
            raise DumpError(
                "images were not inferred",
                got=f"{self._filled} of {len(self._names)} images",
                expected="every image",
                where={"first missing": missing[0] if missing else "all"},
                next_step="look for the batch that was lost",
            )
        return Predictions(self._names, self._scores, self._labels)
