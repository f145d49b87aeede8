"""An ``.om`` against the reference: each way of being wrong has its check."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from conformance.check import Check, Status
from conformance.metrics.batch_checks import batch_checks
from conformance.metrics.om_checks import (
    accuracy_records,
    images_check,
    om_agreement_checks,
    paired_check,
    paired_checks,
)
from conformance.metrics.outcomes import Outcomes
from conformance.metrics.topn import count_topn
from conformance.predictions import Predictions

IMAGES, CLASSES = 400, 50
Scores = npt.NDArray[np.floating[Any]]


def reference() -> Predictions:
    random = np.random.default_rng(1)
    scores = random.normal(0, 3, (IMAGES, CLASSES)).astype(np.float32)
    labels = scores.argmax(axis=1).astype(np.int64)
    return Predictions(tuple(f"image_{n:04d}" for n in range(IMAGES)), scores, labels)


def answering(scores: Scores) -> Predictions:
    given = reference()
    return Predictions(given.names, scores.astype(np.float32), given.labels)


def judged(scores: Scores) -> dict[str, Check]:
    made = om_agreement_checks(
        reference(), answering(scores), epsilon=0.1, decision_epsilon=0.05, source="test"
    )
    return {check.id: check for check in made}


def statuses(scores: Scores) -> tuple[Status, Status, Status]:
    made = judged(scores)
    return (
        made["agreement.scores"].status,
        made["agreement.decisions"].status,
        made["agreement.flips"].status,
    )


def test_rounding_agrees() -> None:
    near = reference().scores + np.random.default_rng(2).normal(0, 0.005, (IMAGES, CLASSES))
    assert statuses(near) == (Status.PASS, Status.PASS, Status.PASS)


def test_one_score_too_far_off_is_seen_and_its_image_named() -> None:
    scores = reference().scores.copy()
    scores[7, 3] -= 0.2
    made = judged(scores)["agreement.scores"]
    assert made.status is Status.FAIL
    assert "image_0007" in made.detail


def test_swapped_images_are_named_with_whose_row_they_are() -> None:
    scores = reference().scores.copy()
    scores[[3, 4]] = scores[[4, 3]]
    made = judged(scores)["agreement.scores"]
    assert made.status is Status.FAIL
    assert "the row of image_0003 is that of image_0004" in made.detail


def test_confident_flip_is_seen_even_alone() -> None:
    scores = reference().scores.copy()
    best, second = np.argsort(scores[9])[-1], np.argsort(scores[9])[-2]
    scores[9, [best, second]] = scores[9, [second, best]]
    assert statuses(scores)[1] is Status.FAIL
    told = judged(scores)["agreement.decisions"].detail
    assert f"image_0009 (class {best}): {second} at " in told
    assert f"PyTorch {best} at " in told
    assert "confident, more than rounding explains at float16" in told


def test_the_first_few_flips_are_told_and_how_many_more() -> None:
    told = judged(reference().scores[:, ::-1])["agreement.decisions"].detail.splitlines()
    assert told[0].startswith("400 of 400 decisions differ")
    assert len(told) == 5
    assert told[-1] == "and 397 more, in flips.json"
    few = judged(reference().scores)["agreement.decisions"].detail
    assert few.endswith("no decision of 400 images changed")


def test_two_batch_sizes_tell_what_they_decide_differently() -> None:
    scores = reference().scores.copy()
    ranked = np.argsort(-scores[9])
    scores[9, ranked[:2]] = scores[9, ranked[1::-1]]
    made = batch_checks(reference(), reference(), answering(scores), 0.01, "made.batch")
    told = {check.id: check for check in made}["made.batch.decisions"]
    assert told.status is Status.FAIL
    margin = scores[9, ranked[1]] - scores[9, ranked[0]]
    _, told_flip = told.detail.splitlines()
    assert told_flip.startswith(f"image_0009 (class {ranked[0]}): {ranked[1]} at ")
    assert told_flip.endswith(f"; PyTorch's margin {margin:.3g}: confident")


def test_classes_shifted_by_one_fail_every_check() -> None:
    assert set(statuses(np.roll(reference().scores, 1, axis=1))) == {Status.FAIL}


def test_few_images_cannot_bound_the_rate_of_flips() -> None:
    whole = reference()
    few = Predictions(whole.names[:5], whole.scores[:5], whole.labels[:5])
    made = om_agreement_checks(few, few, epsilon=0.1, decision_epsilon=0.05, source="test")
    assert [check.status for check in made][-1] is Status.INCONCLUSIVE
    assert "images would settle it" in made[-1].detail


def repeated(count: int) -> Predictions:
    """So many images, the reference's over and over under names of their own."""
    once = reference()
    rows = np.arange(count) % len(once)
    names = tuple(f"{row}.JPEG" for row in range(count))
    return Predictions(names, once.scores[rows], once.labels[rows])


def test_paired_accuracy_says_how_it_looks_and_what_would_settle_it() -> None:
    """The image count chooses the plan; both intervals are told, and what would settle it."""
    whole, half = repeated(500), repeated(350)
    one, _ = paired_checks(whole, whole, 1.0, once=False)
    assert one.status is Status.INCONCLUSIVE
    assert "look 1 of 5 at 500 images" in one.source
    assert one.unit == "points, 99.9 % interval"
    assert "about 5,000 images would settle it" in one.detail
    assert "points paired, only to ±" in one.detail
    sequence, _ = paired_checks(half, half, 1.0, once=False)
    assert "confidence sequence" in sequence.source
    assert "images would settle it" in sequence.detail
    once, _ = paired_checks(half, half, 1.0, once=True)
    assert "one analysis of a number fixed beforehand" in once.source
    assert once.unit == "points, 98 % interval"


def test_paired_accuracy_is_not_decided_by_the_order_of_equal_scores() -> None:
    scores = reference().scores.copy()
    few = slice(0, IMAGES // 10)
    best = scores[few].max(axis=1, keepdims=True)
    # The first and the last class tie with the label: one of the two usually comes before it.
    scores[few][:, [0, -1]] = best
    (top1, top5) = paired_checks(reference(), answering(scores), 5.0, once=True)
    assert (top1.status, top5.status) == (Status.INCONCLUSIVE, Status.PASS)
    assert "equal scores" in top1.hint
    assert "no number of images settles it while the order of equal scores decides" in top1.detail
    assert not top5.hint


def test_what_would_settle_another_order_of_equal_scores_is_told() -> None:
    def lost(count: int) -> Outcomes:
        right = np.arange(2000) >= count
        return Outcomes(tuple(map(str, range(2000))), np.ones(2000, bool), right)

    made = paired_check(1, [lost(5), lost(11)], 1.0, once=True)
    assert made.status is Status.INCONCLUSIVE
    assert "with equal scores in another order: the difference lies between" in made.detail
    assert "images would settle it" in made.detail


def test_paired_accuracy_sees_a_loss() -> None:
    scores = reference().scores.copy()
    scores[:200] = np.roll(scores[:200], 7, axis=1)
    made = paired_checks(reference(), answering(scores), 1.0, once=False)
    assert {check.id: check.status for check in made}["accuracy.paired.top1"] is Status.FAIL


def test_counts_are_recorded() -> None:
    top1, top5 = accuracy_records(count_topn(reference()))
    assert [top1.value, top5.value] == [100.0, 100.0]
    assert images_check(reference()).value == IMAGES
