"""``baselines/bounds.json``: the accepted bounds, with a digest over all of them."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from conformance.errors import ConformanceError, EvidenceError
from conformance.evidence.baseline import FOLDER
from conformance.evidence.bundle import Sha256
from conformance.evidence.bundle_files import read_limited
from conformance.whole_files import write_whole_with_folder

RECORD_FILE = Path(__file__).resolve().parent.parent.parent / FOLDER / "bounds.json"
MAX_BYTES = 1024 * 1024
LAST_DIGITS = 1e-9


class AcceptedBound(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One accepted bound: its name (scope/key), number, which way is looser, unit and SoC."""

    name: str
    value: float
    looser: Literal["higher", "lower"]
    unit: str
    soc: str
    accepted: dt.date

    def allows(self, value: float) -> bool:
        """Whether a number lets no more pass than this one."""
        slack = LAST_DIGITS * abs(self.value)
        return (
            value <= self.value + slack if self.looser == "higher" else value >= self.value - slack
        )


class BoundsRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All accepted bounds and the digest over them."""

    bounds: tuple[AcceptedBound, ...]
    sha256: Sha256


def read_record(path: Path = RECORD_FILE) -> BoundsRecord:
    """Read the record of accepted bounds.

    Raises:
        EvidenceError: It is missing, damaged, or was edited by hand.
    """
    try:
        record = msgspec.json.decode(read_limited(path, MAX_BYTES), type=BoundsRecord)
    except (EvidenceError, msgspec.MsgspecError) as error:
        raise _damaged(path, getattr(error, "got", error)) from None
    if record.sha256 != _digest(record.bounds):
        raise _damaged(path, "its digest is of other bounds: it was edited by hand")
    return record


def _damaged(path: Path, got: object) -> EvidenceError:
    return EvidenceError(
        "the record of accepted bounds cannot be read",
        got=got,
        where={"file": path},
        next_step="take the file back from version control",
    )


def _digest(bounds: Sequence[AcceptedBound]) -> str:
    return hashlib.sha256(msgspec.json.encode(bounds)).hexdigest()


def write_record(path: Path, bounds: Sequence[AcceptedBound]) -> None:
    """Write the record, whole or not at all.

    Raises:
        EvidenceError: It cannot be written.
    """
    ordered = tuple(sorted(bounds, key=lambda bound: bound.name))
    record = BoundsRecord(bounds=ordered, sha256=_digest(ordered))
    encoded = msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n"
    try:
        write_whole_with_folder(encoded, path)
    except ConformanceError as error:
        raise EvidenceError(
            "the record of accepted bounds cannot be written",
            got=error.got,
            where={"file": path},
            next_step="name a file in a folder that this user may write with --record=FILE",
        ) from error
