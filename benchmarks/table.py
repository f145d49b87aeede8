"""The figures as a Markdown page."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks.measurement import Row
from conformance.errors import ConfigError

_PACKAGES = ("pillow", "numpy", "torch", "torchvision", "onnxruntime")
_INTRODUCTION = (
    "Written by `make bench`. Both sides of a row are timed in turns within one run, so a busy "
    "machine slows both; *theirs* is the guide's algorithm, or what the note says."
)
_COLUMNS = ("job", "ours", "theirs", "ratio: median (min to max)", "goal", "met")


def page(sections: Mapping[str, tuple[str, list[Row]]], subject: str, *, quick: bool) -> str:
    """Return the page: for each title its note and its rows, and what it was measured on."""
    parts = [
        "# Benchmarks",
        _INTRODUCTION,
        f"Measured on {today()} with {machine()}; {subject}.",
    ]
    if quick:
        parts.append("**A quick run: it shows that everything runs, its figures mean little.**")
    for title, (note, rows) in sections.items():
        parts += [f"## {title}", note, markdown(rows)]
    return "\n\n".join(parts) + "\n"


def markdown(rows: Iterable[Row]) -> str:
    """Return the rows as a Markdown table."""
    met = {None: "", True: "yes", False: "**no**"}
    lines = [list(_COLUMNS), ["---"] * len(_COLUMNS)]
    lines += [[row.job, row.ours, row.theirs, row.ratio, row.goal, met[row.met]] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def comparison(sections: Mapping[str, Iterable[Row]]) -> str:
    """Return the rows of some titles that have an opponent as one shorter Markdown table."""
    met = {None: "", True: "", False: " (goal missed)"}
    lines = [["job", "ours", "theirs", "times as fast"], ["---"] * 4]
    lines += [
        [f"{title}: {row.job}", row.ours, row.theirs, f"{row.ratio.split()[0]}{met[row.met]}"]
        for title, rows in sections.items()
        for row in rows
        if row.theirs
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def with_part(page: str, name: str, text: str) -> str:
    """Return a page with other text between its marks ``<!-- NAME: begin -->`` and ``end``.

    Raises:
        ConfigError: The page has no such marks.
    """
    marks = [f"<!-- {name}: {mark} -->" for mark in ("begin", "end")]
    before, begin, rest = page.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not (begin and end):
        raise ConfigError(
            "the page has no place for the table",
            expected=f"the lines {' and '.join(marks)}",
            next_step="put the two lines where the table belongs",
        )
    return f"{before}{begin}\n{text.rstrip()}\n{end}{after}"


def today() -> str:
    """Return the date, UTC."""
    return dt.datetime.now(dt.UTC).date().isoformat()


def machine() -> str:
    """Return processor, cores and versions."""
    names = (
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith(("model name", "Model"))
    )
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)
    cores = len(os.sched_getaffinity(0))
    processor = next(names, platform.machine())
    return f"{cores} cores ({processor}), Python {platform.python_version()}, {versions}"
