"""A small suite in a folder of its own, with the real plugins and a gate over a few claims."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from conformance.evidence.bundle import Evidence
from conformance.evidence.bundle_files import read_evidence
from selftest.warm_pytest import warm_pytest

ROOT = Path(__file__).resolve().parent.parent
# Other people's plugins take most of the time of so small a run.
BARE = {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "OMP_NUM_THREADS": "1"}
GATES = """
models = ["squeezenet1_1"]
[gates.host]
batches = "all"
tuned = false
[gates.host.accepts]
weights = []
images = []
board = ["none", "emulated"]
[[checks]]
ids = ["made.first", "made.second"]
gates = ["host"]
[[checks]]
ids = ["made.batch"]
gates = ["host"]
batches = [1, 16]
"""
FIRST = """
import os, time
import pytest
from conformance.check import equal

@pytest.mark.states("made.first")
def test_first(claim, model):
    claim(equal("made.first", 1, 1))

@pytest.mark.states("made.batch")
@pytest.mark.parametrize("batch", [1, 16])
def test_batch(claim, model, batch):
    claim(equal("made.batch", batch, batch))
"""
SECOND = """
import os, time
import pytest
from conformance.check import equal

@pytest.mark.states("made.second")
def test_second(claim, model):
    claim(equal("made.second", VALUE, 1))
"""


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    status: int
    output: str
    evidence: Path

    @property
    def last(self) -> str:
        """The very last line."""
        return self.output.rstrip("\n").splitlines()[-1] if self.output.strip() else ""

    @property
    def bundle(self) -> Path:
        """The run's folder; there must be just one."""
        (folder,) = self.evidence.iterdir()
        return folder

    def read(self) -> Evidence:
        """What the bundle says."""
        return read_evidence(self.bundle)


class Suite:
    """A checkout of three small claims."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "tests").mkdir(parents=True)
        for name in ("conftest.py", "pytest.ini"):
            shutil.copy(ROOT / name, folder)
        (folder / "gates.toml").write_text(GATES)
        (folder / "tests/test_first.py").write_text(FIRST)
        self.second(SECOND)

    def second(self, text: str, value: int = 1) -> None:
        """Write the second test file."""
        (self.folder / "tests/test_second.py").write_text(text.replace("VALUE", str(value)))

    def add_plugin(self, text: str) -> None:
        """Add code of a user's own to the checkout's conftest."""
        with (self.folder / "conftest.py").open("a") as stream:
            stream.write(text)

    def start(self, *arguments: str, gate: str = "host") -> subprocess.Popen[str]:
        """Start a run in a process of its own, without waiting for its end."""
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", *self._words(arguments, gate)],
            cwd=self.folder,
            env=os.environ | BARE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(
        self, *arguments: str, gate: str = "host", environ: Mapping[str, str] | None = None
    ) -> Ended:
        """Run to the end."""
        status, output = warm_pytest().run(
            self._words(arguments, gate), self.folder, os.environ | BARE | dict(environ or {})
        )
        return Ended(status, output, self.evidence)

    def _words(self, arguments: Sequence[str], gate: str) -> list[str]:
        shutil.rmtree(self.evidence, ignore_errors=True)
        words = [f"--evidence={self.evidence}", *arguments]
        words += ["-p", "xdist.plugin"] if "-n" in arguments else []
        return [*words, f"--gate={gate}"] if gate else words

    def run_and_signal(self, number: signal.Signals, *arguments: str, gate: str = "host") -> Ended:
        """Run, and send a signal as soon as the test writes the file `reached`."""
        started = self.start(*arguments, gate=gate)
        deadline = time.monotonic() + 60
        while not (self.folder / "reached").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        started.send_signal(number)
        output, _ = started.communicate(timeout=60)
        return Ended(started.returncode, output, self.evidence)

    @property
    def evidence(self) -> Path:
        """Where the suite's runs leave their bundles."""
        return self.folder / "evidence"
