"""``evidence.json``: everything that one run found, in one versioned file.

A bundle is a folder. Whoever reads one may have it from a stranger, so nothing in it is believed
by its looks: sizes are limited before anything is decoded, names never leave the folder, and a
schema that this version does not know is refused.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from conformance.check import Check, Status
from conformance.errors import EvidenceError

SCHEMA_VERSION = 1
SCHEMA_ID = "ascend-conformance/evidence"
EVIDENCE_FILE = "evidence.json"
PREDICTIONS_FILE = "predictions.npz"
JUNIT_FILE = "junit.xml"
STATEMENT_FILE = "statement.json"

# A run of all batch sizes and both tools makes a few hundred checks, a kilobyte each.
MAX_BYTES = 64 * 1024 * 1024
MAX_CHECKS = 100_000

Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, msgspec.Meta(min_length=1)]
Coordinates = dict[str, str | int]


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of the evidence: what is not in the schema is refused."""


class EvidenceClass(_Part, frozen=True):
    """Class of the weights, the images or the board, and the facts it was derived from.

    Attributes:
        part: ``weights``, ``images`` or ``board``.
        value: The class, such as ``published``.
        model: The model it belongs to; empty where it belongs to all.
        facts: What the class was derived from, such as the digests of the weights.
    """

    part: Text
    value: Text
    model: str = ""
    facts: dict[str, str] = {}


class Digest(_Part, frozen=True):
    """A file or a list that the run used; it need not be in the bundle.

    Attributes:
        kind: ``weights``, ``onnx_model``, ``om_model``, ``dataset``, ``dumps``, ``performance``.
        sha256: Its digest, in hexadecimal.
        model: The model it belongs to; empty where it belongs to all.
    """

    kind: Text
    sha256: Sha256
    model: str = ""


class Board(_Part, frozen=True):
    """The board that the run used; files are names inside the bundle, empty where there are none.

    Attributes:
        soc_version: Such as ``Ascend310``.
        chips: The chips used, each by its NPU and chip id.
        npu_smi_before: What npu-smi printed before the run.
        npu_smi_after: What it printed after the run.
    """

    soc_version: Text
    chips: tuple[str, ...] = ()
    npu_smi_before: str = ""
    npu_smi_after: str = ""


class MadeCheck(_Part, frozen=True):
    """A check, the test that made it and how long that test took, in seconds."""

    test: Text
    seconds: float
    check: Check


class Outcome(_Part, frozen=True):
    """What became of one test."""

    test: Text
    status: Status
    seconds: float
    message: str = ""


class PredictionSet(_Part, frozen=True):
    """What one engine said of every image; the classes and scores are in ``predictions.npz``.

    Attributes:
        name: Prefix of its arrays there.
        engine: ``torch``, ``onnxruntime`` or ``om``.
        coordinates: Model, batch and the like.
        images: Number of images.
        hits: Images whose label is among the N best classes, for N from 1 to 5.
    """

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._=-]*$")]
    engine: Text
    coordinates: Coordinates
    images: Annotated[int, msgspec.Meta(ge=1)]
    hits: tuple[int, ...]


class Decision(_Part, frozen=True):
    """What a gate made of the run.

    Attributes:
        gate: The gate's name.
        verdict: ``CONFORMANT``, ``NOT CONFORMANT`` or ``INSUFFICIENT EVIDENCE``.
        line: The verdict with its classes, as it is printed.
        reasons: Why it is not conformant, each in one line.
        required: How many checks, each at its coordinates, the gate requires.
        gates_sha256: Digest of the gates file that was used.
    """

    gate: Text
    verdict: Text
    line: Text
    reasons: tuple[str, ...]
    required: int
    gates_sha256: Sha256


class Waiver(_Part, frozen=True):
    """Leave to accept a lower figure: why, who answers for it, and until when (a date)."""

    id: Text
    reason: Text
    owner: Text
    expires: Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    coordinates: Coordinates = {}


class Evidence(_Part, frozen=True, kw_only=True):
    """Everything that one run found.

    Attributes:
        schema: Which schema this is.
        schema_version: Its version.
        run: The run's name, unique.
        started: Start of the run in UTC, ISO 8601.
        ended: Its end.
        interrupted: Why the run did not come to its end; empty if it did.
        command: The command line, word by word.
        specs: The sha256 of each model's spec, by model.
        classes: Classes of weights, images and board, with the facts they were derived from.
        digests: Everything that was used, by name.
        versions: Of Python, packages, CANN, driver, firmware.
        board: The board, if one was used.
        checks: Every check, in the order in which they arrived.
        tests: Every test.
        predictions: What is in ``predictions.npz``.
        waivers: Waivers in force in the baseline of this model and board.
        conflicts: What contradicts itself within the run, such as two digests of one file.
        decision: The gate's verdict, if the run had a gate.
    """

    schema: Text = SCHEMA_ID
    schema_version: int = SCHEMA_VERSION
    run: Text
    started: Text
    ended: Text
    interrupted: str = ""
    command: tuple[str, ...] = ()
    specs: dict[str, Sha256] = {}
    classes: tuple[EvidenceClass, ...] = ()
    digests: dict[str, Digest] = {}
    versions: dict[str, str] = {}
    board: Board | None = None
    checks: tuple[MadeCheck, ...] = ()
    tests: tuple[Outcome, ...] = ()
    predictions: tuple[PredictionSet, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    conflicts: tuple[str, ...] = ()
    decision: Decision | None = None


class _Version(msgspec.Struct, frozen=True):
    """As much of a file as tells which schema it has."""

    schema: str = ""
    schema_version: int = 0


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of ``evidence.json``."""
    schema = msgspec.json.schema(Evidence)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"{SCHEMA_ID}/{SCHEMA_VERSION}",
        "title": "Evidence of one run of the conformance suite",
        **schema,
    }


def write_evidence(folder: Path, evidence: Evidence) -> Path:
    """Write ``evidence.json`` into a bundle, whole or not at all.

    Raises:
        EvidenceError: The folder cannot be written, or the device is full.
    """
    encoded = msgspec.json.format(msgspec.json.encode(evidence), indent=1)
    return write_whole(folder / EVIDENCE_FILE, encoded + b"\n")


def write_whole(path: Path, content: bytes) -> Path:
    """Write a file of a bundle: under another name first, then renamed.

    Raises:
        EvidenceError: The folder cannot be written, or the device is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
            Path(name).chmod(0o644)
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise EvidenceError(
            "the evidence cannot be written",
            got=error,
            where={"file": path},
            next_step="name a folder with room that this user may write with --evidence=DIR",
        ) from error
    return path


def read_evidence(folder: Path) -> Evidence:
    """Read ``evidence.json`` of a bundle, believing nothing.

    Raises:
        EvidenceError: It is missing, too large, truncated, of another schema, or holds what the
            schema does not allow.
    """
    content = read_limited(folder / EVIDENCE_FILE, MAX_BYTES)
    where = {"bundle": folder}
    _demand_schema(content, where)
    try:
        evidence = msgspec.json.decode(content, type=Evidence)
    except msgspec.MsgspecError as error:
        raise _damaged(error, where) from None
    if len(evidence.checks) > MAX_CHECKS:
        raise EvidenceError(
            "the bundle holds more checks than any run makes",
            got=f"{len(evidence.checks)} checks",
            expected=f"at most {MAX_CHECKS}",
            where=where,
            next_step="ask for the bundle that the suite wrote",
        )
    return evidence


def _demand_schema(content: bytes, where: Mapping[str, object]) -> None:
    try:
        version = msgspec.json.decode(content, type=_Version)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise _damaged(error, where) from None
    if version.schema == SCHEMA_ID and version.schema_version == SCHEMA_VERSION:
        return
    newer = version.schema == SCHEMA_ID and version.schema_version > SCHEMA_VERSION
    raise EvidenceError(
        "the bundle has a newer schema" if newer else "this is not evidence of this suite",
        got=f"{version.schema or 'no schema'} {version.schema_version}",
        expected=f"{SCHEMA_ID} {SCHEMA_VERSION}",
        where=where,
        next_step="read it with the version of the suite that wrote it",
    )


def _damaged(error: Exception, where: Mapping[str, object]) -> EvidenceError:
    return EvidenceError(
        "evidence.json cannot be read",
        got=error,
        expected=f"JSON of schema {SCHEMA_ID} {SCHEMA_VERSION}, whole and without NaN",
        where=where,
        next_step="copy the bundle again; a run that was killed leaves checks.jsonl and no verdict",
    )


def read_limited(path: Path, limit: int) -> bytes:
    """Read a file of a bundle.

    Raises:
        EvidenceError: It is missing, no regular file, or larger than ``limit`` bytes.
    """
    try:
        if path.is_symlink() or not path.is_file():
            raise FileNotFoundError("no regular file")
        size = path.stat().st_size
        if size <= limit:
            return path.read_bytes()
        got: object = f"{size} bytes"
    except OSError as error:
        got = error.strerror or error
    raise EvidenceError(
        f"{path.name} of the bundle cannot be read",
        got=got,
        expected=f"a regular file of at most {limit} bytes",
        where={"bundle": path.parent},
        next_step="copy the whole folder that the run wrote, or run again",
    )


def inside(folder: Path, name: str) -> Path:
    """Return the path of a file named by a bundle, which must lie in the bundle.

    Raises:
        EvidenceError: The name is absolute, climbs out, or reaches out through a link.
    """
    plain = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 ._=@+-]*(/[A-Za-z0-9][A-Za-z0-9 ._=@+-]*)*", name)
    path = folder / name
    if plain and path.resolve().is_relative_to(folder.resolve()):
        return path
    raise EvidenceError(
        "a name in the bundle leaves the bundle",
        got=repr(name),
        expected="the name of a file inside the folder",
        where={"bundle": folder},
        next_step="do not trust this bundle",
    )
