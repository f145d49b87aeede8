"""Runs of pytest within tests: the environment they get, and the records they leave."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from conformance.check import Check, Status
from conformance.evidence.record import CheckRecord, OutcomeRecord, Record, read

ROOT = Path(__file__).resolve().parents[1]
ALONE = "PYTEST_DISABLE_PLUGIN_AUTOLOAD"
BESIDE_OTHERS = {ALONE: ""}
"""Variables of a run beside every plugin that is installed."""


def clean_environment(given: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment without what steers this suite, pytest or a worker of xdist.

    Plugins that only happen to be installed stay out: importing them takes longer than a small run.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CONFORMANCE_", "PYTEST_", "COV_"))
    }
    return kept | {"OMP_NUM_THREADS": "1", ALONE: "1"} | dict(given or {})


def run_python(
    *arguments: str | Path, cwd: Path = ROOT, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run this interpreter and return what it printed."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=clean_environment(environment),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def run_suite(
    *arguments: str | Path, cwd: Path = ROOT, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run pytest in a process of its own, as a user would."""
    options = ("-m", "pytest", "-p", "no:cacheprovider", "-p", "xdist")
    return run_python(*options, *arguments, cwd=cwd, environment=environment)


def records(evidence: Path) -> list[Record]:
    """Return the records of the only run in a folder."""
    return read(run_folder(evidence))


def run_folder(evidence: Path) -> Path:
    """Return the folder of the only run."""
    (folder,) = evidence.iterdir()
    return folder


def outcomes(found: list[Record]) -> dict[str, Status]:
    """Return what became of each test, by its name without the file."""
    told = [record for record in found if isinstance(record, OutcomeRecord)]
    named = {record.test.partition("::")[2]: record.status for record in told}
    assert len(named) == len(told), "a test has two outcomes"
    return named


def checks(found: list[Record], test: str = "") -> list[Check]:
    """Return the checks of the tests whose id contains a text, in order."""
    return [
        record.check for record in found if isinstance(record, CheckRecord) and test in record.test
    ]
