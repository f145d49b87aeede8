"""Changed decisions: who changed, by how much, and why."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from conformance.errors import DumpError
from conformance.metrics.best import REFERENCE_DEPTH, best_classes
from conformance.metrics.flips import (
    MOST_LISTED,
    SHOWN,
    Flips,
    Verdict,
    find_flips,
    flips_of_scores,
)

NAMES = ["a.JPEG", "b.JPEG", "c.JPEG"]
LABELS = np.asarray([0, 0, 0])
Scores = NDArray[np.float32]


def rows(margin: float) -> tuple[Scores, Scores]:
    """Three images of thirty classes; on the second, the candidate prefers class 3 to class 0."""
    reference = np.tile(np.linspace(1, 0, 30, dtype=np.float32), (3, 1))
    reference[:, 0] = 16
    reference[1, 3] = 16 - margin
    candidate = reference.copy()
    candidate[1, 3] = 17
    return reference, candidate


def found(reference: Scores, candidate: Scores, explained: float | None = 0.2) -> Flips:
    return flips_of_scores(reference, candidate, LABELS, NAMES, explained=explained)


@pytest.mark.parametrize(
    ("margin", "explained", "verdict"),
    [
        (0.0, 0.0, Verdict.NEAR_TIE),
        (0.19, 0.2, Verdict.NEAR_TIE),
        (0.21, 0.2, Verdict.CONFIDENT),
        (5.0, 0.2, Verdict.CONFIDENT),
        (5.0, None, Verdict.NOT_JUDGED),
    ],
)
def test_the_verdict_follows_the_gap(
    margin: float, explained: float | None, verdict: Verdict
) -> None:
    flips = found(*rows(margin), explained)
    (flip,) = flips.listed
    assert (flips.images, flips.flips) == (3, 1)
    assert flips.confident == (None if explained is None else int(verdict is Verdict.CONFIDENT))
    assert (flip.image, flip.label, flip.verdict) == ("b.JPEG", 0, verdict)
    assert [guess.class_id for guess in flip.reference[:2]] == [0, 3]
    assert [guess.class_id for guess in flip.candidate[:2]] == [3, 0]
    assert len(flip.reference) == len(flip.candidate) == 5
    assert flip.candidate[0].score == 17
    assert flip.margin == flip.gap == pytest.approx(margin, abs=2e-6)


def test_a_far_class_is_confident_though_the_margin_is_small() -> None:
    reference, candidate = rows(0.01)
    candidate[1, 1] = 50
    (flip,) = found(reference, candidate).listed
    assert flip.margin == pytest.approx(0.01, abs=1e-5)
    assert flip.gap == pytest.approx(16 - reference[1, 1])
    assert (flip.verdict, flip.beyond) == (Verdict.CONFIDENT, False)


def test_a_class_that_was_not_kept_is_confident_by_at_least_what_was() -> None:
    reference, candidate = rows(0.01)
    candidate[1, 29] = 50
    (flip,) = found(reference, candidate, 100.0).listed
    assert (flip.verdict, flip.beyond) == (Verdict.CONFIDENT, True)
    assert "gap at least 15.7" in flip.describe("float16")


def test_a_flip_is_told_in_one_line() -> None:
    told = found(*rows(0.15)).describe("float16")
    assert told == (
        "b.JPEG (class 0): 3 at 17, PyTorch 0 at 16; margin 0.15, gap 0.15: near-tie, expected at "
        "float16"
    )
    assert "confident, more than rounding explains" in found(*rows(0.3)).describe("float16")


def test_no_flip_says_how_many_images_were_compared() -> None:
    reference, _ = rows(1.0)
    assert found(reference, reference).describe("float16") == "no decision of 3 images changed"


def test_the_widest_gap_comes_first_and_only_the_worst_of_very_many_are_listed() -> None:
    count = MOST_LISTED + 50
    reference = np.zeros((count, 30), np.float32)
    reference[:, 0], reference[:, 1] = 9, np.linspace(8, 9, count)
    candidate = reference[:, [1, 0, *range(2, 30)]]
    names = [f"{number}.JPEG" for number in range(count)]
    labels = np.zeros(count, np.int64)
    flips = flips_of_scores(reference, candidate, labels, names, explained=0.5)
    changed = int((reference[:, 1] < 9).sum())
    assert (flips.flips, len(flips.listed)) == (changed, MOST_LISTED)
    assert flips.confident == int((9 - reference[:, 1] > 0.5).sum())
    assert [flip.image for flip in flips.listed[:2]] == ["0.JPEG", "1.JPEG"]
    assert flips.describe("float16").endswith(f"and {changed - SHOWN} more, in flips.json")


def test_what_is_kept_of_the_scores_tells_the_same() -> None:
    random = np.random.default_rng(3)
    reference = random.normal(0, 1, (200, 50)).astype(np.float32)
    candidate = (reference + random.normal(0, 0.2, reference.shape)).astype(np.float32)
    names, labels = [str(number) for number in range(200)], np.zeros(200, np.int64)
    kept = best_classes(reference, REFERENCE_DEPTH), best_classes(candidate)
    again = find_flips(*kept, labels, names, explained=0.3)
    assert again == flips_of_scores(reference, candidate, labels, names, explained=0.3)
    assert again.flips > again.confident > 0  # type: ignore[operator] # there is a bound


def test_nothing_to_compare_is_an_error() -> None:
    reference, candidate = rows(1.0)
    best = best_classes(reference, REFERENCE_DEPTH)
    with pytest.raises(DumpError, match="cannot be compared"):
        flips_of_scores(reference, candidate[:2], LABELS, NAMES, explained=None)
    for labels, names in ((LABELS[:2], NAMES), (LABELS, NAMES[:2])):
        with pytest.raises(DumpError, match="nothing to compare"):
            find_flips(best, best_classes(candidate), labels, names, explained=None)
    empty = best_classes(reference[:0])
    with pytest.raises(DumpError, match="nothing to compare"):
        find_flips(empty, empty, [], [], explained=None)
