"""The files of a bundle, written whole or not at all, and read believing nothing.

A bundle is a folder. Whoever reads one may have it from a stranger: sizes are limited before
anything is decoded, names never leave the folder, and a schema that this version does not know is
refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from conformance import whole_files
from conformance.errors import ConformanceError, EvidenceError
from conformance.evidence.bundle import EVIDENCE_FILE, SCHEMA_ID, SCHEMA_VERSION, Evidence
from conformance.evidence.record import CHECKS_FILE, lines

# A run of all batch sizes and both tools makes a few hundred checks, a kilobyte each.
MAX_BYTES = 64 * 1024 * 1024
MAX_CHECKS = 100_000


class _Version(msgspec.Struct, frozen=True):
    """As much of a file as tells which schema it has."""

    schema: str = ""
    schema_version: int = 0


def write_evidence(folder: Path, evidence: Evidence) -> Path:
    """Write ``evidence.json`` into a bundle, whole or not at all.

    Raises:
        EvidenceError: The folder cannot be written, or the device is full.
    """
    encoded = msgspec.json.format(msgspec.json.encode(evidence), indent=1)
    return write_whole(folder / EVIDENCE_FILE, encoded + b"\n")


def write_whole(path: Path, content: bytes) -> Path:
    """Write a file of a bundle, whole or not at all, and the folder that it lies in.

    Raises:
        EvidenceError: The folder cannot be written, or the device is full.
    """
    try:
        whole_files.write_whole_with_folder(content, path)
    except ConformanceError as error:
        raise EvidenceError(
            "the evidence cannot be written",
            got=error.got,
            where={"file": path},
            next_step="name a folder with room that this user may write with --evidence=DIR",
        ) from error
    return path


def read_evidence(folder: Path) -> Evidence:
    """Read ``evidence.json`` of a bundle, believing nothing.

    Raises:
        EvidenceError: It is missing (a killed run leaves none), too large, truncated, of another
            schema, or holds what the schema does not allow.
    """
    if (folder / CHECKS_FILE).exists() and not (folder / EVIDENCE_FILE).exists():
        raise EvidenceError(
            "the run was killed before it ended, so there is no verdict",
            got=f"{len(lines(folder / CHECKS_FILE))} records and no {EVIDENCE_FILE}",
            where={"bundle": folder},
            next_step="run again; `python -m conformance report BUNDLE` shows the checks it made",
        )
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
    demand_small(path, limit)
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error.strerror or error, limit) from None


def demand_small(path: Path, limit: int) -> None:
    """Demand that a file of a bundle is not larger than ``limit`` bytes; it may be missing.

    Raises:
        EvidenceError: It is larger, or no regular file.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise _unreadable(path, "no regular file", limit)
    if path.exists() and path.stat().st_size > limit:
        raise _unreadable(path, f"{path.stat().st_size} bytes", limit)


def _unreadable(path: Path, got: object, limit: int) -> EvidenceError:
    return EvidenceError(
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
