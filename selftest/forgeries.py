"""Tools of a forger who knows the format: edits, and everything that is made of what was edited."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from conformance.evidence.bundle import PREDICTIONS_FILE
from conformance.evidence.bundle_files import read_evidence
from conformance.evidence.facts import gather
from conformance.evidence.flip_ledger import make_ledger, write_ledger
from conformance.evidence.gate import Gates
from conformance.evidence.prediction_file import read_predictions
from selftest.made_bundles import (
    checks_of,
    decide_again,
    edit,
    restate,
    rewrite_facts,
    rewrite_records,
)

Data = dict[str, Any]


class Tampering(NamedTuple):
    """A way to make a run look better: what is done, and what must be said of it."""

    name: str
    do: Callable[[Path, Gates, Path], None]
    said: str


def editing(change: Callable[[Data], None], *, records: bool = True) -> Any:
    """Edit the evidence, and then everything that is made of it in the same bundle."""

    def do(folder: Path, _gates: Gates, _other: Path) -> None:
        edit(folder, change)
        rewrite_records(folder) if records else restate(folder)

    return do


def set_checks(check_id: str, **fields: object) -> Callable[[Data], None]:
    def change(data: Data) -> None:
        for check in checks_of(data, check_id):
            check.update(fields)

    return change


def drop_checks(check_id: str) -> Callable[[Data], None]:
    def change(data: Data) -> None:
        data["checks"] = [made for made in data["checks"] if made["check"]["id"] != check_id]

    return change


def set_class(part: str, value: str, **facts: str) -> Callable[[Data], None]:
    def change(data: Data) -> None:
        for found in data["classes"]:
            if found["part"] == part:
                found["value"] = value
                found["facts"].update(facts)

    return change


def forging(change: Callable[[Data], None]) -> Callable[[Path, Gates, Path], None]:
    """Rewrite the whole bundle: evidence, verdict, records, facts and statement."""

    def do(folder: Path, gates: Gates, _other: Path) -> None:
        edit(folder, change)
        evidence = decide_again(folder, gates)
        rewrite_facts(folder, evidence)
        rewrite_records(folder)

    return do


def rewrite_ledger(folder: Path) -> None:
    """Compare the decisions of edited predictions again."""
    held, sets = read_predictions(folder / PREDICTIONS_FILE), read_evidence(folder).predictions
    write_ledger(folder, make_ledger(held, sets, tuple(gather(folder).bounds.values())))


def add_check(data: Data, check: dict[str, Any]) -> None:
    test = f"tests/test_made.py::test_of_{check['id']}"
    data["checks"].append({"test": test, "seconds": 0.5, "check": check})
    status = check["status"]
    data["tests"].append({"test": test, "status": status, "seconds": 0.5, "message": ""})
