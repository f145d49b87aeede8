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
from selftest.suites import ROOT, clean_environment
from selftest.weights_files import SPEC, saved, untrained

MOMENTS = int(os.environ.get("KILLING_MOMENTS", "6"))
# Setting up, exporting, converting, inferring and timing all lie in this span on a quiet machine.
SPAN_S = 25.0
PATIENCE_S = 5.0
# After SIGTERM pytest itself still writes its evidence, which a busy machine makes slow.
ORDERLY_END_S = 30.0
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
    chance = random.Random(moment)  # noqa: S311 - moments need no secrecy
    token, number = uuid.uuid4().hex, chance.choice([signal.SIGTERM, signal.SIGKILL])
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-m", "npu"]
    words += ["--board=emulated", "--imagenet=sample", "--images=5"]
    words += [f"--weights={folder / 'weights.pth'}"]
    words += [f"--artifacts={folder / 'store'}", f"--evidence={folder / 'runs'}"]
    words += [f"--scratch={folder}", "--batch=1,16", "--tune=run"]
    with (folder / "output").open("wb") as output:
        run = subprocess.Popen(
            words, cwd=ROOT, env=clean_environment({TOKEN: token}), stdout=output, stderr=output
        )
        after_s = chance.uniform(0, SPAN_S)
        try:
            run.wait(after_s)
        except subprocess.TimeoutExpired:
            run.send_signal(number)
    with contextlib.suppress(subprocess.TimeoutExpired):
        run.wait(ORDERLY_END_S if number == signal.SIGTERM else PATIENCE_S)
    limit = time.monotonic() + PATIENCE_S
    while (left := processes(token)) and time.monotonic() < limit:
        time.sleep(0.1)
    assert not left, f"after {number.name} at {after_s:.1f} s: {left}"
    for entry, manifest in Store(folder / "store").entries():
        assert manifest is not None, f"{entry} looks finished and has no manifest"
        assert not damage(entry, manifest)
