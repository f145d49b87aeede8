"""Short runs of pytest without starting Python each time: one warm process, a fork for each run.

``python -m selftest.warm_pytest`` reads requests from standard input, one line of JSON each, and
answers each with pytest's exit status. It has imported the library and pytest, but nothing of a
checkout: conftest, plugins and tests are each run's own.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, NoReturn

from selftest.suites import ROOT, clean_environment

WARM = (
    "numpy",
    "rich.progress",
    "conformance.measure_om",
)
LIMIT_S = 120


class WarmPytest:
    """The warm process, as its client sees it."""

    def __init__(self) -> None:
        self._program = subprocess.Popen(
            [sys.executable, "-m", "selftest.warm_pytest"],
            cwd="/",
            env=clean_environment({"PYTHONPATH": str(ROOT)}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self, arguments: Sequence[str], cwd: Path, environment: Mapping[str, str]
    ) -> tuple[int, str]:
        """Run pytest once in a folder; return its exit status and what it printed."""
        output = cwd / "output.txt"
        assert self._program.stdin
        assert self._program.stdout
        request = {"arguments": [*arguments], "cwd": str(cwd), "environment": {**environment}}
        self._program.stdin.write(json.dumps({**request, "output": str(output)}) + "\n")
        self._program.stdin.flush()
        answer = self._program.stdout.readline()
        assert answer, "the warm process has ended"
        return int(answer), output.read_text("utf-8", "replace")

    def close(self) -> None:
        """End the process."""
        assert self._program.stdin
        self._program.stdin.close()
        self._program.wait(30)


@cache
def warm_pytest() -> WarmPytest:
    """Return this process's warm one, which ends with it."""
    warm = WarmPytest()
    atexit.register(warm.close)
    return warm


def main(requests: IO[str], answers: IO[str]) -> None:
    """Answer requests until there are no more."""
    import pytest

    from conformance.evidence.report.page import template_environment

    for name in WARM:
        importlib.import_module(name)
    template_environment().get_template("report.html")
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        pytest.main(["--version"])
    # Else the first collection in each run would touch, and so copy, all that is shared with it.
    gc.collect()
    gc.freeze()
    for line in requests:
        child = os.fork()
        if not child:
            _be_the_run(**json.loads(line))
        answers.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        answers.flush()


def _be_the_run(
    arguments: list[str], cwd: str, environment: dict[str, str], output: str
) -> NoReturn:
    import pytest

    status = 70
    try:
        os.setsid()
        signal.alarm(LIMIT_S)  # nobody waits for a run that hangs
        os.chdir(cwd)
        os.environ.update(environment)
        sys.path.insert(0, cwd)
        written = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        for descriptor in (1, 2):
            os.dup2(written, descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        status = int(pytest.main(arguments))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main(sys.stdin, sys.stdout)
