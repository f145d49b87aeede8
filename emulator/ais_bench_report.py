"""What ais_bench prints and writes about a run's speed."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emulator import fault_files
from emulator.board import Board
from emulator.marker import MARK, say

COPY_SHARE = 0.08
"""Copying to and from the chip, as a share of its computing time."""


@dataclass(frozen=True)
class RunRecord:
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
    times = np.array(record.times_ms)
    for fault in board.faults.at("figures", batch):
        factor = float(fault.options["factor"])
        times = times / factor if factor else times * 0
    mean = float(times.mean())
    throughput = 1000 * batch / mean if mean else 0.0
    _print(times, throughput, batch, board.state.ais_bench)
    if target is not None:
        old = board.state.ais_bench == "2022"
        beside = target.with_name(f"{target.name}_summary.json")
        path = target / "sumary.json" if old else beside
        _write(path, record, times, throughput, argv, _listed(times, board, batch))
        fault_files.spoil([path], board.faults.at("perf", batch))
    return throughput


def _listed(times: np.typing.NDArray[np.float64], board: Board, batch: int) -> Sequence[float]:
    """The time of each batch as the summary lists it, which a fault may spoil."""
    listed = [float(value) for value in times]
    for fault in board.faults.at("times", batch):
        factor, keep = (float(fault.options[name]) for name in ("factor", "keep"))
        listed = [factor * value for value in listed[: math.ceil(keep * len(listed))]]
    return listed


def _print(times: np.typing.NDArray[np.float64], throughput: float, batch: int, era: str) -> None:
    say("[INFO] -----------------Performance Summary------------------")
    if era == "2022":
        say(f"[INFO] H2D_latency (ms): {_spread(times * COPY_SHARE)}")
    say(f"[INFO] NPU_compute_time (ms): {_spread(times)}")
    if era == "2022":
        say(f"[INFO] D2H_latency (ms): {_spread(times * COPY_SHARE)}")
        formula = "(1000*batchsize/NPU_compute_time)"
    else:
        formula = f"1000*batchsize.mean({batch})/NPU_compute_time.mean({float(times.mean())})"
    say(f"[INFO] throughput {formula}: {throughput}")
    say("[INFO] ------------------------------------------------------")


def _spread(times: np.typing.NDArray[np.float64]) -> str:
    names = {"min": "min", "max": "max", "mean": "mean", "median": "median"}
    row = _statistics(times)
    text = ", ".join(f"{name} = {row[key]}" for key, name in names.items())
    return f"{text}, percentile(99%) = {row['percentile(99%)']}"


def _statistics(times: np.typing.NDArray[np.float64]) -> dict[str, float]:
    return {
        "min": float(times.min()),
        "max": float(times.max()),
        "mean": float(times.mean()),
        "median": float(np.median(times)),
        "percentile(99%)": float(np.percentile(times, 99)),
        "count": len(times),
    }


def _write(
    path: Path,
    record: RunRecord,
    times: np.typing.NDArray[np.float64],
    throughput: float,
    argv: Sequence[str],
    listed: Sequence[float],
) -> None:
    pairs = {
        str(index): {"infiles": [str(source)], "outfiles": [str(output) for output in outputs]}
        for index, (source, outputs) in enumerate(record.files)
    }
    summary = {
        "filesinfo": pairs,
        "args": ["__main__.py", *argv],
        "NPU_compute_time": _statistics(times),
        "H2D_latency": _statistics(times * COPY_SHARE),
        "D2H_latency": _statistics(times * COPY_SHARE),
        "throughput": throughput,
        "npu_compute_time_list": list(listed),
        "pid": os.getpid(),
        "made_by": MARK,
    }
    path.write_text(json.dumps(summary, indent=4), encoding="utf-8")
