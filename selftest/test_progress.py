"""What the suite says while it works: stages in order, steps, and how far they are."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conformance.progress import Bars, Display, Lines, at_most, shown_on, step
from selftest.suites import ROOT, clean_environment, run_suite

TEST = """
import time
from conformance.check import recorded
from conformance.progress import step

def test_it(claim):
    print("kept by pytest")
    with step("convert model-bs16 with ATC", total=4, lasts="at most 60 min") as advance:
        for _ in range(4):
            advance(1)
            time.sleep(0.02)
    claim(recorded("made.it", 1))
"""
BEGUN = "convert model-bs16 with ATC (at most 60 min)"


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    for name in ("conftest.py", "pytest.ini"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_atc.py").write_text(TEST)
    return tmp_path


def said(suite: Path, *options: str) -> str:
    environment = {"PYTHONPATH": str(ROOT)}
    done = run_suite("--board=none", *options, cwd=suite, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_steps_are_said_in_spite_of_the_capture(suite: Path) -> None:
    told = said(suite)
    assert "stage atc: ONNX to .om" in told
    assert BEGUN in told.splitlines()
    assert "kept by pytest" not in told


def test_workers_say_their_steps(suite: Path) -> None:
    assert BEGUN in said(suite, "-n", "2").splitlines()


def test_quiet_runs_say_less(suite: Path) -> None:
    told = said(suite, "-q")
    assert "stage" not in told
    assert BEGUN not in told


def test_a_terminal_shows_a_bar(suite: Path) -> None:
    master, slave = pty.openpty()
    done = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--board=none"],
        cwd=suite,
        env=clean_environment({"PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "160"}),
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    shown = b""
    while part := _read(master):
        shown += part
    os.close(master)
    assert done.wait(60) == 0, shown.decode()
    assert BEGUN in shown.decode()
    assert "4/4" in shown.decode()
    assert "━" in shown.decode()
    assert "kept by pytest" not in shown.decode()


def _read(master: int) -> bytes:
    """Return what a terminal shows next; nothing once its programs have ended."""
    try:
        return os.read(master, 65_536)
    except OSError:  # how Linux says that the other side is closed
        return b""


def test_long_steps_say_now_and_then_how_far_they_are() -> None:
    begun: list[str] = []
    more: list[str] = []
    with (
        shown_on(Lines(begun.append, more.append, every_s=0.05)),
        step("infer 9 images", total=9, lasts=at_most(600)) as advance,
    ):
        advance(3)
        time.sleep(0.3)
        with step("prepare inputs") as prepared:
            prepared(2)
            time.sleep(0.3)
    assert begun == ["infer 9 images (at most 10 min)"]
    assert "  infer 9 images: 3 of 9, 0 s" in more
    assert more[-1] == "  prepare inputs: 2 done, 0 s"
    count = len(more)
    time.sleep(0.15)
    assert len(more) == count


@pytest.mark.parametrize("display", [Lines(lambda _: None, lambda _: None), Bars(io.StringIO())])
def test_a_step_that_fails_is_over(display: Display) -> None:
    with shown_on(display):
        for _ in range(2):
            with pytest.raises(KeyError), step("one"), step("within"):
                raise KeyError
        with step("another") as advance:
            advance(1)


def test_nothing_is_shown_unless_somebody_asks(capfd: pytest.CaptureFixture[str]) -> None:
    with step("convert", total=2) as advance:
        advance(1)
    assert capfd.readouterr() == ("", "")


def test_claims_run_stage_by_stage() -> None:
    done = run_suite("--collect-only", "-q", "tests", "--board=emulated", "--batch=1,16")
    assert done.returncode == 0, done.stdout
    nodes = [line.split("::") for line in done.stdout.splitlines() if "::" in line]
    files = list(dict.fromkeys(Path(file).name for file, _ in nodes))
    stages = ["test_export.py", "test_atc.py", "test_accuracy.py", "test_perf.py"]
    assert [name for name in files if name in stages] == stages
    assert len(files) == sum(
        1 for before, (file, _) in zip([["", ""], *nodes], nodes, strict=False) if before[0] != file
    )
    keys = [name.partition("[")[2] for file, name in nodes if file.endswith("test_atc.py")]
    assert keys == sorted(keys, key=keys.index)  # of one .om together
