"""Runs the suite many times without importing PyTorch each time: one warm process, a fork per run.

``python -m selftest.fault_server`` reads requests from standard input, one line of JSON each, and
answers each with a line. A run gets a session, a folder and a core of its own; what it patches dies
with it.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from selftest.suites import ROOT, clean_environment

WARM = (
    "torch",
    "onnx",
    "onnxruntime",
    "numpy",
    "scipy.stats",
    "msgspec",
    "filelock",
    "rich.progress",
    "jinja2",
)
CONFORMANCE = (
    "build",
    "measure",
    "build_om",
    "measure_om",
    "metrics.om_checks",
    "export.checks",
    "evidence.report.page",
)
LIMIT_S = 600.0


@dataclass(frozen=True)
class Ask:
    """One run of the suite.

    Attributes:
        arguments: Of pytest.
        folder: Where its output goes, and what its cause prepares.
        environment: Variables to set.
        cause: Name of what is to go wrong in it, a key of ``fault_causes.CAUSES``; empty: nothing.
        hasty: Whether time limits of vendor tools are cut to seconds.
    """

    arguments: tuple[str, ...]
    folder: str
    environment: dict[str, str]
    cause: str = ""
    hasty: bool = False


class FaultServer:
    """The warm process, as its client sees it."""

    def __init__(self, core: int) -> None:
        self._program = subprocess.Popen(
            [sys.executable, "-m", "selftest.fault_server", str(core)],
            cwd=ROOT,
            env=clean_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, ask: Ask) -> tuple[int, float, float]:
        """Run the suite once; return its exit status, seconds, and seconds of all its work."""
        assert self._program.stdin
        assert self._program.stdout
        self._program.stdin.write(json.dumps(asdict(ask)) + "\n")
        self._program.stdin.flush()
        answer = self._program.stdout.readline()
        assert answer, "the server of the fault matrix has ended"
        status, seconds, work_s = json.loads(answer)
        return int(status), float(seconds), float(work_s)

    def close(self) -> None:
        """End the process."""
        assert self._program.stdin
        self._program.stdin.close()
        self._program.wait(30)


@contextlib.contextmanager
def fault_server(core: int) -> Iterator[FaultServer]:
    """Yield a warm process; nothing of it is left afterwards."""
    server = FaultServer(core)
    try:
        yield server
    finally:
        server.close()


def main(core: int, requests: IO[str], answers: IO[str]) -> None:
    """Answer requests until there are no more."""
    _warm_up()
    cores = sorted(os.sched_getaffinity(0))
    # One core a run: it needs no pool of processes, which would know nothing of its patches.
    os.sched_setaffinity(0, {cores[core % len(cores)]})
    for line in requests:
        started_s = time.monotonic()
        used_s = _work_s()
        status = _forked(Ask(**json.loads(line)))
        found = [status, time.monotonic() - started_s, _work_s() - used_s]
        answers.write(json.dumps(found) + "\n")
        answers.flush()


def _warm_up() -> None:
    """Import what every run needs, the tests and pytest's own plugins among it."""
    import pytest

    for name in (*WARM, *(f"conformance.{name}" for name in CONFORMANCE)):
        __import__(name)
    from conformance.evidence.report.page import template_environment
    from conformance.export.network import import_torchvision
    from conformance.spec import load_spec

    import_torchvision("transforms")
    template_environment().get_template("report.html")
    load_spec("squeezenet1_1")
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", "tests"])
    # Else the first collection in each run would touch, and so copy, all that is shared with it.
    gc.collect()
    gc.freeze()


def _work_s() -> float:
    """Processor time of every process that was waited for, so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _forked(ask: Ask) -> int:
    child = os.fork()
    if not child:
        _be_the_run(ask)
    deadline_s = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline_s:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _be_the_run(ask: Ask) -> None:
    status = 70
    try:
        os.setsid()
        output = os.open(f"{ask.folder}/output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        for descriptor in (1, 2):
            os.dup2(output, descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.update(ask.environment)
        status = _run_suite(ask)
    except Exception:
        traceback.print_exc()  # a cause that no longer finds what it changes
        raise
    finally:
        sys.stdout.flush()
        os._exit(status)


def _run_suite(ask: Ask) -> int:
    import pytest

    from selftest.fault_causes import CAUSES, Scene, every_run

    arguments = list(ask.arguments)
    every_run.keep_to_itself(Path(ask.folder))
    every_run.look_twice()
    if ask.hasty:
        every_run.hurry()
    if ask.cause:
        arguments += CAUSES[ask.cause](Scene(Path(ask.folder), arguments))
    return int(pytest.main(_with_later_ones_only(arguments)))


def _with_later_ones_only(arguments: Sequence[str]) -> list[str]:
    """Drop an option that is given again later: a cause overrides what the matrix gave."""
    last = {word.partition("=")[0]: word for word in arguments if word.startswith("--")}
    others = [word for word in arguments if not word.startswith("--")]
    return [*others, *last.values()]


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.stdin, sys.stdout)
