"""Accuracy against PyTorch over the images of several runs, in which each image counts once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from conformance.check import Check
from conformance.evidence.bundle import Coordinates, Evidence, MadeCheck, PredictionSet
from conformance.evidence.flip_ledger import REFERENCE
from conformance.evidence.prediction_file import Predictions
from conformance.metrics.om_checks import PAIRED_DEPTHS, paired_check
from conformance.metrics.outcomes import Outcomes, join_outcomes
from conformance.spec import ModelSpec

Run = tuple[Evidence, Predictions | None]
# A claim and where it holds: the depth N and the coordinates of the ``.om``.
Place = tuple[int, tuple[tuple[str, str | int], ...]]
CANDIDATE = "om"
# The name under which joint checks stand among those of tests, and as a run among runs.
JOINT = "joined::accuracy"


def joint_accuracy(runs: Sequence[Run], specs: Mapping[str, ModelSpec]) -> list[Check]:
    """Compare each ``.om`` that several runs inferred with PyTorch, on all their images together.

    An image that several runs hold counts once, with the worst that the ``.om`` said of it, so that
    running the same subset again adds nothing. Of equal scores the lowest class comes first.

    Args:
        runs: What each run stated and predicted; they are on one subject.
        specs: The spec of each model.

    Returns:
        ``accuracy.paired`` at Top1 and Top5 of each ``.om`` that is in more than one run.

    Raises:
        DatasetError: PyTorch is right about an image in one run and wrong in another.
    """
    parts: dict[Place, list[Outcomes]] = defaultdict(list)
    for evidence, predictions in runs:
        for place, outcomes in _outcomes(evidence, predictions):
            parts[place].append(outcomes)
    return [
        _joined(n, found, dict(coordinates), specs)
        for (n, coordinates), found in parts.items()
        if len(found) > 1
    ]


def _outcomes(
    evidence: Evidence, predictions: Predictions | None
) -> Iterator[tuple[Place, Outcomes]]:
    if predictions is None:
        return
    for trusted, candidate in _pairs(evidence):
        place = tuple(sorted(candidate.coordinates.items()))
        for n in PAIRED_DEPTHS:
            right = (predictions.right(each.name, n) for each in (trusted, candidate))
            yield (n, place), Outcomes(predictions.names, *right)


def _pairs(evidence: Evidence) -> Iterator[tuple[PredictionSet, PredictionSet]]:
    """Yield each ``.om`` with PyTorch's predictions of its model."""
    trusted = {
        each.coordinates.get("model"): each
        for each in evidence.predictions
        if each.engine == REFERENCE
    }
    for candidate in evidence.predictions:
        model = candidate.coordinates.get("model")
        if candidate.engine == CANDIDATE and model in trusted:
            yield trusted[model], candidate


def _joined(
    n: int, parts: Sequence[Outcomes], coordinates: Coordinates, specs: Mapping[str, ModelSpec]
) -> Check:
    joined = join_outcomes(parts)
    bound = specs[str(coordinates["model"])].accuracy.max_drop_points
    check = paired_check(n, [joined], bound, once=False)
    repeated = sum(len(part.names) for part in parts) - len(joined.names)
    sets = len({part.digest for part in parts})
    detail = (
        f"{len(parts)} runs (different sets of images: {sets}) hold {len(joined.names):,} images "
        f"and {repeated:,} of them again, which adds nothing; {check.detail}"
    )
    place: Coordinates = {"model": coordinates["model"], **coordinates, "runs": len(parts)}
    return msgspec.structs.replace(check, coordinates=place, detail=detail)


def with_joint_checks(runs: Sequence[Evidence], checks: Sequence[Check]) -> list[Evidence]:
    """Return runs, and what holds of them together as one run more: a verdict rests on both."""
    if not checks:
        return list(runs)
    joint = Evidence(
        run=JOINT,
        started=min(run.started for run in runs),
        ended=max(run.ended for run in runs),
        checks=made_jointly(checks),
    )
    return [*runs, joint]


def made_jointly(checks: Sequence[Check]) -> tuple[MadeCheck, ...]:
    """Return joint checks as evidence keeps checks; no test made them."""
    return tuple(MadeCheck(test=JOINT, seconds=0.0, check=check) for check in checks)
