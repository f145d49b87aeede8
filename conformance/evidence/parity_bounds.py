"""Bounds of numeric parity, which follow from figures that stand beside them in the bundle.

PyTorch's own float32 error is the candidate's by the stated ratio. An allowed error is a factor of
that, or the floor, which is the same for the mean and for the largest error of one pool.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from conformance.bounds import suite_bound
from conformance.check import Check

RMS, LARGEST, RATIO = (f"export.parity.{name}" for name in ("rms", "largest", "ratio"))
# The pool from which a run derives the error that it allows float32.
POOL = {"batch": 1, "scale": "x1"}
# Last digits of sums that were taken in another order.
SLACK = 1e-6
Place = frozenset[tuple[str, str | int]]
Pool = dict[str, Check]


def parity_problems(held: Sequence[Check], gaps: Mapping[tuple[str, str], float]) -> Iterator[str]:
    """Yield each bound of parity that the figures beside it do not give.

    Args:
        held: The measured checks of a bundle.
        gaps: The largest gap that an engine's number format explains, by model and engine.
    """
    pools: dict[Place, Pool] = {}
    for check in held:
        if check.id in {RMS, LARGEST, RATIO}:
            pools.setdefault(frozenset(check.coordinates.items()), {})[check.id] = check
    for place, pool in pools.items():
        model = str(dict(place).get("model", ""))
        if RMS in pool and LARGEST in pool:
            yield from _pair_problems(pool)
        gap = gaps.get((model, "onnxruntime"))
        if LARGEST in pool and gap is not None and set(POOL.items()) <= place:
            largest = _number(pool[LARGEST].bound)
            if not _close(largest, gap / 2):
                yield (
                    f"{pool[LARGEST].label}: held to {largest:g}, half the gap of float32 decisions"
                    f" is {gap / 2:g}"
                )


def _pair_problems(pool: Pool) -> Iterator[str]:
    """Compare mean and largest error of one pool, and both bounds with the stated ratio."""
    rms, largest = pool[RMS], pool[LARGEST]
    if _number(rms.value) > _number(largest.value) * (1 + SLACK):
        yield f"{rms.label}: {rms.value} is more than the largest error {largest.value}"
    if _number(rms.bound) > _number(largest.bound) * (1 + SLACK):
        yield f"{rms.label}: held to {rms.bound}, more than the largest error's {largest.bound}"
    ratio = _number(pool[RATIO].value) if RATIO in pool else 0.0
    if ratio <= 0:
        return
    least = suite_bound("parity.ratio") * _number(rms.value) / ratio
    if _number(rms.bound) < least * (1 - SLACK):
        yield f"{rms.label}: held to {rms.bound}, and the stated ratio gives at least {least:g}"


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and abs(value) < 1e300 else float("inf")


def _close(one: float, other: float) -> bool:
    return abs(one - other) <= SLACK * max(abs(one), abs(other))
