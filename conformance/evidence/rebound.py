"""Bounds of a bundle's checks, against those that this checkout fixes or that follow from them.

A check that was held to another bound, or approached it from another side, is no check of this
suite. Where a bound is computed from the run, what it follows from stands elsewhere in the bundle.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from conformance.bounds import suite_bound
from conformance.check import Check, Direction, Scalar, Status
from conformance.evidence.bundle import Evidence
from conformance.evidence.facts import gather
from conformance.evidence.gate import GATES_NAME, Gates
from conformance.evidence.om_digests import MEASURED
from conformance.evidence.parity_bounds import parity_problems
from conformance.evidence.rejudge import ABOVE, CONTROL, PUBLISHED
from conformance.export.onnx_model import BATCH_AXIS, TensorFacts
from conformance.metrics.row_trial import SAME_PLACE
from conformance.spec import ModelSpec

CARD = "throughput.card"
SPEC, SUITE, RUN = "its spec has", "bounds.toml has", "the run's own figures give"
# Bounds that are words of the suite itself.
WORDS: dict[str, Scalar] = {"atc.converts": "converted", "export.valid": "valid", "atc.identity": 0}
# Bounds that bounds.toml states as they stand.
STATED = {
    "agreement.flips": "agreement.flips.limit_pct",
    "throughput.regression": "throughput.regression_pct",
}

SAME_PLACE_FACTOR = "float16.same_place_factor"
SAME_PLACE_IDS = frozenset(f"agreement.rows.{claim}" for claim in SAME_PLACE)


@dataclass(frozen=True)
class Wanted:
    """The bound that a check must have had, and where that stands."""

    bound: Scalar
    where: str


def bound_problems(
    folder: Path, evidence: Evidence, gates: Gates, specs: Mapping[str, ModelSpec]
) -> Iterator[str]:
    """Yield every check that was held to another bound than this checkout's.

    Raises:
        EvidenceError: The facts of the run cannot be read.
    """
    checks = [made.check for made in evidence.checks]
    held = [check for check in checks if check.status in MEASURED]
    gaps = {key: bound.explained_gap for key, bound in gather(folder).bounds.items()}
    for check in held:
        spec = specs.get(_model(check))
        if spec is None:
            continue
        wanted = _wanted(check, spec, evidence, gates)
        wanted = wanted or _allowed(check, held, spec, evidence, gaps)
        yield from _differs(check, wanted, gates)
    yield from _gap_problems(held, specs, evidence, gaps)
    yield from parity_problems(held, gaps)


def _differs(check: Check, wanted: Wanted | None, gates: Gates) -> Iterator[str]:
    row, recorded = gates.row(check.id), check.direction is Direction.RECORDED
    if row and row.must_be and not recorded and check.direction != row.must_be:
        yield f"{check.label}: compared as {check.direction}, {GATES_NAME} has {row.must_be}"
    decides = row and row.must_be and row.decides and not row.figures
    if decides and recorded and check.status is Status.PASS:
        yield f"{check.label}: PASS without a bound, and it decides by {GATES_NAME}"
    bounded = not recorded or isinstance(check.bound, str)
    if wanted and bounded and not _same(check.bound, wanted.bound):
        shown = f"{wanted.bound:g}" if isinstance(wanted.bound, float) else wanted.bound
        yield f"{check.label}: held to {check.bound}, and {wanted.where} {shown}"


def _same(stated: Scalar, wanted: Scalar) -> bool:
    if isinstance(stated, bool | str | None) or isinstance(wanted, bool | str | None):
        return stated == wanted and type(stated) is type(wanted)
    slack = 1e-9 * abs(wanted)
    return wanted - slack <= stated <= wanted + slack


def _wanted(check: Check, spec: ModelSpec, evidence: Evidence, gates: Gates) -> Wanted | None:
    """Return the bound that spec, gates, bounds.toml or the suite fixes; None if none does."""
    row = gates.row(check.id)
    if row and row.bound is not None:
        return Wanted(row.bound, f"{GATES_NAME} has")
    if check.id in WORDS:
        return Wanted(WORDS[check.id], "this suite has")
    if check.id in STATED:
        return Wanted(suite_bound(STATED[check.id]), SUITE)
    if check.id == CARD:
        return _card(check, spec, evidence.board.soc_version if evidence.board else "")
    points = _points(check, spec)
    return _exported(check, spec, evidence) if points is None else Wanted(points, SPEC)


def _points(check: Check, spec: ModelSpec) -> Scalar:
    """Return how many points of accuracy a spec allows; None for a check of something else."""
    group, accuracy = check.id.rpartition(".")[0], spec.accuracy
    if group == "accuracy.paired":
        return f"inside ±{accuracy.max_drop_points:g}"
    if group == CONTROL:
        return accuracy.control_points
    if group in PUBLISHED and check.unit.startswith(ABOVE):
        return accuracy.suspicious_gain_points
    return accuracy.max_drop_points if group in PUBLISHED else None


def _exported(check: Check, spec: ModelSpec, evidence: Evidence) -> Wanted | None:
    """Return what an exported model must be, in the words of its checks."""
    export = spec.export
    match check.id:
        case "export.opset":
            return Wanted(f"ai.onnx {export.opset}", SPEC)
        case "export.input":
            given = TensorFacts(export.input, "float", (BATCH_AXIS, *spec.input_shape))
            return Wanted(str(given), SPEC)
        case "export.output":
            scores = TensorFacts(export.output, "float", (BATCH_AXIS, export.classes))
            return Wanted(str(scores), SPEC)
        case "export.reproducible":
            kept = [d.sha256 for d in evidence.digests.values() if d.kind == "onnx_model"
                    and d.model == spec.name]  # fmt: skip
            return Wanted(kept[0] if len(kept) == 1 else None, "the digest of its ONNX model is")
    return None


def _card(check: Check, spec: ModelSpec, soc: str) -> Wanted | None:
    table, place = spec.throughput_of(soc), check.coordinates
    wanted = (place.get("batch"), place.get("tuned"))
    figures: Sequence[float] = [
        figure.fps
        for figure in (table.figures if table else ())
        if (figure.batch, "yes" if figure.tuned else "no") == wanted
    ]
    return Wanted(table.bound_pct / 100 * figures[0], SPEC) if table and figures else None


def _allowed(
    check: Check,
    held: Sequence[Check],
    spec: ModelSpec,
    evidence: Evidence,
    gaps: Mapping[tuple[str, str], float],
) -> Wanted | None:
    """Return the largest difference of a score that float16 or float32 was allowed."""
    group, _, claim = check.id.rpartition(".")
    times = 2 if claim == "scores" and group.endswith(".batch") else 1
    if not (group.endswith(".rows") or check.id == "agreement.scores" or times == 2):
        return None
    if check.id in SAME_PLACE_IDS:
        return _same_place(held, spec, evidence)
    if check.id.startswith("agreement."):
        fixed = fixed_float16(spec, evidence)
        epsilon = fixed or _stated_epsilon(held, spec)
        return Wanted(times * epsilon, SPEC if fixed else RUN) if epsilon else None
    gap = gaps.get((spec.name, "onnxruntime"))
    return None if gap is None else Wanted(times * gap / 2, RUN)


def _same_place(held: Sequence[Check], spec: ModelSpec, evidence: Evidence) -> Wanted | None:
    """Return what rows at the same place of a batch may differ by: less than float16 as a whole."""
    if spec.float16 is not None and fixed_float16(spec, evidence):
        return Wanted(suite_bound(SAME_PLACE_FACTOR) * spec.float16.storage_error, SPEC)
    stated = [c.bound for c in held if c.id in SAME_PLACE_IDS and _model(c) == spec.name]
    found = [bound for bound in stated if isinstance(bound, float)]
    epsilon = _stated_epsilon(held, spec)
    return Wanted(min([*found, epsilon]), RUN) if epsilon else None


def fixed_float16(spec: ModelSpec, evidence: Evidence) -> float | None:
    """Return the error of a score that a spec allows float16; None where the run derived its own.

    Sample weights have scores of a scale of their own, which no spec knows.
    """
    weights = {found.value for found in evidence.classes if found.part == "weights"
               and found.model in {"", spec.name}}  # fmt: skip
    return None if spec.float16 is None or "sample" in weights else spec.float16.epsilon


def _stated_epsilon(held: Sequence[Check], spec: ModelSpec) -> float | None:
    """Return the error that the run allowed float16, which all its checks must share."""
    stated = (c.bound for c in held if c.id == "agreement.scores" and _model(c) == spec.name)
    return next((bound for bound in stated if isinstance(bound, float)), None)


def _gap_problems(
    held: Sequence[Check],
    specs: Mapping[str, ModelSpec],
    evidence: Evidence,
    gaps: Mapping[tuple[str, str], float],
) -> Iterator[str]:
    """Yield what no derivation gives: gaps and errors have factors of one simulated error."""
    scores, decisions = suite_bound("float16.score_factor"), suite_bound("float16.decision_factor")
    for (model, engine), gap in gaps.items():
        spec = specs.get(model)
        if not math.isfinite(gap):
            yield f"decisions of {model}: judged by a gap of {gap} of {engine}"
        if spec is None or engine != "om" or fixed_float16(spec, evidence):
            continue
        epsilon, most = _stated_epsilon(held, spec), scores / (2 * decisions) * gap
        if epsilon is not None and epsilon > most * (1 + 1e-6):
            yield (
                f"agreement.scores of {model}: held to {epsilon:g}, and with decisions judged by a "
                f"gap of {gap:g} at most {most:g} follows from one simulated error"
            )


def _model(check: Check) -> str:
    return str(check.coordinates.get("model", ""))
