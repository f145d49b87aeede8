"""Counts of two engines: as far apart as rounding can move labels between ranks, and no further."""

from __future__ import annotations

import numpy as np
import pytest

from conformance.check import Status
from conformance.metrics.accuracy import count_checks, movable_ranks
from conformance.predictions import Predictions


def predictions(classes: int, images: int = 6) -> Predictions:
    random = np.random.default_rng(0)
    scores = random.standard_normal((images, classes)).astype(np.float32)
    labels = np.arange(images, dtype=np.int64) % classes
    return Predictions(tuple(f"{n}.JPEG" for n in range(images)), scores, labels)


@pytest.mark.parametrize("classes", [1, 2, 4, 5, 6, 1000])
def test_few_classes_have_few_ranks(classes: int) -> None:
    same = predictions(classes)
    made = count_checks(same, same, 1e-5)
    assert [check.id[-1] for check in made] == [str(n) for n in range(1, min(5, classes) + 1)]
    assert {check.status for check in made} == {Status.PASS}


def test_no_label_falls_out_of_as_many_ranks_as_there_are_classes() -> None:
    assert movable_ranks(predictions(4), 100.0) == [6, 6, 6, 0, 0]
