"""Expected failures, as data: ``expected_failures.toml``.

A row says which check fails, why, where that is followed up, and until when it is put up with. It
keeps a test run green, and never helps a gate: what is expected to fail is not conformant.
"""

from __future__ import annotations

import datetime as dt
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec

from conformance.check import Check
from conformance.errors import EvidenceError
from conformance.evidence.bundle import Coordinates, Text

EXPECTED_FILE = "expected_failures.toml"


class ExpectedFailure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A check that is known to fail.

    Attributes:
        id: The check.
        coordinates: Where; every place if empty.
        reason: Why.
        link: Where it is followed up.
        expires: The last day on which it is put up with.
    """

    id: Text
    reason: Text
    link: Annotated[str, msgspec.Meta(pattern=r"^https?://")]
    expires: dt.date
    coordinates: Coordinates = {}

    def is_about(self, check: Check) -> bool:
        """Whether the row names this check."""
        return check.id == self.id and self.coordinates.items() <= check.coordinates.items()

    @property
    def label(self) -> str:
        """The row in one line."""
        return f"{self.id} {self.coordinates or ''}: {self.reason} ({self.link}, {self.expires})"


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    failures: tuple[ExpectedFailure, ...] = ()


def read_expected(path: Path) -> tuple[ExpectedFailure, ...]:
    """Read the rows; none if there is no file.

    Raises:
        EvidenceError: It is damaged, or a field is missing or misspelt.
    """
    if not path.exists():
        return ()
    try:
        table = tomllib.loads(path.read_text("utf-8"))
        return msgspec.convert(table, _File, strict=True).failures
    except (OSError, ValueError) as error:
        raise EvidenceError(
            "the expected failures cannot be read",
            got=error,
            expected="[[failures]] with id, reason, link, expires and, where needed, coordinates",
            where={"file": path},
            next_step="correct the file",
        ) from None


def row_for(
    check: Check, rows: Iterable[ExpectedFailure], today: dt.date
) -> ExpectedFailure | None:
    """Return the row that names a check and has not expired."""
    return next((row for row in rows if row.is_about(check) and row.expires >= today), None)


def stale_rows(
    rows: Iterable[ExpectedFailure], checks: Iterable[Check], today: dt.date
) -> list[str]:
    """Return the rows that have expired or name no check of a full run, each with the cause."""
    made = list(checks)
    return [
        f"{'expired' if row.expires < today else 'names no check'}: {row.label}"
        for row in rows
        if row.expires < today or not any(map(row.is_about, made))
    ]
