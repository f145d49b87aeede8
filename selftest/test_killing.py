"""A killed run leaves no process and no artifact that looks finished, whenever it is killed."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import psutil
import pytest

from conformance.artifacts import Store, damage
from conformance.evidence.bundle import STATEMENT_FILE
from conformance.evidence.statement import file_digests, read_statement
from conformance.evidence.verdict import NOT_COMPLETE
from selftest.made_suite import Suite
from selftest.suites import ROOT, clean_environment
from selftest.weights_files import SPEC, saved, untrained

# One in four is each of SIGTERM and SIGKILL, alone and with workers.
MOMENTS = int(os.environ.get("KILLING_MOMENTS", "4"))
# Setting up, exporting, converting, inferring and timing all lie in this span on a quiet machine.
SPAN_S = float(os.environ.get("KILLING_SPAN_S", "20"))
PATIENCE_S = 5.0
NEVER_BEGUN = (pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR)
TOKEN = "KILLED_RUN"  # noqa: S105 - the name of a variable


def processes(token: str) -> list[str]:
    """Return every process of a run, found by a variable that they all inherit."""
    found = []
    for member in psutil.process_iter():
        try:
            mine = member.environ().get(TOKEN) == token
            if mine and member.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{member.pid} {' '.join(member.cmdline())}")
        except (psutil.Error, OSError):
            continue
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all moments, so that later ones are killed in later stages."""
    made = tmp_path_factory.mktemp("killing")
    saved(made / "weights.pth", untrained(SPEC))
    return made


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_nothing_survives(folder: Path, moment: int) -> None:
    number = (signal.SIGTERM, signal.SIGKILL)[moment % 2]
    workers = ("-n", "0") if moment % 4 < 2 else ("-n", "2")
    after_s = random.Random(moment).uniform(1, SPAN_S)  # noqa: S311 - moments need no secrecy
    token = uuid.uuid4().hex
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "xdist", *workers]
    words += ["-m", "npu", "--board=emulated", "--imagenet=sample", "--images=5", "-v"]
    words += [f"--weights={folder / 'weights.pth'}"]
    words += [f"--artifacts={folder / 'store'}", f"--evidence={folder / 'runs'}"]
    words += [f"--scratch={folder}", "--batch=1,16", "--tune=run"]
    with (folder / "output").open("wb") as output:
        run = subprocess.Popen(
            words, cwd=ROOT, env=clean_environment({TOKEN: token}), stdout=output, stderr=output
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.wait(after_s)
        run.send_signal(number)
    began = time.monotonic()
    while run.poll() is None and time.monotonic() < began + PATIENCE_S:
        time.sleep(0.02)
    while (left := processes(token)) and time.monotonic() < began + PATIENCE_S:
        time.sleep(0.1)
    ended_s = time.monotonic() - began
    told = (folder / "output").read_text(errors="replace").strip().splitlines()
    print(
        f"{number.name} {' '.join(workers)} at {after_s:.1f} s: gone after {ended_s:.1f} s, "
        f"status {run.poll()}, {len(told)} lines, last: {told[-1] if told else 'none'}"
    )
    assert run.poll() not in (None, *NEVER_BEGUN), told
    assert not left, f"{number.name} at {after_s:.1f} s, then {ended_s:.1f} s: {left}"
    for entry, manifest in Store(folder / "store").entries():
        assert manifest is not None, f"{entry} looks finished and has no manifest"
        assert not damage(entry, manifest)
    for sealed in (folder / "runs").glob(f"*/{STATEMENT_FILE}"):
        stated = read_statement(sealed.parent).digests.items()
        assert {item for item in stated if not item[0].startswith("tested:")} == set(
            file_digests(sealed.parent).items()
        )


BLOCKED = """
import hashlib, pathlib
def test_second(model):
    pathlib.Path("reached").touch()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 1 << 28)  # signals wait until it returns
"""
HASTY = """
import fixtures.termination
fixtures.termination.ORDERLY_END_S = 0.5
"""


def test_a_run_that_cannot_end_in_order_ends_all_the_same(tmp_path: Path) -> None:
    suite = Suite(tmp_path / "suite")
    suite.second(BLOCKED)
    suite.add_plugin(HASTY)
    ended = suite.run_and_signal(signal.SIGTERM, "-p", "no:xdist", "-k", "second", gate="")
    assert ended.status == NOT_COMPLETE
    assert ended.last == "ended 0.5 s after SIGTERM; the evidence may not be complete"
