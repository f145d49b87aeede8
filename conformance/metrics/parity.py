"""Numeric agreement of two engines, pooled over many inputs.

PyTorch in float64 is the reference. What float32 costs is measured on PyTorch itself, and an ONNX
engine may err a few times as much: single images vary too much to be judged one by one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from conformance.bounds import suite_bound
from conformance.check import Check, at_most, equal, recorded
from conformance.errors import ConformanceError

Outputs = Mapping[str, npt.NDArray[np.floating]]

# Measured on real SqueezeNet 1.1 weights, pooled: ONNX Runtime errs 1.3 to 1.4 times as much as
# PyTorch in float32, single images up to 3.8 times.
ALLOWED_RATIO = suite_bound("parity.ratio")
# Below a few units in the last place of float32 a ratio says nothing.
FLOOR_ULPS = suite_bound("parity.floor")
FLOAT32_ULP = 2.0**-24


@dataclass(frozen=True)
class PooledError:
    """Distance of outputs from the reference over all inputs, and the input that is worst."""

    rms: float
    largest: float
    worst_input: str


@dataclass(frozen=True)
class Parity:
    """How far a candidate and PyTorch in float32 are from the reference, and what is allowed."""

    candidate: PooledError
    float32: PooledError
    floor: float

    @property
    def rms_bound(self) -> float:
        """Largest allowed root mean square of the candidate's error."""
        return max(ALLOWED_RATIO * self.float32.rms, self.floor)

    @property
    def largest_bound(self) -> float:
        """Largest allowed error of any of the candidate's outputs."""
        return max(ALLOWED_RATIO * self.float32.largest, self.floor)


def measure_parity(candidate: Outputs, float32: Outputs, reference: Outputs) -> Parity:
    """Compare outputs by input name; each array holds one input's scores, shape (classes,).

    Raises:
        ConformanceError: There is nothing to compare, the inputs or shapes differ, or the
            reference or PyTorch's float32 is not finite.
    """
    largest = max((float(np.max(np.abs(scores))) for scores in reference.values()), default=0.0)
    parity = Parity(
        candidate=pooled_error(candidate, reference),
        float32=pooled_error(float32, reference),
        floor=FLOOR_ULPS * FLOAT32_ULP * largest,
    )
    if not math.isfinite(parity.float32.largest + largest):
        raise ConformanceError(
            "PyTorch's own outputs are not finite, so nothing can be compared with them",
            where={"input": parity.float32.worst_input},
            next_step="check the weights; the input claims are chosen to stay in range",
        )
    return parity


def pooled_error(candidate: Outputs, reference: Outputs) -> PooledError:
    """Return RMS and largest distance; an output that is not finite is infinitely far.

    Raises:
        ConformanceError: There is nothing to compare, or inputs or shapes differ.
    """
    demand_same_inputs(candidate, reference)
    squares, count, largest, worst_input = 0.0, 0, -1.0, ""
    for name, expected in reference.items():
        distance = np.abs(candidate[name].astype(np.float64) - expected)
        here = float(np.max(distance)) if np.isfinite(distance).all() else math.inf
        squares += float(np.sum(distance**2)) if math.isfinite(here) else math.inf
        count += distance.size
        if here > largest:
            largest, worst_input = here, name
    return PooledError(math.sqrt(squares / count), largest, worst_input)


def demand_same_inputs(candidate: Outputs, reference: Outputs) -> None:
    """Raise unless both sides hold the same inputs with the same shapes, and at least one."""
    if not reference or set(candidate) != set(reference):
        raise ConformanceError(
            "outputs of different inputs cannot be compared",
            got=", ".join(sorted(candidate)) or "no outputs",
            expected=", ".join(sorted(reference)) or "at least one output",
        )
    for name, expected in reference.items():
        if candidate[name].shape != expected.shape or not expected.size:
            raise ConformanceError(
                "outputs of different shapes cannot be compared",
                got=candidate[name].shape,
                expected=expected.shape,
                where={"input": name},
            )


def parity_checks(parity: Parity, prefix: str, scale: str) -> list[Check]:
    """Make the checks of one pool: RMS and largest error within PyTorch's own, times a factor."""
    source = (
        f"{ALLOWED_RATIO:g} times PyTorch float32's own error, at least "
        f"{FLOOR_ULPS:g} units in the last place of the largest score; float64 reference"
    )
    detail = f"worst input: {parity.candidate.worst_input}"
    if parity.candidate.rms > parity.rms_bound or parity.candidate.largest > parity.largest_bound:
        detail += "; is a format narrower than float32 in between, or another operator?"
    common = {"source": source, "detail": detail, "coordinates": {"scale": scale}}
    return [
        at_most(f"{prefix}.rms", parity.candidate.rms, parity.rms_bound, **common),
        at_most(f"{prefix}.largest", parity.candidate.largest, parity.largest_bound, **common),
        recorded(
            f"{prefix}.ratio",
            parity.candidate.rms / parity.float32.rms if parity.float32.rms else 0.0,
            unit="times PyTorch float32",
            coordinates={"scale": scale},
        ),
    ]


def changed_decisions(candidate: Outputs, reference: Outputs, bound: float) -> list[str]:
    """Return inputs whose best class changed although the reference's margin exceeds 2 x bound.

    Both scores of a margin may move by the bound, so a smaller margin decides nothing.
    """
    demand_same_inputs(candidate, reference)
    changed = []
    for name, expected in reference.items():
        runner_up, best = np.sort(expected)[-2:]
        got = candidate[name]
        same = np.isfinite(got).all() and int(np.argmax(got)) == int(np.argmax(expected))
        if not same and best - runner_up > 2 * bound:
            changed.append(name)
    return changed


def decision_check(
    candidate: Outputs, reference: Outputs, bound: float, check_id: str, scale: str
) -> Check:
    """Make the check that no decision changed outside the margin."""
    changed = changed_decisions(candidate, reference, bound)
    return equal(
        check_id,
        len(changed),
        0,
        unit="inputs",
        source=f"a decision may change only where the reference's margin is at most {2 * bound:g}",
        detail=", ".join(changed[:5]),
        coordinates={"scale": scale},
    )


def finite_check(candidate: Outputs, check_id: str, scale: str) -> Check:
    """Make the check that no output is NaN or infinite.

    Raises:
        ConformanceError: There are no outputs.
    """
    demand_same_inputs(candidate, candidate)
    bad = [name for name, scores in candidate.items() if not np.isfinite(scores).all()]
    return equal(
        check_id,
        len(bad),
        0,
        unit="inputs with NaN or infinity",
        detail=", ".join(bad[:5]),
        hint="an overflow: which operator leaves the range of its number format?" if bad else "",
        coordinates={"scale": scale},
    )
