"""Checks of a bundle, made again from its predictions as far as these hold what they were made of.

Of each image they hold the best classes: five of an engine, twenty of PyTorch. What lies beyond
them leaves a range, and a check must state a number inside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from conformance.check import Check, Scalar, Status
from conformance.evidence.bundle import Coordinates, Evidence, PredictionSet
from conformance.evidence.prediction_file import Predictions
from conformance.metrics.best import Best
from conformance.spec import ModelSpec

Range = tuple[float, float]
EXACT = 1e-9


@dataclass(frozen=True)
class Remade:
    """What predictions make of one check.

    Attributes:
        value: The least and the most that its value can be; texts of which it must be one.
        bound: The same of its bound; None where predictions do not give it.
        statuses: What it can be; empty where predictions do not say.
    """

    value: Range | tuple[str, ...]
    bound: Range | None = None
    statuses: tuple[Status, ...] = ()

    def problems(self, check: Check) -> Iterator[str]:
        """Yield whatever the check states otherwise."""
        if not _fits(check.value, self.value):
            told = f"{check.value} {check.unit}".rstrip()
            yield f"{check.label}: states {told}, the predictions give {_told(self.value)}"
        if self.bound and not _fits(check.bound, self.bound):
            told = _told(self.bound)
            yield f"{check.label}: held to {check.bound}, the predictions give {told}"
        if self.statuses and check.status not in self.statuses:
            named = " or ".join(self.statuses)
            yield f"{check.label}: {check.status}, the predictions give {named}"


def _fits(stated: Scalar, wanted: Range | tuple[str, ...]) -> bool:
    if isinstance(stated, str):
        return stated in wanted
    if stated is None or isinstance(stated, bool) or any(isinstance(w, str) for w in wanted):
        return False
    least, most = (float(limit) for limit in wanted)
    return least - _slack(least) <= stated <= most + _slack(most)


def _slack(limit: float) -> float:
    return EXACT * max(1.0, abs(limit)) if math.isfinite(limit) else 0.0


def _told(wanted: Range | tuple[str, ...]) -> str:
    if isinstance(wanted[0], str):
        return " or ".join(dict.fromkeys(map(str, wanted)))
    least, most = (float(limit) for limit in wanted)
    if math.isinf(most):
        return f"at least {least:.6g}"
    return f"{least:.10g}" if least == most else f"{least:.10g} to {most:.10g}"


def exactly(number: float) -> Range:
    """Return the range of one number."""
    return (number, number)


@dataclass(frozen=True)
class Book:
    """Everything in a bundle that checks are made again from.

    Attributes:
        predictions: What each engine said of every image.
        sets: Which engine and place each set of them has.
        gaps: The largest gap that an engine's number format explains, by model and engine.
        specs: The specs of this checkout.
        checks: The bundle's checks.
    """

    predictions: Predictions
    sets: Sequence[PredictionSet]
    gaps: Mapping[tuple[str, str], float]
    specs: Mapping[str, ModelSpec]
    checks: Sequence[Check]

    @classmethod
    def of(
        cls,
        evidence: Evidence,
        predictions: Predictions,
        gaps: Mapping[tuple[str, str], float],
        specs: Mapping[str, ModelSpec],
    ) -> Book:
        """Open the book of a bundle."""
        checks = [made.check for made in evidence.checks]
        return cls(predictions, evidence.predictions, gaps, specs, checks)

    def spec(self, check: Check) -> ModelSpec | None:
        """Return the spec of a check's model; None if this checkout has none."""
        return self.specs.get(_model(check.coordinates))

    def gap(self, check: Check, engine: str) -> float | None:
        """Return the gap that the number format of an engine explains, as the run recorded it."""
        return self.gaps.get((_model(check.coordinates), engine))

    def torch(self, check: Check) -> Best | None:
        """Return PyTorch's predictions."""
        return self._first("torch", {"model": _model(check.coordinates)})

    def onnx(self, check: Check, batch: int | None = None) -> Best | None:
        """Return ONNX Runtime's at one batch size, by default that of the check."""
        size = check.coordinates.get("batch", 0) if batch is None else batch
        return self._first("onnxruntime", {"model": _model(check.coordinates), "batch": size})

    def om(self, check: Check, batch: int | None = None) -> Best | None:
        """Return those of the check's ``.om``, or of the untuned one of another batch size."""
        place: Coordinates = {"variant": "float32", "tuned": "no", **check.coordinates}
        if batch is not None:
            place |= {"batch": batch, "tuned": "no"}
        return self._first("om", place)

    def _first(self, engine: str, place: Coordinates) -> Best | None:
        fitting = [
            found.name
            for found in self.sets
            if found.engine == engine and found.coordinates.items() <= place.items()
        ]
        return self.predictions.sets.get(fitting[0]) if fitting else None


def _model(coordinates: Coordinates) -> str:
    return str(coordinates.get("model", ""))


# Makes a check again; None where the bundle does not hold what it was made of.
Rule = Callable[[Book, Check], Remade | None]
