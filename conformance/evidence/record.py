"""The records of one run: one JSON line each, appended as they arrive.

A run that is killed leaves every record that it had made. Only one process writes: the controller
when the tests run in several workers.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from conformance.check import Check, Status
from conformance.errors import ConfigError
from conformance.evidence.scrub import this_machine

CHECKS_FILE = "checks.jsonl"
ARTIFACTS_FILE = "artifacts.jsonl"


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line: what is not in the schema is refused."""


class CheckRecord(_Line, frozen=True, tag_field="record", tag="check"):
    """One check, and the test that made it."""

    test: str
    check: Check


class OutcomeRecord(_Line, frozen=True, tag_field="record", tag="test"):
    """What became of one test."""

    test: str
    status: Status
    seconds: float
    message: str


class ArtifactRecord(_Line, frozen=True):
    """One artifact that the run used: found in the store, or built in so many seconds."""

    event: str
    kind: str
    key: str
    seconds: float


Record = CheckRecord | OutcomeRecord


def new_run_id() -> str:
    """Return a name for a run: its start in UTC, and six hex digits against collisions."""
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{secrets.token_hex(3)}"


def append(folder: Path, *records: Record) -> None:
    """Append what belongs together to the run's file, making the run's folder with the first.

    No interrupt comes between the records of one call: a check never stands there without what
    became of its test.

    Raises:
        ConfigError: The folder cannot be written.
    """
    append_lines(folder / CHECKS_FILE, *records)


def as_read(record: Record) -> Record:
    """Return a record as :func:`read` will give it: scrubbed, and without NaN."""
    read_back: Record = msgspec.json.decode(_encoded(record), type=Record)
    return read_back


def append_artifact(folder: Path, record: ArtifactRecord) -> None:
    """Append what happened to one artifact; every worker does, each line by one write.

    Raises:
        ConfigError: The folder cannot be written.
    """
    append_lines(folder / ARTIFACTS_FILE, record)


def read_artifacts(folder: Path) -> list[ArtifactRecord]:
    """Return what happened to the artifacts of one run."""
    return [
        msgspec.json.decode(line, type=ArtifactRecord) for line in lines(folder / ARTIFACTS_FILE)
    ]


def read(folder: Path) -> list[Record]:
    """Return the records of one run; a last line that was cut by a kill is left out."""
    return [msgspec.json.decode(line, type=Record) for line in lines(folder / CHECKS_FILE)]


def append_lines(path: Path, *records: msgspec.Struct) -> None:
    """Append records to a file by one write, without names of hosts, users and serial numbers.

    Raises:
        ConfigError: The folder cannot be written.
    """
    text = b"".join(_encoded(record) + b"\n" for record in records)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as stream:
            if stream.write(text) != len(text):  # unbuffered, a full disk takes a part silently
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Tell a failure to write one of the run's files as the mistake that it is.

    Raises:
        ConfigError: The file cannot be written.
    """
    try:
        yield
    except (OSError, NotImplementedError) as error:
        raise ConfigError(
            "the run's records cannot be written",
            got=error,
            where={"file": path},
            next_step="name a folder that this user may write with --evidence=DIR",
        ) from error


def _encoded(record: msgspec.Struct) -> bytes:
    return msgspec.json.encode(this_machine().record(msgspec.to_builtins(record)))


def is_cut(path: Path) -> bool:
    """Tell whether the last line of a file has no end, as after a kill: :func:`lines` drops it."""
    if not path.exists() or not path.stat().st_size:
        return False
    with path.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read() != b"\n"


def lines(path: Path) -> list[bytes]:
    """Return the whole lines of a file, none if there is no file; one cut by a kill is left out."""
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []
