"""Checks, judged again by what they were made of: the predictions of a bundle and the specs here.

A check that states another number than the predictions give, or that was held to another bound
than the spec's, is no check of this suite.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from conformance.check import Check, Direction, Status
from conformance.evidence.bundle import Evidence, PredictionSet
from conformance.evidence.gate import Gates
from conformance.evidence.prediction_file import Predictions
from conformance.spec import ModelSpec

# Units in which Top-N accuracy is stated.
PERCENT, COUNT = "%", "images"
FROM, BELOW = "points from the published figure", "points below "
DECIDED = (Status.PASS, Status.FAIL)
PUBLISHED = ("accuracy.published", "accuracy.onnx")
CONTROL = "accuracy.control"
CARD = "throughput.card"


def count_problems(
    evidence: Evidence,
    gates: Gates,
    specs: Mapping[str, ModelSpec],
    predictions: Predictions | None,
) -> Iterator[str]:
    """Yield every check of Top-N accuracy that the predictions contradict."""
    for made in evidence.checks:
        check, row = made.check, gates.row(made.check.id)
        if row is None or not row.recount or check.status not in DECIDED:
            continue
        fitting = [found for found in evidence.predictions if _fits(found, check, row.recount)]
        if not fitting:
            yield f"{check.label}: 0 sets of predictions by {row.recount}, needs one"
        elif not any(_gives(found, check, specs, predictions) for found in fitting):
            hits = ", ".join(str(found.hits[_depth(check) - 1]) for found in fitting)
            yield f"{check.label}: states {check.value} {check.unit}, predictions give {hits} hits"


def _fits(found: PredictionSet, check: Check, engine: str) -> bool:
    return found.engine == engine and all(
        check.coordinates.get(name, value) == value for name, value in found.coordinates.items()
    )


def _depth(check: Check) -> int:
    return int(check.id[-1])


def _gives(
    found: PredictionSet,
    check: Check,
    specs: Mapping[str, ModelSpec],
    predictions: Predictions | None,
) -> bool:
    """Whether predictions give the number that a check states, whichever way ties are broken."""
    if isinstance(check.value, str | bool | None):
        return False
    depth = _depth(check)
    hits, images = found.hits[depth - 1], found.images
    if check.unit in (PERCENT, COUNT):
        expected = 100 * hits / images if check.unit == PERCENT else hits
        return math.isclose(check.value, expected, rel_tol=1e-12)
    published = _published_pct(check, specs)
    if published is None or not check.unit.startswith((FROM, BELOW)):
        return False
    ties = predictions.ties(found.name)[depth - 1] if predictions else 0
    away = [published - 100 * (hits - tied) / images for tied in (0, ties)]
    if check.unit == FROM:
        spread = 100 * ties / images
        return abs(check.value - abs(away[0])) <= spread + 1e-9
    return away[0] - 1e-9 <= check.value <= away[1] + 1e-9


def _published_pct(check: Check, specs: Mapping[str, ModelSpec]) -> float | None:
    spec = specs.get(str(check.coordinates.get("model", "")))
    return (
        {1: spec.accuracy.top1_pct, 5: spec.accuracy.top5_pct}.get(_depth(check)) if spec else None
    )


def bound_problems(evidence: Evidence, specs: Mapping[str, ModelSpec]) -> Iterator[str]:
    """Yield every check that was held to another bound than the spec of its model has."""
    for made in evidence.checks:
        spec = specs.get(str(made.check.coordinates.get("model", "")))
        if spec is None or made.check.status not in DECIDED:
            continue
        wanted = _bound(made.check, spec, evidence.board.soc_version if evidence.board else "")
        stated = made.check.bound
        if wanted is None or made.check.direction is Direction.RECORDED:
            continue
        if isinstance(stated, str | bool | None) or not math.isclose(stated, wanted, rel_tol=1e-9):
            yield f"{made.check.label}: held to {stated}, and its spec has {wanted:g}"
        if _is_suspicious(made.check, spec):
            yield f"{made.check.label}: PASS, and better than the spec believes"


def _is_suspicious(check: Check, spec: ModelSpec) -> bool:
    """Whether a model is called better than published by more than a spec believes."""
    group, value = check.id.rpartition(".")[0], check.value
    if group not in PUBLISHED or check.status is not Status.PASS:
        return False
    return isinstance(value, int | float) and -value > spec.accuracy.suspicious_gain_points


def _bound(check: Check, spec: ModelSpec, soc: str) -> float | None:
    """Return the bound that a spec has for a check; None where it has none of its own."""
    group = check.id.rpartition(".")[0]
    if group in PUBLISHED and check.unit.startswith(BELOW):
        return spec.accuracy.max_drop_points
    if group == CONTROL:
        return spec.accuracy.control_points
    if check.id == CARD:
        return _card_bound(check.coordinates, spec, soc)
    return None


def _card_bound(place: Mapping[str, str | int], spec: ModelSpec, soc: str) -> float | None:
    table = spec.throughput_of(soc)
    wanted = (place.get("batch"), place.get("tuned"))
    figures: Sequence[float] = [
        figure.fps
        for figure in (table.figures if table else ())
        if (figure.batch, "yes" if figure.tuned else "no") == wanted
    ]
    return table.bound_pct / 100 * figures[0] if table and figures else None
