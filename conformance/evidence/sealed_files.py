"""The files of a sealed bundle against each other: nothing added, cut, repeated or told twice."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from conformance.evidence.bundle import (
    EVIDENCE_FILE,
    FLIPS_FILE,
    JUNIT_FILE,
    STATEMENT_FILE,
    Evidence,
)
from conformance.evidence.bundle_files import demand_small, read_limited
from conformance.evidence.facts import FACTS_FILE, gather
from conformance.evidence.junit import junit_xml
from conformance.evidence.record import (
    ARTIFACTS_FILE,
    CHECKS_FILE,
    CheckRecord,
    is_cut,
    lines,
    read,
    read_artifacts,
)
from conformance.evidence.statement import TESTED, file_digests, predicate, read_statement
from conformance.evidence.tidy import belongs

MOST_BYTES = 128 * 1024 * 1024
RECORDS = (CHECKS_FILE, FACTS_FILE, ARTIFACTS_FILE)
DOCUMENTS = (EVIDENCE_FILE, FLIPS_FILE, STATEMENT_FILE)


def digest_problems(folder: Path, evidence: Evidence) -> Iterator[str]:
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


def text_problems(folder: Path) -> Iterator[str]:
    """Find what a reader would leave out: a line without its end, a key that stands twice."""
    for name in RECORDS:
        demand_small(folder / name, MOST_BYTES)
        if is_cut(folder / name):
            yield f"{name}: its last line is not finished, and the bundle is"
        for number, line in enumerate(lines(folder / name), start=1):
            yield from (f"{name}: line {number} {told}" for told in _misread(line))
    for name in DOCUMENTS:
        if (folder / name).exists():
            content = read_limited(folder / name, MOST_BYTES)
            yield from (f"{name}: {told}" for told in _misread(content))
    yield from _artifact_problems(folder)


def _artifact_problems(folder: Path) -> Iterator[str]:
    try:
        read_artifacts(folder)
    except msgspec.MsgspecError as error:
        yield f"{ARTIFACTS_FILE}: {error}"


def _misread(content: bytes) -> Iterator[str]:
    """Yield why a text is no JSON, or the keys that a decoder would drop without a word."""
    try:
        yield from (f"has the key {key!r} twice in one object" for key in _repeated_keys(content))
    except (ValueError, RecursionError) as error:
        yield f"is no JSON: {error}"


def _repeated_keys(content: bytes) -> list[str]:
    """Return the keys that stand twice in one object; of these a decoder takes the last."""
    repeated: list[str] = []

    def keep(pairs: list[tuple[str, Any]]) -> None:
        if len(dict(pairs)) != len(pairs):
            repeated.extend(key for key, count in Counter(k for k, _ in pairs).items() if count > 1)

    json.loads(content, object_pairs_hook=keep)
    return repeated


def record_problems(folder: Path, evidence: Evidence) -> Iterator[str]:
    """Compare the checks with the records that were appended while the run went on."""
    demand_small(folder / CHECKS_FILE, MOST_BYTES)
    records = read(folder)
    checks = [(r.test, r.check) for r in records if isinstance(r, CheckRecord)]
    if checks != [(made.test, made.check) for made in evidence.checks]:
        yield f"checks: not those of {CHECKS_FILE}"
    ended = [record for record in records if not isinstance(record, CheckRecord)]
    if [(r.test, r.status) for r in ended] != [(test.test, test.status) for test in evidence.tests]:
        yield f"tests: not those of {CHECKS_FILE}"
    told = [(record.seconds, record.message) for record in ended]
    if told != [(test.seconds, test.message) for test in evidence.tests]:
        yield f"tests: other durations or messages than in {CHECKS_FILE}"
    seconds = {record.test: record.seconds for record in ended}
    for made in evidence.checks:
        if made.seconds != seconds.get(made.test, 0.0):
            yield f"{made.check.label}: {made.seconds} s, and its test took otherwise"


def fact_problems(folder: Path, evidence: Evidence) -> Iterator[str]:
    """Compare classes, digests, the board and predictions with what the run's processes said."""
    demand_small(folder / FACTS_FILE, MOST_BYTES)
    facts = gather(folder)
    sets = tuple(kept.found for kept in facts.predictions.values())
    for name, before, now in (
        ("classes", tuple(facts.classes.values()), evidence.classes),
        ("digests", facts.digests, evidence.digests),
        ("board", facts.board, evidence.board),
        ("predictions", sets, evidence.predictions),
        ("conflicts", tuple(facts.conflicts), evidence.conflicts),
    ):
        if before != now:
            yield f"{name}: not those of {FACTS_FILE}"
    if not facts.versions.items() <= evidence.versions.items():
        yield f"versions: not those of {FACTS_FILE}"


def junit_problems(folder: Path, evidence: Evidence) -> Iterator[str]:
    """Compare JUnit's file with the tests."""
    if read_limited(folder / JUNIT_FILE, MOST_BYTES) != junit_xml(evidence):
        yield f"{JUNIT_FILE}: not the tests of the evidence"
