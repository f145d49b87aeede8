"""Labels that are shifted by one class are told from those that belong to the images."""

from __future__ import annotations

import numpy as np
import pytest

from conformance.check import Status
from conformance.metrics.accuracy import labels_check
from conformance.predictions import Predictions

COUNT, CLASSES = 37, 100


def predictions(*, right: float, shift: int) -> Predictions:
    """Answers of which a share is right, and labels moved by some classes."""
    random = np.random.default_rng(0)
    labels = random.integers(0, CLASSES, COUNT)
    scores = random.normal(0, 1, (COUNT, CLASSES)).astype(np.float32)
    known = np.arange(COUNT) < right * COUNT
    scores[known, labels[known]] = 10
    names = tuple(f"{number:02d}.JPEG" for number in range(COUNT))
    return Predictions(names, scores, (labels + shift) % CLASSES)


@pytest.mark.parametrize("right", [0.0, 0.4, 0.8, 1.0])
def test_labels_that_belong_pass(right: float) -> None:
    assert labels_check(predictions(right=right, shift=0)).status is Status.PASS


@pytest.mark.parametrize("shift", [-1, 1])
@pytest.mark.parametrize("right", [0.6, 0.8, 1.0])
def test_shifted_labels_are_told(right: float, shift: int) -> None:
    made = labels_check(predictions(right=right, shift=shift))
    assert made.status is Status.ERROR
    assert f"moved by {-shift:+d}" in made.detail


def test_a_model_that_knows_nothing_says_nothing() -> None:
    assert labels_check(predictions(right=0.0, shift=1)).status is Status.PASS
