"""The last line of a run of the board's tests tells whether anything was executed."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator import install
from fixtures.nothing_ran import asks_for_board
from selftest.suites import run_suite

SAMPLES = ("--weights=sample", "--imagenet=sample", "--batch=1")
BEGINNING = "NOTHING RAN: no test of the board was executed"


@pytest.mark.parametrize(
    ("expression", "asks"),
    [
        ("npu", True),
        ("npu and not slow", True),
        ("not npu", False),
        ("not  npu and slow", False),
        ("npuish", False),
        ("", False),
    ],
)
def test_which_marker_expressions_ask_for_the_board(expression: str, asks: bool) -> None:
    assert asks_for_board(expression) is asks


def last_lines(tmp_path: Path, *options: str) -> list[str]:
    done = run_suite(
        *SAMPLES, f"--artifacts={tmp_path / 'store'}", f"--evidence={tmp_path / 'runs'}", *options
    )
    return done.stdout.strip().splitlines()


@pytest.mark.parametrize("options", [("-q",), ("-qq", "-n2"), ("-v", "-rs")])
def test_skipped_run_says_so_in_its_last_line(tmp_path: Path, options: tuple[str, ...]) -> None:
    shown = last_lines(tmp_path, "-m", "npu", "--board=none", "tests/test_atc.py", *options)
    assert shown[-1].startswith(BEGINNING)
    assert shown[-1].endswith(": no-board")


def test_run_that_selects_nothing_says_so_too(tmp_path: Path) -> None:
    shown = last_lines(tmp_path, "-m", "npu", "--board=none", "tests/test_export.py")
    assert shown[-1].startswith(f"{BEGINNING}; 0 skipped")


@pytest.mark.parametrize(
    "options",
    [
        ("-m", "not npu", "-k", "nothing_of_that_name"),
        ("-m", "npu", "--collect-only", "tests/test_atc.py"),
        ("-m", "npu", "--board=none", "--gate=rehearsal", "tests/test_atc.py"),
    ],
)
def test_other_runs_do_not(tmp_path: Path, options: tuple[str, ...]) -> None:
    assert not any(line.startswith(BEGINNING) for line in last_lines(tmp_path, *options))


def test_broken_board_is_red_and_not_a_run_of_nothing(tmp_path: Path) -> None:
    board = install(tmp_path / "board", fault="npu-smi-error-with-status-0")
    options = ("-m", "npu", "-q", "--board=emulated", "tests/test_atc.py", "tests/test_perf.py")
    done = run_suite(
        *SAMPLES, f"--artifacts={tmp_path / 'store'}", f"--evidence={tmp_path / 'runs'}", *options,
        environment={"CONFORMANCE_EMULATED_BOARD": str(board.folder)},
    )  # fmt: skip
    assert done.returncode == 1
    assert "-8005" in done.stdout
    assert "skipped" not in done.stdout.strip().splitlines()[-2]
    assert "SKIPPED" not in done.stdout
    assert not done.stdout.strip().splitlines()[-1].startswith(BEGINNING)
