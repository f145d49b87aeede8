"""Verification by a stranger: is a bundle one whole, and does it say what its own numbers say?

Everything that can be computed again is: digests, what the predictions give, each bound, each
status from value and bound, each class from its facts, and the verdict. What remains is a
consistent rewrite of the whole bundle, which only a signature excludes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from conformance.errors import ConformanceError, EvidenceError
from conformance.evidence.accepted_bounds import CHECK as BOUNDS_CHECK
from conformance.evidence.accepted_bounds import RECORD_DIGEST, SUITE_DIGEST, bounds_problems
from conformance.evidence.bundle import JUNIT_FILE, PREDICTIONS_FILE, Decision, Evidence
from conformance.evidence.bundle_files import read_evidence
from conformance.evidence.facts import FACTS_FILE
from conformance.evidence.flip_ledger import ledger_problems
from conformance.evidence.gate import Gates
from conformance.evidence.om_digests import om_problems
from conformance.evidence.prediction_file import Predictions, read_predictions
from conformance.evidence.rebound import bound_problems
from conformance.evidence.recompare import comparison_problems
from conformance.evidence.recompared_baseline import regression_problems
from conformance.evidence.record import CHECKS_FILE
from conformance.evidence.rederive import class_problems
from conformance.evidence.rejudge import count_problems
from conformance.evidence.report.page import page_problems
from conformance.evidence.sealed_files import (
    digest_problems,
    fact_problems,
    junit_problems,
    record_problems,
    text_problems,
)
from conformance.evidence.statuses import outcome_problems, status_problems, time_problems
from conformance.evidence.verdict import decide
from conformance.spec import ModelSpec

# What the numbers and texts of a stranger's bundle can do to arithmetic that believes them.
UNUSABLE = (
    *(ConformanceError, OSError, msgspec.MsgspecError, RecursionError),
    *(ValueError, TypeError, ArithmeticError, LookupError),
)


@dataclass(frozen=True)
class Verified:
    """What verification found.

    Attributes:
        evidence: The evidence as it was read.
        problems: Every contradiction; none if the bundle is consistent.
        decision: The verdict computed again, None for a run without a gate.
        recounted: How many sets of predictions were counted again.
        predictions: What the engines said of every image, None if the run kept none.
    """

    evidence: Evidence
    problems: tuple[str, ...]
    decision: Decision | None
    recounted: int
    predictions: Predictions | None


def verify(folder: Path, gates: Gates, specs: Mapping[str, ModelSpec]) -> Verified:
    """Compute everything in a bundle again and name what contradicts it.

    Args:
        folder: The bundle.
        gates: The gates of this checkout.
        specs: The specs of this checkout.

    Raises:
        EvidenceError: ``evidence.json`` cannot be read, so there is nothing to verify.
    """
    evidence = read_evidence(folder)
    problems: list[str] = []
    predictions = _predictions(folder, evidence, problems)
    parts: dict[str, Iterator[str]] = {
        "statement": digest_problems(folder, evidence),
        "files": text_problems(folder),
        CHECKS_FILE: record_problems(folder, evidence),
        FACTS_FILE: fact_problems(folder, evidence),
        JUNIT_FILE: junit_problems(folder, evidence),
        "times": time_problems(evidence),
        "statuses": status_problems(evidence),
        "outcomes": outcome_problems(evidence),
        "sources": _source_problems(evidence, gates, specs),
        "accepted bounds": bounds_problems(evidence, specs.values()),
        "classes": class_problems(folder, evidence, specs, predictions),
        "models": om_problems(evidence, gates),
        "predictions": _set_problems(evidence, predictions),
        "accuracy": count_problems(evidence, gates, specs, predictions),
        "comparisons": comparison_problems(folder, evidence, specs, predictions),
        "bounds": bound_problems(folder, evidence, gates, specs),
        "baseline": regression_problems(evidence, gates),
        "report": page_problems(folder),
        "flips": ledger_problems(folder, evidence, predictions, specs),
    }
    for name, part in parts.items():
        problems += _collected(name, part)
    decision = None
    if evidence.decision:
        decision, changed = _decided_again(evidence, evidence.decision, gates, specs)
        problems += changed
    recounted = len(evidence.predictions) if predictions else 0
    return Verified(evidence, tuple(dict.fromkeys(problems)), decision, recounted, predictions)


def _collected(name: str, problems: Iterator[str]) -> list[str]:
    """Return the problems of one part; what cannot be read or computed is one like any other."""
    found: list[str] = []
    try:
        found.extend(problems)
    except ConformanceError as error:
        found.append(str(error).replace("\n", ";"))
    except UNUSABLE as error:
        told = str(error).replace("\n", ";") or type(error).__name__
        found.append(f"{name}: cannot be computed again: {told}")
    return found


def _predictions(folder: Path, evidence: Evidence, problems: list[str]) -> Predictions | None:
    present = (folder / PREDICTIONS_FILE).exists()
    if not present and not evidence.predictions:
        return None
    try:
        return read_predictions(folder / PREDICTIONS_FILE)
    except EvidenceError as error:
        problems.append(str(error).replace("\n", ";"))
        return None


def _source_problems(
    evidence: Evidence, gates: Gates, specs: Mapping[str, ModelSpec]
) -> Iterator[str]:
    """Compare gates and specs with those of this checkout: a looser one decides otherwise."""
    if not evidence.command:
        yield "command: a run has a command line, this one states none"
    if any(made.check.id == BOUNDS_CHECK for made in evidence.checks):
        for name in sorted({RECORD_DIGEST, SUITE_DIGEST} - evidence.digests.keys()):
            yield f"{name}: {BOUNDS_CHECK} was made, and there is no digest of the file"
    named = {str(made.check.coordinates.get("model", "")) for made in evidence.checks} - {""}
    for model in sorted(named | evidence.specs.keys()):
        digest = evidence.specs.get(model, "none")
        if model not in specs or specs[model].sha256 != digest:
            yield f"models/{model}.toml: the run used another than this checkout has"
    if evidence.decision and evidence.decision.gates_sha256 != gates.sha256:
        yield "gates.toml: the run used another than this checkout has"


def _set_problems(evidence: Evidence, predictions: Predictions | None) -> Iterator[str]:
    """Count Top-N again of every set of predictions."""
    if predictions is None:
        return
    named = {found.name for found in evidence.predictions}
    if named != set(predictions.sets):
        yield f"{PREDICTIONS_FILE}: holds {sorted(predictions.sets)}, not {sorted(named)}"
        return
    for found in evidence.predictions:
        counted = (len(predictions.names), predictions.hits(found.name))
        if counted != (found.images, found.hits):
            yield f"{found.name}: {counted[1]} of {counted[0]} images are right, not as stated"


def _decided_again(
    evidence: Evidence, stated: Decision, gates: Gates, specs: Mapping[str, ModelSpec]
) -> tuple[Decision | None, list[str]]:
    try:
        decision = decide([evidence], gates, stated.gate, specs)
    except UNUSABLE as error:
        told = error.what if isinstance(error, ConformanceError) else error
        return None, [f"verdict: cannot be computed: {told}"]
    changed = [
        f"verdict: {name} stated {getattr(stated, name)!r}, the checks give {again!r}"
        for name in ("verdict", "line", "reasons", "required")
        if (again := getattr(decision, name)) != getattr(stated, name)
    ]
    return decision, changed
