"""Verification by a stranger: is a bundle one whole, and does it say what its own numbers say?

Everything that can be computed again is: digests, the counts of right images, each status from its
value and bound, each class from its facts, and the verdict. What remains is a consistent rewrite of
the whole bundle, which only a signature excludes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from conformance.check import Status, holds
from conformance.errors import ConformanceError, EvidenceError
from conformance.evidence.accepted_bounds import bounds_problems
from conformance.evidence.bundle import (
    JUNIT_FILE,
    PREDICTIONS_FILE,
    Decision,
    Evidence,
)
from conformance.evidence.bundle_files import demand_small, read_evidence, read_limited
from conformance.evidence.facts import FACTS_FILE, gather
from conformance.evidence.flip_ledger import ledger_problems
from conformance.evidence.gate import Gates
from conformance.evidence.junit import junit_xml
from conformance.evidence.prediction_file import Predictions, read_predictions
from conformance.evidence.record import CHECKS_FILE, CheckRecord, read
from conformance.evidence.rederive import class_problems
from conformance.evidence.rejudge import bound_problems, count_problems
from conformance.evidence.report.page import page_problems
from conformance.evidence.statement import TESTED, file_digests, predicate, read_statement
from conformance.evidence.tidy import belongs
from conformance.evidence.verdict import decide
from conformance.spec import ModelSpec

JUNIT_BYTES = RECORD_BYTES = 128 * 1024 * 1024


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
    parts: tuple[Iterator[str], ...] = (
        _digest_problems(folder, evidence),
        _record_problems(folder, evidence),
        _fact_problems(folder, evidence),
        _junit_problems(folder, evidence),
        _status_problems(evidence),
        _source_problems(evidence, gates, specs),
        bounds_problems(evidence, specs.values()),
        class_problems(folder, evidence, specs, predictions),
        _set_problems(evidence, predictions),
        count_problems(evidence, gates, specs, predictions),
        bound_problems(evidence, specs),
        page_problems(folder),
        ledger_problems(folder, evidence, predictions, specs),
    )
    for part in parts:
        problems += _collected(part)
    decision = None
    if evidence.decision:
        decision, changed = _decided_again(evidence, evidence.decision, gates, specs)
        problems += changed
    recounted = len(evidence.predictions) if predictions else 0
    return Verified(evidence, tuple(dict.fromkeys(problems)), decision, recounted, predictions)


def _collected(problems: Iterator[str]) -> Iterable[str]:
    """Return the problems of one part; what cannot be read is a problem like any other."""
    found: list[str] = []
    try:
        found += problems
    except (ConformanceError, OSError, msgspec.MsgspecError) as error:
        found.append(str(error).replace("\n", ";"))
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


def _digest_problems(folder: Path, evidence: Evidence) -> Iterator[str]:
    """Compare every file with the statement, and the statement with the evidence."""
    statement = read_statement(folder)
    stated = statement.digests
    if len(stated) != len(statement.subject):
        yield "statement: a subject is named twice"
    files = {name: sha256 for name, sha256 in stated.items() if not name.startswith(TESTED)}
    found = file_digests(folder)
    for name in sorted(files.keys() | found.keys()):
        if name not in found:
            yield f"{name}: missing, the statement names it"
        elif name not in files:
            yield f"{name}: added, the statement does not name it"
        elif files[name] != found[name]:
            yield f"{name}: changed, its digest is not the statement's"
        if name in found and not belongs(name):
            yield f"{name}: no run leaves such a file in a bundle"
    tested = {name.removeprefix(TESTED): d for name, d in stated.items() if name not in files}
    if tested != {name: digest.sha256 for name, digest in evidence.digests.items()}:
        yield "statement: other digests of what was tested than in the evidence"
    if statement.predicate != predicate(evidence):
        yield "statement: another result than in the evidence"


def _record_problems(folder: Path, evidence: Evidence) -> Iterator[str]:
    """Compare the checks with the records that were appended while the run went on."""
    demand_small(folder / CHECKS_FILE, RECORD_BYTES)
    records = read(folder)
    checks = [(r.test, r.check) for r in records if isinstance(r, CheckRecord)]
    if checks != [(made.test, made.check) for made in evidence.checks]:
        yield f"checks: not those of {CHECKS_FILE}"
    outcomes = [(r.test, r.status) for r in records if not isinstance(r, CheckRecord)]
    if outcomes != [(test.test, test.status) for test in evidence.tests]:
        yield f"tests: not those of {CHECKS_FILE}"


def _fact_problems(folder: Path, evidence: Evidence) -> Iterator[str]:
    """Compare classes, digests and the board with what the run's processes recorded."""
    demand_small(folder / FACTS_FILE, RECORD_BYTES)
    facts = gather(folder)
    recorded = (tuple(facts.classes.values()), facts.digests, facts.board, tuple(facts.conflicts))
    stated = (evidence.classes, evidence.digests, evidence.board, evidence.conflicts)
    named = ("classes", "digests", "board", "conflicts")
    for name, before, now in zip(named, recorded, stated, strict=True):
        if before != now:
            yield f"{name}: not those of {FACTS_FILE}"
    if not facts.versions.items() <= evidence.versions.items():
        yield f"versions: not those of {FACTS_FILE}"


def _junit_problems(folder: Path, evidence: Evidence) -> Iterator[str]:
    if read_limited(folder / JUNIT_FILE, JUNIT_BYTES) != junit_xml(evidence):
        yield f"{JUNIT_FILE}: not the tests of the evidence"


def _status_problems(evidence: Evidence) -> Iterator[str]:
    tests = {test.test for test in evidence.tests}
    for made in evidence.checks:
        if made.check.status is Status.PASS and not holds(made.check):
            yield f"{made.check.label}: PASS, and its value does not meet its bound"
        if made.test not in tests:
            yield f"{made.check.label}: made by a test that did not end: {made.test}"
    if evidence.ended < evidence.started:
        yield "the run ended before it started"


def _source_problems(
    evidence: Evidence, gates: Gates, specs: Mapping[str, ModelSpec]
) -> Iterator[str]:
    """Compare gates and specs with those of this checkout: a looser one decides otherwise."""
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
    except ConformanceError as error:
        return None, [f"verdict: cannot be computed: {error.what}"]
    changed = [
        f"verdict: {name} stated {getattr(stated, name)!r}, the checks give {again!r}"
        for name in ("verdict", "line", "reasons", "required")
        if (again := getattr(decision, name)) != getattr(stated, name)
    ]
    return decision, changed
