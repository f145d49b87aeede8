"""Runs of pytest in forks of one warm process: what every run imports is imported once.

``python -m selftest.warm_pytest`` reads requests from standard input, one line of JSON each, and
answers each with the exit status. What a run changes in its process dies with it.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIMIT_S = 120
OUTPUT = "output.txt"


class WarmPytest:
    """The warm process, as its client sees it; it ends when the client does."""

    def __init__(self) -> None:
        self._program = subprocess.Popen(
            [sys.executable, "-m", "selftest.warm_pytest"],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self, arguments: Sequence[str], folder: Path, environ: Mapping[str, str]
    ) -> tuple[int, str]:
        """Run ``pytest`` in a folder; return its exit status and what it printed."""
        assert self._program.stdin
        assert self._program.stdout
        asked = {"arguments": list(arguments), "folder": str(folder), "environ": dict(environ)}
        self._program.stdin.write(json.dumps(asked) + "\n")
        self._program.stdin.flush()
        answer = self._program.stdout.readline()
        assert answer, "the warm process has ended"
        return int(answer), (folder / OUTPUT).read_text("utf-8", errors="replace")


@functools.cache
def warm_pytest() -> WarmPytest:
    """Return the warm process of this test process."""
    return WarmPytest()


def main() -> None:
    """Serve until standard input ends."""
    import jinja2  # noqa: F401 - for the runs
    import rich.table  # noqa: F401 - for the runs

    import conformance.evidence.report.page
    import conformance.measure_om  # noqa: F401 - for the runs

    # Else the first collection in each run would touch, and so copy, all that is shared with it.
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            _run(asked["arguments"], Path(asked["folder"]), asked["environ"])
        _, waited = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(waited), flush=True)


def _run(arguments: list[str], folder: Path, environ: Mapping[str, str]) -> None:
    """Become a run of pytest, and end with its status."""
    status = 70
    try:
        os.setsid()
        signal.alarm(LIMIT_S)  # nobody waits for a run that hangs
        os.chdir(folder)
        os.environ.update(environ)
        sys.path.insert(0, str(folder))
        output = os.open(OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        for stream in (1, 2):
            os.dup2(output, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        import pytest

        status = int(pytest.main(arguments))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
