"""What ais_bench prints and writes about a run's speed."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median, quantiles
from typing import NamedTuple

from emulator import fault_files
from emulator.board import Board
from emulator.marker import MARK, say

COPY_SHARE = 0.08
"""Copying to and from the chip, as a share of its computing time."""


class RunRecord(NamedTuple):
    """What a run leaves to report.

    Attributes:
        times_ms: Device time of each inference.
        files: Each input file with its output files.
    """

    times_ms: list[float]
    files: list[tuple[Path, list[Path]]]


def report(
    record: RunRecord, *, batch: int, argv: Sequence[str], target: Path | None, board: Board
) -> float:
    """Print the summary, write the summary file, and return the throughput.

    Args:
        record: The run.
        batch: The number that the formula multiplies with: what the user said, if anything.
        argv: The tool's arguments.
        target: The run's output folder, or None where nothing is written.
        board: Its state chooses the spelling, its faults the figures.
    """
    times = record.times_ms
    for fault in board.faults.at("figures", batch):
        factor = float(fault.options["factor"])
        times = [time_ms / factor if factor else 0.0 for time_ms in times]
    mean = fmean(times)
    throughput = 1000 * batch / mean if mean else 0.0
    _print(times, throughput, batch, board.state.ais_bench)
    if target is not None:
        old = board.state.ais_bench == "2022"
        beside = target.with_name(f"{target.name}_summary.json")
        path = target / "sumary.json" if old else beside
        _write(path, record, times, throughput, argv, _listed(times, board, batch))
        fault_files.spoil([path], board.faults.at("perf", batch))
    return throughput


def _listed(times: Sequence[float], board: Board, batch: int) -> Sequence[float]:
    """The time of each batch as the summary lists it, which a fault may spoil."""
    listed = list(times)
    for fault in board.faults.at("times", batch):
        factor, keep = (float(fault.options[name]) for name in ("factor", "keep"))
        listed = [factor * value for value in listed[: math.ceil(keep * len(listed))]]
    return listed


def _print(times: Sequence[float], throughput: float, batch: int, era: str) -> None:
    say("[INFO] -----------------Performance Summary------------------")
    if era == "2022":
        say(f"[INFO] H2D_latency (ms): {_spread(_copying(times))}")
    say(f"[INFO] NPU_compute_time (ms): {_spread(times)}")
    if era == "2022":
        say(f"[INFO] D2H_latency (ms): {_spread(_copying(times))}")
        formula = "(1000*batchsize/NPU_compute_time)"
    else:
        formula = f"1000*batchsize.mean({batch})/NPU_compute_time.mean({fmean(times)})"
    say(f"[INFO] throughput {formula}: {throughput}")
    say("[INFO] ------------------------------------------------------")


def _spread(times: Sequence[float]) -> str:
    names = {"min": "min", "max": "max", "mean": "mean", "median": "median"}
    row = _statistics(times)
    text = ", ".join(f"{name} = {row[key]}" for key, name in names.items())
    return f"{text}, percentile(99%) = {row['percentile(99%)']}"


def _statistics(times: Sequence[float]) -> dict[str, float]:
    return {
        "min": min(times),
        "max": max(times),
        "mean": fmean(times),
        "median": median(times),
        "percentile(99%)": _percentile(times, 99),
        "count": len(times),
    }


def _percentile(times: Sequence[float], percent: int) -> float:
    """As numpy has it: between two neighbours, in proportion."""
    if len(times) == 1:
        return times[0]
    return quantiles(times, n=100, method="inclusive")[percent - 1]


def _copying(times: Sequence[float]) -> list[float]:
    return [time_ms * COPY_SHARE for time_ms in times]


def _write(
    path: Path,
    record: RunRecord,
    times: Sequence[float],
    throughput: float,
    argv: Sequence[str],
    listed: Sequence[float],
) -> None:
    pairs = {
        str(index): {"infiles": [str(source)], "outfiles": [str(output) for output in outputs]}
        for index, (source, outputs) in enumerate(record.files)
    }
    copying = _statistics(_copying(times))
    summary = {
        "filesinfo": pairs,
        "args": ["__main__.py", *argv],
        "NPU_compute_time": _statistics(times),
        "H2D_latency": copying,
        "D2H_latency": copying,
        "throughput": throughput,
        "npu_compute_time_list": list(listed),
        "pid": os.getpid(),
        "made_by": MARK,
    }
    path.write_text(json.dumps(summary, indent=4), encoding="utf-8")
