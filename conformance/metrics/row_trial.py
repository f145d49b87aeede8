"""One run of a model that tells whether a row depends on its batch, its place or its neighbours.

The same pictures are fed again and again, so that each comparison is of one model at one batch size
with itself: no reference takes part, and no average can hide a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from conformance.check import Check, Status, at_most
from conformance.errors import ConformanceError, DumpError
from conformance.metrics.batching import (
    RowInvariance,
    decide_identical_rows,
    decide_permuted_rows,
    decide_rows,
)
from conformance.metrics.scores import Scores

# Rows of the last batch: with five whole ones their number is no multiple of 16 or 32.
LEFT_OVER = 5
HINTS = {
    "identical": "the result depends on the place in the batch",
    "permuted": "rows are written in another order than they were read",
    "neighbours": "a row takes something of another row of its batch",
    "partial": "the last batch is not filled, and what lies behind its rows gets into them",
}

# Claims about pictures that stay where they were.
SAME_PLACE = ("neighbours", "partial")


@dataclass(frozen=True)
class RowTrial:
    """Which picture lies in which row.

    Five whole batches and one that is not full: the pictures as they come; the same in another
    order; the first picture in every row; each even row beside other neighbours; each odd row
    likewise; and the first few once more, in a last batch that they do not fill.

    Attributes:
        batch: Rows of a batch, 2 or more.
        pictures: Names of the pictures, two or more; they are repeated where a batch needs more.

    Raises:
        ConformanceError: The batch has one row, or there is one picture.
    """

    batch: int
    pictures: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.batch < 2 or len(self.pictures) < 2:
            raise ConformanceError(
                "rows cannot be compared with each other",
                got=f"{self.batch} rows of {len(self.pictures)} pictures",
                expected="a batch of at least two rows, and two pictures",
                next_step="use a batch size above 1 and, with --images=N, at least two images",
            )

    @cached_property
    def order(self) -> tuple[int, ...]:
        """The other order of a batch's rows: shuffled, the same in every run."""
        shuffled = np.random.default_rng(self.batch).permutation(self.batch).tolist()
        moved = shuffled != sorted(shuffled)
        return tuple(shuffled) if moved else (*shuffled[1:], shuffled[0])

    @property
    def left_over(self) -> int:
        """Rows of the last batch."""
        return min(LEFT_OVER, self.batch - 1)

    @cached_property
    def rows(self) -> tuple[int, ...]:
        """Which of the pictures lies in each row, batch after batch."""
        count = len(self.pictures)
        first = [row % count for row in range(self.batch)]
        other = [(picture + max(1, count // 2)) % count for picture in first]
        pairs = list(zip(first, other, strict=True))
        beside_even = [pair[row % 2] for row, pair in enumerate(pairs)]
        beside_odd = [pair[1 - row % 2] for row, pair in enumerate(pairs)]
        shuffled = [first[row] for row in self.order]
        alike = [0] * self.batch
        return (*first, *shuffled, *alike, *beside_even, *beside_odd, *first[: self.left_over])


@dataclass(frozen=True, eq=False)
class RowMeasurement:
    """What a model said of each row of a trial.

    Attributes:
        trial: Which picture lies in which row.
        scores: (rows, classes).
    """

    trial: RowTrial
    scores: Scores

    def checks(
        self,
        epsilon: float,
        source: str,
        prefix: str,
        *,
        same_place: float | None = None,
        same_place_source: str = "",
    ) -> list[Check]:
        """Return the four claims: identical rows, permuted ones, neighbours, a partial batch.

        Args:
            epsilon: Largest allowed difference of a score.
            source: Where that comes from.
            prefix: Name of the group of checks.
            same_place: The same for a picture at the same place of its batch, which a chip
                computes in the same way whatever lies beside; None if nothing tighter is known.
            same_place_source: Where that comes from.

        Raises:
            DumpError: The scores are not those of the rows, or are not finite.
        """
        trial = self.trial
        first, shuffled, alike, even, odd, last = self._batches()
        beside = even.copy()
        beside[1::2] = odd[1::2]
        placed = trial.rows[: trial.batch]
        near = epsilon if same_place is None else same_place
        found: dict[str, tuple[RowInvariance, tuple[int, ...]]] = {
            "identical": (decide_identical_rows(alike, epsilon=epsilon), (0,) * trial.batch),
            "permuted": (
                decide_permuted_rows(first, shuffled, trial.order, epsilon=epsilon),
                tuple(placed[row] for row in trial.order),
            ),
            "neighbours": (decide_rows(first, beside, epsilon=near), placed),
            "partial": (decide_rows(first[: len(last)], last, epsilon=near), placed),
        }
        return [
            at_most(
                f"{prefix}.{claim}",
                decided.largest_error,
                decided.epsilon,
                unit="largest difference of a score",
                source=(claim in SAME_PLACE and same_place_source) or source,
                detail=self._worst(decided, pictures[decided.row]),
                hint="" if decided.status is Status.PASS else HINTS[claim],
            )
            for claim, (decided, pictures) in found.items()
        ]

    def _batches(self) -> list[Scores]:
        trial = self.trial
        if len(self.scores) != len(trial.rows):
            raise DumpError(
                "the rows of a trial are not complete",
                got=f"{len(self.scores)} rows",
                expected=f"{len(trial.rows)} rows",
                where={"batch": trial.batch},
                next_step="look for the batch that was lost",
            )
        starts = range(0, len(trial.rows), trial.batch)
        return [self.scores[start : start + trial.batch] for start in starts]

    def _worst(self, decided: RowInvariance, picture: int) -> str:
        trial = self.trial
        return (
            f"worst: row {decided.row} (from 0), picture {trial.pictures[picture]}; "
            f"{len(trial.rows)} rows in batches of {trial.batch}, the last of {trial.left_over}"
        )
