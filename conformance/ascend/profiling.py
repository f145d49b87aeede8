"""The costliest operators, from the files that CANN's profiler leaves.

``op_statistic_*.csv`` has a row for each operator type, ``op_summary_*.csv`` one for each task.
Columns differ by product and version: they are read by name (CANN profiling documentation, 6.0 to
9.0).
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from conformance.errors import ToolError


@dataclass(frozen=True)
class OperatorCost:
    """What one type of operator costs.

    Attributes:
        op_type: Such as ``Conv2D``.
        core: ``AI Core``, ``AI_VECTOR_CORE``, ``AI CPU``; as written.
        count: How often it ran.
        total_us: Its time in microseconds.
        share_pct: Its share of all operators' time in that file.
        file: Where that is written.
    """

    op_type: str
    core: str
    count: int
    total_us: float
    share_pct: float
    file: Path

    def __str__(self) -> str:
        return f"{self.op_type} {self.share_pct:.1f} % ({self.total_us:.0f} us, {self.core})"


def costliest_operators(folder: Path, count: int = 5) -> tuple[OperatorCost, ...]:
    """Return the costliest operators of the newest statistics below a folder, dearest first.

    Args:
        folder: What ``--profiling=`` names.
        count: How many at most.

    Raises:
        ToolError: There is no such file, or it lacks a column or a number.
    """
    for pattern, read in (("op_statistic_*.csv", _statistic), ("op_summary_*.csv", _summary)):
        if files := sorted(folder.rglob(pattern), key=lambda path: path.stat().st_mtime):
            costs = _shared(files[-1], read(files[-1]))
            return tuple(sorted(costs, key=lambda cost: -cost.total_us)[:count])
    raise ToolError(
        "no profiling files",
        got=f"{sum(1 for _ in folder.rglob('*'))} other files",
        expected="op_statistic_*.csv or op_summary_*.csv",
        where={"folder": folder},
        next_step="export them with CANN's profiler, or leave --profiling= away",
    )


Row = tuple[str, str, int, float]


def _statistic(file: Path) -> Iterator[Row]:
    """Yield (type, core, count, microseconds) of every row of op_statistic."""
    for row in _rows(file):
        total = _number(file, row, "Total Time(us)", "Total Time")
        count = _number(file, row, "Count")
        yield _text(file, row, "OP Type"), _text(file, row, "Core Type"), int(count), total


def _summary(file: Path) -> Iterator[Row]:
    """Yield (type, core, 1, microseconds) of every task of op_summary."""
    for row in _rows(file):
        duration = _number(file, row, "Task Duration(us)", "Task Duration")
        yield _text(file, row, "OP Type"), _text(file, row, "Task Type"), 1, duration


def _shared(file: Path, rows: Iterable[Row]) -> list[OperatorCost]:
    """Add the rows up by type and core, and tell each one's share."""
    totals: defaultdict[tuple[str, str], list[float]] = defaultdict(lambda: [0, 0.0])
    for op_type, core, count, total_us in rows:
        totals[op_type, core][0] += count
        totals[op_type, core][1] += total_us
    everything = sum(total for _, total in totals.values())
    if not everything:
        raise _damaged(file, "no operator with any time", "at least one")
    return [
        OperatorCost(op_type, core, int(count), total, 100 * total / everything, file)
        for (op_type, core), (count, total) in totals.items()
    ]


def _rows(file: Path) -> Iterator[dict[str, str]]:
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
        for row in csv.DictReader(lines):
            yield {str(name).strip(): (value or "").strip() for name, value in row.items() if name}


def _text(file: Path, row: dict[str, str], column: str) -> str:
    if column not in row:
        raise _damaged(file, f"columns {', '.join(row)}", f"a column {column}")
    return row[column]


def _number(file: Path, row: dict[str, str], *columns: str) -> float:
    column = next((name for name in columns if name in row), columns[0])
    try:
        value = float(_text(file, row, column))
    except ValueError:
        raise _damaged(file, f"{column} = {row[column]!r}", "a number") from None
    if not math.isfinite(value) or value < 0:
        raise _damaged(file, f"{column} = {value}", "a number of at least 0")
    return value


def _damaged(file: Path, got: str, expected: str) -> ToolError:
    return ToolError(
        "a profiling file cannot be read",
        got=got,
        expected=expected,
        where={"file": file},
        next_step="export it again with CANN's profiler",
    )
