"""``statement.json``: an in-toto statement of the run's result over the digests of its bundle.

It is what a user signs with a tool of their own: it names every file of the bundle and everything
that was tested by its sha256, so that a signature over it covers all of them. The format is in-toto
Statement v1 with the test-result predicate v0.1 of the in-toto attestation framework.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from conformance.check import Status
from conformance.errors import EvidenceError
from conformance.evidence.bundle import STATEMENT_FILE, Evidence
from conformance.evidence.bundle_files import read_limited, write_whole

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://in-toto.io/attestation/test-result/v0.1"
# Subjects that were tested and need not be in the bundle, told from its files by their prefix.
TESTED = "tested:"
MAX_BYTES = 16 * 1024 * 1024
MAX_FILES = 10_000
# The statement itself, and the signature that a user puts beside it.
NOT_STATED = {STATEMENT_FILE, f"{STATEMENT_FILE}.sig"}
_BLOCK_BYTES = 1 << 20


class Sha256Digest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A digest in in-toto's form: by the name of its algorithm, of which the suite uses one."""

    sha256: str


class Subject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of the bundle, or something tested, by its digest."""

    name: str
    digest: Sha256Digest


class Statement(msgspec.Struct, frozen=True, rename={"type_": "_type"}, forbid_unknown_fields=True):
    """An in-toto statement, with no field but those that the suite writes."""

    type_: str
    subject: tuple[Subject, ...]
    predicateType: str  # noqa: N815 - in-toto's own spelling
    predicate: dict[str, Any]

    @property
    def digests(self) -> dict[str, str]:
        """The sha256 of each subject by its name."""
        return {subject.name: subject.digest.sha256 for subject in self.subject}


def make_statement(evidence: Evidence, files: dict[str, str]) -> Statement:
    """Return the statement of a run; ``files`` are the bundle's, name to sha256."""
    tested = {f"{TESTED}{name}": digest.sha256 for name, digest in evidence.digests.items()}
    return Statement(
        type_=STATEMENT_TYPE,
        subject=tuple(
            Subject(name, Sha256Digest(digest)) for name, digest in sorted((files | tested).items())
        ),
        predicateType=PREDICATE_TYPE,
        predicate=predicate(evidence),
    )


def predicate(evidence: Evidence) -> dict[str, Any]:
    """Return the test-result predicate: the result, what it was made with, and the tests."""
    decision = evidence.decision
    passed = [test.test for test in evidence.tests if test.status is Status.PASS]
    failed = [t.test for t in evidence.tests if t.status in (Status.FAIL, Status.ERROR)]
    other = [test.test for test in evidence.tests if test.test not in {*passed, *failed}]
    conformant = decision is not None and decision.verdict == "CONFORMANT"
    configuration = [
        {"name": f"models/{model}.toml", "digest": {"sha256": digest}}
        for model, digest in sorted(evidence.specs.items())
    ]
    if decision:
        configuration.append({"name": "gates.toml", "digest": {"sha256": decision.gates_sha256}})
    return {
        "result": "PASSED" if conformant else "FAILED",
        "configuration": configuration,
        "passedTests": passed,
        "warnedTests": other,
        "failedTests": failed,
        "annotations": {"verdict": decision.line if decision else "no gate"},
    }


def write_statement(folder: Path, evidence: Evidence) -> Path:
    """Digest every file of a bundle and write its statement; nothing may change afterwards.

    Raises:
        EvidenceError: It cannot be written.
    """
    encoded = msgspec.json.encode(make_statement(evidence, file_digests(folder)))
    return write_whole(folder / STATEMENT_FILE, msgspec.json.format(encoded, indent=1) + b"\n")


def read_statement(folder: Path) -> Statement:
    """Read the statement of a bundle.

    Raises:
        EvidenceError: It is missing, damaged or of another kind.
    """
    content = read_limited(folder / STATEMENT_FILE, MAX_BYTES)
    try:
        statement = msgspec.json.decode(content, type=Statement)
    except msgspec.MsgspecError as error:
        raise _unusable(folder, error) from None
    if (statement.type_, statement.predicateType) != (STATEMENT_TYPE, PREDICATE_TYPE):
        raise _unusable(folder, f"{statement.type_} {statement.predicateType}")
    return statement


def file_digests(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file of a bundle, except the statement and its signatures.

    Raises:
        EvidenceError: A link or a special file is among them, or there are too many.
    """
    return {path.relative_to(folder).as_posix(): _sha256(path) for path in _files(folder)}


def _files(folder: Path) -> Iterator[Path]:
    for count, path in enumerate(sorted(folder.rglob("*"))):
        if count > MAX_FILES:
            raise _not_a_bundle(folder, f"more than {MAX_FILES} files")
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise _not_a_bundle(path, "a link or a special file")
        signature = path.parent == folder and path.name in NOT_STATED
        if path.is_file() and not signature:
            yield path


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _unusable(folder: Path, got: object) -> EvidenceError:
    return EvidenceError(
        "the statement cannot be read",
        got=got,
        expected=f"{STATEMENT_TYPE} with {PREDICATE_TYPE}",
        where={"bundle": folder},
        next_step="copy the bundle again",
    )


def _not_a_bundle(path: Path, got: str) -> EvidenceError:
    return EvidenceError(
        "the folder is not what a run wrote",
        got=got,
        expected="regular files",
        where={"path": path},
        next_step="do not trust this bundle",
    )
