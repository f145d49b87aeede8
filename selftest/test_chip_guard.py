"""After a tool had to be stopped its chip is looked at, and not used again while it is stuck."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from conformance.ascend.benchmark import BenchmarkTool
from conformance.ascend.chip_guard import ChipGuard
from conformance.ascend.devices import Device
from conformance.ascend.locks import MachineLocks
from conformance.ascend.npu_table import NpuTable, parse_npu_table
from conformance.ascend.tool_run import Run, Survivor
from conformance.errors import BoardError, ToolError
from selftest.emulated import Bench
from selftest.published import environment, sample
from selftest.replayed_tools import Replay, Spoil


class Watch:
    """A board that says ``text`` and counts how often it is asked."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.asked = 0

    def __call__(self) -> NpuTable:
        self.asked += 1
        return parse_npu_table(self.text)


ONE_310 = sample("npu_smi/info-310.txt")
CHIP = parse_npu_table(ONE_310).chips[0]


def guard(folder: Path, watch: Watch) -> ChipGuard:
    return ChipGuard(Device(0, 0, CHIP, "Ascend310"), MachineLocks(folder / "locks"), watch)


def ended(
    folder: Path,
    status: int = 0,
    survivors: tuple[Survivor, ...] = (),
    left_behind: tuple[Survivor, ...] = (),
) -> Run:
    return Run(
        argv=("benchmark",),
        cwd=folder,
        status=status,
        ended_by="itself",
        started_at=0,
        duration_s=1,
        limit_s=1,
        stdout_path=folder / "log",
        stderr_path=folder / "err",
        left_behind=left_behind,
        survivors=survivors,
    )


def test_a_run_that_ends_by_itself_asks_nothing(tmp_path: Path) -> None:
    watch = Watch(ONE_310)
    guard(tmp_path, watch)(ended(tmp_path))
    guard(tmp_path, watch)(ended(tmp_path, status=1))
    assert watch.asked == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (ONE_310.replace("| OK ", "| Alarm "), "not healthy"),
        (ONE_310.replace("| 0       0  ", "| 1       1  "), "chip is gone"),
    ],
)
def test_a_chip_that_suffered_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(BoardError, match=words):
        guard(tmp_path, Watch(text))(ended(tmp_path, status=-9))
    guard(tmp_path, Watch(ONE_310))(ended(tmp_path, status=-9))


STRAY = Survivor(4711, 1.0, "benchmark --child", "running")


@pytest.mark.parametrize(
    ("status", "left_behind", "asked"),
    [(0, (STRAY,), 1), (128 + signal.SIGKILL, (), 1), (128 + signal.SIGSEGV, (), 1), (255, (), 0)],
    ids=["stray killed", "killed below a shell", "crashed below a shell", "failed"],
)
def test_a_chip_is_looked_at_whatever_had_to_be_killed(
    tmp_path: Path, status: int, left_behind: tuple[Survivor, ...], asked: int
) -> None:
    watch = Watch(ONE_310)
    guard(tmp_path, watch)(ended(tmp_path, status=status, left_behind=left_behind))
    assert watch.asked == asked


def test_a_chip_with_a_survivor_is_not_leased_again(tmp_path: Path) -> None:
    me = Survivor(os.getpid(), psutil.Process().create_time(), "benchmark", "disk-sleep")
    watched = guard(tmp_path, Watch(ONE_310))
    watched(ended(tmp_path, survivors=(me,)))
    with (
        pytest.raises(BoardError, match="could not be killed"),
        watched.locks.chips([CHIP.key], wait_s=0),
    ):
        pass


def test_the_inference_tool_calls_its_guard_after_a_time_limit(
    standing: Bench, replay: Replay, tmp_path: Path
) -> None:
    watch = Watch(ONE_310)
    program = standing.board.bin / f"benchmark.{os.uname().machine}"
    runner = BenchmarkTool(program, environment(), 0, guard(tmp_path, watch))
    replay.spoils = {"-model_type": Spoil(stopped=True, status=-signal.SIGTERM)}
    with pytest.raises(ToolError, match="did not end by itself"):
        runner.measure_pure(
            standing.folder / "model_bs4.om", batch=4, loops=1, folder=tmp_path / "work"
        )
    assert watch.asked == 1
