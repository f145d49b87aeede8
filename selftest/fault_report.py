"""Writes the kill rate by stage into docs/faults.md, from pytest's own record of the matrix.

``python -m selftest.fault_report JUNIT.xml`` after a run of the matrix with ``--junit-xml=``.
"""

from __future__ import annotations

import datetime as dt
import os
import platform
import re
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from selftest.fault_rows import Row, known_rows
from selftest.photographs import PHOTOGRAPHS
from selftest.suites import ROOT
from selftest.test_fault_matrix import SECONDS, WORK

PAGE = ROOT / "docs" / "faults.md"
TITLE = "# What this suite is proved to catch\n"
HEAD = """
Each fault of `selftest/fault_matrix.toml` is put into a run on the emulated board or into its
files, one at a time. It counts as killed when the check that its row names says so, with a message
that names the cause, and nothing of it is left running. `make faults` runs them and writes this
page; `make selftest` fails when a row gets away, and also when a row that is listed below as a gap
is caught after all.
"""


@dataclass(frozen=True)
class Result:
    """What became of one run: whether it went as it should, and its seconds, wall and processor."""

    killed: bool
    seconds: float
    work_s: float


def results(path: Path) -> tuple[dict[str, Result], list[Result]]:
    """Read pytest's XML: results of rows by name, and those of clean runs.

    The file is our own, written a moment ago.
    """
    rows: dict[str, Result] = {}
    clean: list[Result] = []
    for case in ET.parse(path).iter("testcase"):  # noqa: S314 - see above
        name = case.get("name", "")
        found = re.fullmatch(r"test_every_fault_is_caught\[(.+)\]", name)
        result = Result(_passed(case), *(_noted(case, name) for name in (SECONDS, WORK)))
        if found:
            rows[found[1]] = result
        elif name.startswith("test_a_sound_board"):
            clean.append(result)
    return rows, clean


def _passed(case: ET.Element) -> bool:
    return not any(case.find(kind) is not None for kind in ("failure", "error", "skipped"))


def _noted(case: ET.Element, name: str) -> float:
    noted = {entry.get("name"): entry.get("value", "0") for entry in case.iter("property")}
    return float(noted.get(name, "0"))


def page(rows: Mapping[str, Result], clean: Iterable[Result]) -> str:
    """Return the whole page."""
    lines = [
        TITLE + HEAD,
        f"Measured on {_when_and_on_what()}.\n",
        f"{_costs(rows.values())} {_alarms(list(clean))}\n",
        *_by_stage(rows),
        "\n## Known gaps\n",
        *(_gaps() or ["None."]),
        "\n## Every row\n",
        *_every_row(rows),
    ]
    return "\n".join(lines) + "\n"


def _costs(found: Collection[Result]) -> str:
    wall, work = sum(result.seconds for result in found), sum(result.work_s for result in found)
    longest = max((result.seconds for result in found), default=0.0)
    return (
        f"{len(found)} faults took {wall:.0f} s of runs, two at a time, the longest "
        f"{longest:.1f} s, and {work:.0f} s of processor time."
    )


def _alarms(runs: Collection[Result]) -> str:
    alarms = sum(not run.killed for run in runs)
    return f"{len(runs)} sound boards, each with another seed, raised {alarms} false alarms."


def _when_and_on_what() -> str:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    day = dt.datetime.now(dt.UTC).date()
    images = "real" if PHOTOGRAPHS.is_dir() else "drawn"
    return (
        f"{day} at {commit.strip()}, {os.cpu_count()} cores, {platform.machine()}, Python "
        f"{platform.python_version()}, 37 {images} images, batch sizes 1 and 16"
    )


def _by_stage(rows: Mapping[str, Result]) -> Iterator[str]:
    yield "| stage | faults | killed | kill rate | longest, s |"
    yield "|---|---:|---:|---:|---:|"
    stages = dict.fromkeys(row.stage for row in known_rows().values())
    for stage in stages:
        yield _counted(stage, [rows[row.name] for row in _of(stage) if row.name in rows])
    yield _counted("**all**", list(rows.values()))


def _of(stage: str) -> list[Row]:
    return [row for row in known_rows().values() if row.stage == stage]


def _counted(stage: str, found: list[Result]) -> str:
    killed = sum(result.killed for result in found)
    longest = max((result.seconds for result in found), default=0.0)
    rate = f"{100 * killed / len(found):.1f} %" if found else "not run"
    return f"| {stage} | {len(found)} | {killed} | {rate} | {longest:.1f} |"


def _gaps() -> list[str]:
    return [f"- `{row.name}`: {row.symptom}. {row.gap}" for row in known_rows().values() if row.gap]


def _every_row(rows: Mapping[str, Result]) -> Iterator[str]:
    yield "| fault | what a user would have seen | caught by | as |"
    yield "|---|---|---|---|"
    for row in known_rows().values():
        if row.name not in rows:
            caught = "not run"
        else:
            caught = f"`{row.check}`" if rows[row.name].killed else "**nothing**"
        yield f"| {row.name} | {row.symptom} | {caught} | {row.status} |"


if __name__ == "__main__":
    PAGE.write_text(page(*results(Path(sys.argv[1]))), "utf-8")
