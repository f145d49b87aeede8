"""The figures as a Markdown page."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
from collections.abc import Iterable
from pathlib import Path

from benchmarks.measurement import Row
from conformance.errors import ConfigError

_PACKAGES = ("pillow", "numpy", "torch", "torchvision", "onnxruntime")
_INTRODUCTION = (
    "Written by `make bench`, each section by itself (`--only NAME`). Both sides of a row are "
    "timed in turns within one run, so a busy machine slows both; *theirs* is the guide's "
    "algorithm, or what the note says."
)
_COLUMNS = ("job", "ours", "theirs", "ratio: median (min to max)", "goal", "met")


def section(title: str, note: str, rows: Iterable[Row], subject: str, *, quick: bool) -> str:
    """Return one section of the page: when and on what it was measured, its note and its rows."""
    parts = [f"## {title}", f"Measured on {today()} with {machine()}; {subject}."]
    if quick:
        parts.append("**A quick run: it shows that everything runs, its figures mean little.**")
    return "\n\n".join([*parts, note, markdown(rows)]) + "\n"


def page(sections: Iterable[str], before: str = "") -> str:
    """Return the page with these sections, in place of those of the same title before.

    Args:
        sections: From :func:`section`.
        before: The page as it was; its other sections stay, with the day they were measured on.
    """
    kept = {each.partition("\n")[0]: each for each in _sections(before)}
    kept |= {each.partition("\n")[0]: each for each in sections}
    return "\n".join(["# Benchmarks\n", f"{_INTRODUCTION}\n", *kept.values()])


def _sections(page: str) -> list[str]:
    return [f"## {part.strip()}\n" for part in page.split("\n## ")[1:]]


def markdown(rows: Iterable[Row]) -> str:
    """Return the rows as a Markdown table."""
    met = {None: "", True: "yes", False: "**no**"}
    lines = [list(_COLUMNS), ["---"] * len(_COLUMNS)]
    lines += [[row.job, row.ours, row.theirs, row.ratio, row.goal, met[row.met]] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def comparison(page: str, titles: Iterable[str]) -> str:
    """Return the rows of some sections that have an opponent as one shorter Markdown table."""
    lines = [["job", "ours", "theirs", "times as fast"], ["---"] * 4]
    for each in _sections(page):
        title = each.partition("\n")[0].removeprefix("## ")
        for job, ours, theirs, ratio, _, met in _rows(each) if title in titles else ():
            if theirs:
                missed = " (goal missed)" if "no" in met else ""
                lines.append([f"{title}: {job}", ours, theirs, f"{ratio.split()[0]}{missed}"])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _rows(section: str) -> list[list[str]]:
    """Return the cells of each row of a section's table, without its head."""
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


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
