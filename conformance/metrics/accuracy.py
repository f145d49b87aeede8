"""Top-N accuracy as checks: against the published figure, and of one engine against another.

Equal scores leave a range of counts: a PASS needs the worst of it, a FAIL the best.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import numpy.typing as npt

from conformance.bounds import suite_bound
from conformance.check import Check, SkipReason, Status, at_least, at_most, recorded, skipped
from conformance.metrics.census import CensusDecision, decide_census, decide_control
from conformance.metrics.topn import DEPTH, TopN, count_topn
from conformance.predictions import Predictions, Scores
from conformance.spec import Accuracy, ModelSpec

_ROWS = 1024  # rows compared at a time, so that intermediate arrays stay small
# Fewer distinct answers than this share of the distinct labels: the outputs do not depend on
# the images any more.
LEAST_DISTINCT_SHARE = suite_bound("accuracy.distinct_share")
LABELS_SURPRISE = suite_bound("accuracy.labels.surprise")
_TOO_GOOD = (
    "suspicious: better than the model can be; look at the labels, and whether the images are "
    "those that the weights were trained on"
)
_TIES = "equal scores decide; look at their rounding"


def control_checks(topn: TopN, spec: ModelSpec) -> list[Check]:
    """PyTorch on the full set must reproduce the published accuracy, or nothing can be compared.

    Where it does not, images, labels or the decoder are wrong, and not the model: ERROR.
    """
    accuracy = spec.accuracy
    checks = []
    for n, published in _published(accuracy):
        decision = decide_control(
            topn.worst[n - 1],
            topn.best[n - 1],
            published_pct=published,
            control_points=accuracy.control_points,
            images=topn.images,
        )
        hint = "look at input.passport, input.digest, the images and labels before the model"
        unit = "points from the published figure"
        detail = _figure(topn, n, published, decision)
        checks.append(
            _census_check(f"accuracy.control.top{n}", decision, accuracy, unit, detail, hint)
        )
    return checks


def published_checks(topn: TopN, spec: ModelSpec, prefix: str) -> list[Check]:
    """Top1 and Top5 on the full set stay within the allowed drop, and are not too good either."""
    accuracy = spec.accuracy
    checks = []
    for n, published in _published(accuracy):
        decision = decide_census(
            topn.worst[n - 1],
            topn.best[n - 1],
            published_pct=published,
            max_drop_points=accuracy.max_drop_points,
            suspicious_gain_points=accuracy.suspicious_gain_points,
            images=topn.images,
        )
        unit = f"points {'above' if decision.suspicious else 'below'} {published:g} %"
        detail = _figure(topn, n, published, decision)
        hint = _TOO_GOOD if decision.suspicious else ""
        checks.append(_census_check(f"{prefix}.top{n}", decision, accuracy, unit, detail, hint))
    return checks


def _census_check(
    name: str, decision: CensusDecision, accuracy: Accuracy, unit: str, detail: str, hint: str
) -> Check:
    made = at_most(
        name,
        decision.points,
        decision.bound_points,
        unit=unit,
        source=accuracy.source,
        detail=detail,
        hint=_TIES if decision.status is Status.INCONCLUSIVE else hint,
    )
    return msgspec.structs.replace(made, status=decision.status)


def _published(accuracy: Accuracy) -> list[tuple[int, float]]:
    return [(1, accuracy.top1_pct), (5, accuracy.top5_pct)]


def _figure(topn: TopN, n: int, published: float, decision: CensusDecision) -> str:
    pct = topn.accuracy_pct(n)
    drop = published - pct
    return (
        f"top{n} = {pct:.3f} %, drop {drop:.3f} points absolute, "
        f"{100 * drop / published:.2f} % relative; {decision.explanation}"
    )


def on_full_set(
    prefix: str, spec: ModelSpec, weights: str, images: str, measure: Callable[[], list[Check]]
) -> list[Check]:
    """Measure Top1 and Top5 where a published figure holds, else say why it does not.

    Args:
        prefix: Name of the two checks, which end in ``.top1`` and ``.top5``.
        spec: The model.
        weights: Class of the weights.
        images: Class of the images.
        measure: Makes the checks.
    """
    if weights != "published":
        reason, detail = SkipReason.NOT_PUBLISHED_WEIGHTS, f"the weights are {weights}"
    elif images != "full":
        reason, detail = SkipReason.NOT_FULL_SET, f"the images are {images}"
    else:
        return measure()
    detail += (
        f"; {spec.accuracy.top1_pct} / {spec.accuracy.top5_pct} % hold for the published weights "
        "on the 50,000 validation images\n  next: give --weights=FILE and --imagenet=DIR"
    )
    return [skipped(f"{prefix}.top{n}", reason, detail) for n, _ in _published(spec.accuracy)]


def count_checks(candidate: Predictions, reference: Predictions, bound: float) -> list[Check]:
    """Counts of two engines differ by no more than the images that rounding can move.

    Args:
        candidate: The engine under test.
        reference: The trusted one, on the same images.
        bound: Largest error of one score; a rank may change where two are within twice of it.
    """
    movable = movable_ranks(reference, bound)
    counted, against = count_topn(candidate), count_topn(reference)
    return [
        at_most(
            f"accuracy.reference.top{n}",
            abs(counted.hits[n - 1] - against.hits[n - 1]),
            movable[n - 1],
            unit="hits apart",
            source=f"images whose label is within {2 * bound:.3g} of rank {n}",
            detail=f"{counted.hits[n - 1]} hits against {against.hits[n - 1]} of {against.images}",
        )
        for n in range(1, min(DEPTH, counted.classes) + 1)
    ]


def movable_ranks(predictions: Predictions, bound: float) -> list[int]:
    """Return, for N from 1 to 5, how many labels lie within twice the bound of rank N.

    No label can fall out of as many ranks as there are classes.
    """
    near = np.zeros(min(DEPTH, predictions.classes - 1), np.int64)
    for start in range(0, len(predictions) if len(near) else 0, _ROWS):
        rows = slice(start, start + _ROWS)
        near += _near(predictions.scores[rows], predictions.labels[rows], len(near), 2 * bound)
    return [int(count) for count in near] + [0] * (DEPTH - len(near))


def _near(
    scores: Scores, labels: npt.NDArray[np.int64], depth: int, width: float
) -> npt.NDArray[np.int64]:
    own = np.take_along_axis(scores, labels[:, np.newaxis], axis=1)
    others = scores.copy()
    np.put_along_axis(others, labels[:, np.newaxis], -np.inf, axis=1)
    best = -np.sort(np.partition(-others, depth - 1, axis=1)[:, :depth], axis=1)
    counted: npt.NDArray[np.int64] = (np.abs(best - own) <= width).sum(axis=0)
    return counted


def labels_check(reference: Predictions) -> Check:
    """PyTorch finds no more images right if every label is moved by a class, up or down.

    Where it does, the labels count from another number: ERROR in the data, not FAIL of a model.
    It is told from any model that is better than chance, on a few dozen images.
    """
    own = count_topn(reference).hits[DEPTH - 1]
    moved = {step: _hits_if_moved(reference, step) for step in (-1, 1)}
    step, most = max(moved.items(), key=lambda item: item[1])
    surprise = LABELS_SURPRISE * (own + most + 1) ** 0.5
    made = at_most(
        "accuracy.labels",
        most - own,
        int(surprise),
        unit=f"top{DEPTH} hits more if labels are moved by a class",
        source=f"{LABELS_SURPRISE:g} standard deviations of a difference of two counts",
        detail=f"{own} hits of {len(reference)} with the labels as they are, {most} with each "
        f"moved by {step:+d}",
    )
    if made.status is not Status.FAIL:
        return made
    hint = "the labels are shifted: do they count from 1, or belong to another list of classes?"
    return msgspec.structs.replace(made, status=Status.ERROR, hint=hint)


def _hits_if_moved(reference: Predictions, step: int) -> int:
    labels = (reference.labels + step) % reference.classes
    return count_topn(Predictions(reference.names, reference.scores, labels)).hits[DEPTH - 1]


def collapse_checks(predictions: Predictions) -> list[Check]:
    """The answers still depend on the images: their classes are about as many as the labels'."""
    answers = predictions.scores.argmax(axis=1)
    distinct, wanted = len(np.unique(answers)), len(np.unique(predictions.labels))
    most, times = max(zip(*np.unique(answers, return_counts=True), strict=True), key=lambda x: x[1])
    least = max(1, round(LEAST_DISTINCT_SHARE * wanted))
    made = at_least(
        "accuracy.classes",
        distinct,
        least,
        unit="distinct answers",
        source=f"{LEAST_DISTINCT_SHARE:.0%} of the {wanted} classes among the labels",
        detail=f"class {most} is given {times} times",
    )
    return [made, recorded("accuracy.classes.largest_share", 100 * times / len(answers), unit="%")]
