"""Accuracy against the published figure, counted again from the predictions of a bundle.

A check that states another number than the predictions give is no check of this suite.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from conformance.check import Check, Status
from conformance.evidence.bundle import Evidence, PredictionSet
from conformance.evidence.gate import Gates
from conformance.evidence.om_digests import MEASURED
from conformance.evidence.prediction_file import Predictions
from conformance.metrics.best import DEPTH
from conformance.spec import ModelSpec

# Units in which Top-N accuracy is stated.
PERCENT, COUNT = "%", "images"
FROM, BELOW, ABOVE = "points from the published figure", "points below ", "points above "
PUBLISHED = ("accuracy.published", "accuracy.onnx")
CONTROL = "accuracy.control"
# No count or percentage of images is larger.
MOST = 1e15


def count_problems(
    evidence: Evidence,
    gates: Gates,
    specs: Mapping[str, ModelSpec],
    predictions: Predictions | None,
) -> Iterator[str]:
    """Yield every check of Top-N accuracy that the predictions contradict."""
    for made in evidence.checks:
        check, row = made.check, gates.row(made.check.id)
        if row is None or not row.recount or check.status not in MEASURED:
            continue
        fitting = [found for found in evidence.predictions if _fits(found, check, row.recount)]
        if not fitting:
            yield f"{check.label}: 0 sets of predictions by {row.recount}, needs one"
        elif not any(_gives(found, check, specs, predictions) for found in fitting):
            hits = ", ".join(str(_hits(found, _depth(check), predictions)) for found in fitting)
            yield f"{check.label}: states {check.value} {check.unit}, predictions give {hits} hits"
        if _is_suspicious(check, specs):
            yield f"{check.label}: PASS, and better than the spec believes"


def _fits(found: PredictionSet, check: Check, engine: str) -> bool:
    return found.engine == engine and all(
        check.coordinates.get(name, value) == value for name, value in found.coordinates.items()
    )


def _depth(check: Check) -> int:
    return int(check.id[-1])


def _hits(found: PredictionSet, depth: int, predictions: Predictions | None) -> int:
    """Return the hits of a set; of predictions that cannot be read, those that it states."""
    if predictions and found.name in predictions.sets:
        return predictions.hits(found.name)[depth - 1]
    return found.hits[depth - 1] if len(found.hits) == DEPTH else -1


def _gives(
    found: PredictionSet,
    check: Check,
    specs: Mapping[str, ModelSpec],
    predictions: Predictions | None,
) -> bool:
    """Whether predictions give the number that a check states, whichever way ties are broken."""
    value = _finite(check)
    if value is None:
        return False
    depth = _depth(check)
    hits, images = _hits(found, depth, predictions), found.images
    if check.unit in (PERCENT, COUNT):
        expected = 100 * hits / images if check.unit == PERCENT else hits
        return math.isclose(value, expected, rel_tol=1e-12)
    published = _published_pct(check, specs)
    if published is None or not check.unit.startswith((FROM, BELOW, ABOVE)):
        return False
    ties = _ties(found, depth, predictions)
    away = [published - 100 * (hits - tied) / images for tied in (0, ties)]
    if check.unit == FROM:
        return abs(value - abs(away[0])) <= 100 * ties / images + 1e-9
    below = -value if check.unit.startswith(ABOVE) else value
    return away[0] - 1e-9 <= below <= away[1] + 1e-9


def _finite(check: Check) -> float | None:
    """Return a check's value as a number; None where it is none, or none that can be measured."""
    value = check.value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= MOST else None


def _ties(found: PredictionSet, depth: int, predictions: Predictions | None) -> int:
    if predictions is None or found.name not in predictions.sets:
        return 0
    return predictions.ties(found.name)[depth - 1]


def _published_pct(check: Check, specs: Mapping[str, ModelSpec]) -> float | None:
    spec = specs.get(str(check.coordinates.get("model", "")))
    return (
        {1: spec.accuracy.top1_pct, 5: spec.accuracy.top5_pct}.get(_depth(check)) if spec else None
    )


def _is_suspicious(check: Check, specs: Mapping[str, ModelSpec]) -> bool:
    """Whether a model is called better than published by more than a spec believes."""
    spec = specs.get(str(check.coordinates.get("model", "")))
    if spec is None or check.id.rpartition(".")[0] not in PUBLISHED:
        return False
    value = _finite(check)
    if value is None or check.status is not Status.PASS:
        return False
    return -value > spec.accuracy.suspicious_gain_points
