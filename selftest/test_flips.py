"""The flip ledger: who changed, by how much, and why."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from conformance.errors import DumpError
from conformance.metrics.flips import FLOAT32_TIE, Candidate, Verdict, flip_ledger

NAMES = ["a.JPEG", "b.JPEG", "c.JPEG"]
LABELS = [0, 0, 0]
EPSILON = 0.1


def _rows(margin: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Three images of six classes; on the second, the candidate prefers class 3 to class 0."""
    reference = np.tile(np.asarray([16, 1, 2, 3, 4, 5], np.float32), (3, 1))
    reference[1, 3] = 16 - margin
    candidate = reference.copy()
    candidate[1, 3] = 17
    return reference, candidate


@pytest.mark.parametrize(
    ("margin", "epsilon", "verdict"),
    [
        (0.0, EPSILON, Verdict.NEAR_TIE),
        (0.9 * FLOAT32_TIE * 16, 0.0, Verdict.NEAR_TIE),
        (2 * FLOAT32_TIE * 16, 0.0, Verdict.CONFIDENT_FLIP),
        (2 * FLOAT32_TIE * 16, EPSILON, Verdict.EXPECTED_FLOAT16),
        (0.19, EPSILON, Verdict.EXPECTED_FLOAT16),
        (0.21, EPSILON, Verdict.CONFIDENT_FLIP),
        (5.0, EPSILON, Verdict.CONFIDENT_FLIP),
    ],
)
def test_verdict_follows_the_gap(margin: float, epsilon: float, verdict: Verdict) -> None:
    reference, candidate = _rows(margin)
    (flip,) = flip_ledger(reference, {"om bs16": Candidate(candidate, epsilon)}, LABELS, NAMES)
    assert flip.verdict is verdict
    assert flip.image == "b.JPEG"
    assert flip.reference_top5[:2] == (0, 3)
    assert flip.candidate_top5[:2] == (3, 0)
    assert flip.margin == flip.gap == pytest.approx(margin, abs=2e-6)


def test_a_far_class_is_confident_though_the_margin_is_small() -> None:
    reference, candidate = _rows(0.01)
    candidate[1, 1] = 50
    (flip,) = flip_ledger(reference, {"om": Candidate(candidate, EPSILON)}, LABELS, NAMES)
    assert flip.margin == pytest.approx(0.01, abs=1e-5)
    assert flip.gap == 15
    assert flip.verdict is Verdict.CONFIDENT_FLIP


def test_the_ledger_holds_every_candidate_worst_first() -> None:
    reference, candidate = _rows(0.15)
    other = reference.copy()
    other[2] = other[2, ::-1]
    sides = {
        "onnx": Candidate(reference, 0.0),
        "om bs1": Candidate(candidate, EPSILON),
        "om bs16": Candidate(other, EPSILON),
    }
    ledger = flip_ledger(reference, sides, LABELS, NAMES)
    assert [(flip.candidate, flip.image) for flip in ledger] == [
        ("om bs16", "c.JPEG"),
        ("om bs1", "b.JPEG"),
    ]
    assert (
        "c.JPEG (class 0): om bs16 [5, 0, 1, 2, 3] against [0, 5, 4, 3, 2]" in ledger[0].describe()
    )
    assert "confident flip" in ledger[0].describe()


def test_agreement_leaves_the_ledger_empty() -> None:
    reference, _ = _rows(1.0)
    assert flip_ledger(reference, {"onnx": Candidate(reference, 0.0)}, LABELS, NAMES) == ()


def test_nothing_to_compare_is_an_error() -> None:
    reference, candidate = _rows(1.0)
    with pytest.raises(DumpError, match="nothing to compare"):
        flip_ledger(reference, {}, LABELS, NAMES)
    with pytest.raises(DumpError, match="nothing to compare"):
        flip_ledger(reference, {"om": Candidate(candidate, EPSILON)}, LABELS[:2], NAMES)
    with pytest.raises(DumpError, match="cannot be compared"):
        flip_ledger(reference, {"om": Candidate(candidate[:2], EPSILON)}, LABELS, NAMES)
