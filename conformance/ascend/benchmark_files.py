"""What lies around ``benchmark.<arch>``: the info file it reads, the figures it leaves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from conformance.ascend.tool_run import Run
from conformance.errors import DatasetError, ToolError

# A stage of a run over images, or the rate of pure inference: the file and what is printed differ
# in their signs.
STAGE = re.compile(r"^\s*\[(e2e|data read|preprocess|infer\w*|post\w*)\](.*)$", re.MULTILINE)
PURE = re.compile(r"ave_(throughputRate|latency)\s*[=:]\s*([-+.\deE]+)")
NUMBER = re.compile(r"[-+.\deE]*\d")


def read_figures(folder: Path, places: list[Path], result: Run) -> tuple[Path, str]:
    """Return the first performance file of the places, and its text.

    Raises:
        ToolError: There is none, or it is from before the run; files for another batch or device
            are named.
    """
    for path in places:
        if path.is_file():
            _demand_fresh(path, result)
            return path, path.read_text("utf-8", errors="replace")
    others = sorted(str(path.relative_to(folder)) for path in folder.rglob("*erf*.txt"))
    raise ToolError(
        "the performance file is missing",
        got=f"others: {', '.join(others)}" if others else "no such file",
        expected=" or ".join(str(path) for path in places),
        where={"log": result.stdout_path},
        next_step="does the .om hold this batch size? See the log",
    )


def require_one_story(text: str, places: list[Path], result: Run) -> None:
    """Hold a performance file against every other place where its figures stand.

    Args:
        text: What the file says that was read.
        places: Where such files may lie.
        result: The run, which may have printed them too.

    Raises:
        ToolError: One place says this and another that.
    """
    _demand_same(text, result.stdout_path, result.text)
    for other in places:
        if other.is_file():
            _demand_same(text, other, other.read_text("utf-8", errors="replace"))


def _demand_same(text: str, other: Path, told: str) -> None:
    stated, again = _stated(text), _stated(told)
    differing = [name for name in stated if name in again and stated[name] != again[name]]
    if differing:
        name = differing[0]
        here, there = (", ".join(numbers[name]) for numbers in (stated, again))
        raise ToolError(
            "the performance figures contradict each other",
            got=f"{name}: {here} in the file that counts, {there} there",
            expected="the same figures wherever the tool puts them",
            where={"other place": other},
            next_step="is the tool a wrapper, or is an older file in its place? Measure again",
        )


def _stated(text: str) -> dict[str, list[str]]:
    """Return the numbers that a text states, by stage."""
    stages = {found[1]: NUMBER.findall(found[2]) for found in STAGE.finditer(text)}
    return stages | {found[1]: [found[2]] for found in PURE.finditer(text)}


def _demand_fresh(path: Path, result: Run) -> None:
    written_at = path.stat().st_mtime
    if written_at < result.started_at - 2:  # coarse clocks of network file systems
        raise ToolError(
            "the performance file is from before this run",
            got=f"written {result.started_at - written_at:.0f} s before it began",
            expected="a file that this run wrote",
            where={"file": path, "log": result.stdout_path},
            next_step="is the tool a wrapper that puts old results in place? See the log",
        )


def info_paths(info_file: Path) -> tuple[str, ...]:
    """Return the input paths of an info file, in its order.

    Raises:
        DatasetError: A line does not have four columns, a blank is in a path, or the index is not
            0, 1, 2 ...
    """
    return tuple(_info_paths(info_file))


def _info_paths(info_file: Path) -> Iterator[str]:
    for number, line in enumerate(info_file.read_text("utf-8").splitlines()):
        columns = line.split(" ")
        if len(columns) != 4 or columns[0] != str(number):
            raise DatasetError(
                "the info file is wrong",
                got=line,
                expected=f"{number} PATH WIDTH HEIGHT, no blank in the path",
                where={"file": info_file, "line": number + 1},
                next_step="write it again; use a --scratch= without blanks",
            )
        yield columns[1]
