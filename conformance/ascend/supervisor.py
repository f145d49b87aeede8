"""Run one vendor tool so that nothing of it survives: not a time limit, not the suite's own death.

Between the suite and the tool stands a small program (``supervise.py``) in a session of its own.
It ends the tool's whole tree when the tool ends, when time is up, or when the suite is gone,
however that came about: SIGKILL and a closed terminal included.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import psutil

from conformance.ascend.tool_run import Run, Survivor
from conformance.errors import ToolError

# It starts sooner without its site packages, and from its compiled form. What else it imports is
# Python's own, but for the psutil that is used here.
IMPORTED_FROM = [str(Path(__file__).parents[2]), str(Path(psutil.__file__).parents[1])]
PROGRAM = f"""
import sys
sys.path += {IMPORTED_FROM!r}
from conformance.ascend.supervise import main
main()
"""
# Every process of a tool carries it, so that strays are found even if the supervisor is killed.
TOKEN_VARIABLE = "CONFORMANCE_SUPERVISED"  # noqa: S105 - the name of a variable, not a secret
GRACE_S = 5.0
REPORT_PATIENCE_S = 15.0  # what the supervisor needs to kill a tree and say so, with reserve
STRAYS_PATIENCE_S = 3.0  # a killed process that is still there after this is stuck in the kernel


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    cwd: Path,
    log: Path,
    limit_s: float,
    grace_s: float = GRACE_S,
) -> Run:
    """Run a tool to its end, or end it.

    Args:
        argv: Program and arguments; never a shell.
        env: The tool's whole environment.
        cwd: Its current folder.
        log: Where its standard output goes; errors go beside it, as ``<stem>.stderr.log``.
        limit_s: Seconds until it is asked to stop.
        grace_s: Seconds from then until it is killed.

    Raises:
        ToolError: It could not be started, or its supervisor was killed. A bad end of the tool
            itself is not raised: it is in the result.
    """
    command = tuple(map(str, argv))
    stderr_log = log.with_name(f"{log.stem}.stderr.log")
    token = uuid.uuid4().hex
    request = {
        "argv": command,
        "env": {**env, TOKEN_VARIABLE: token},
        "cwd": str(cwd),
        "stdout": str(log),
        "stderr": str(stderr_log),
        "suite": os.getpid(),
        "limit_s": limit_s,
        "grace_s": grace_s,
    }
    started_at = time.time()
    report = _supervised(request, limit_s + grace_s + REPORT_PATIENCE_S, token)
    return Run(
        argv=command,
        cwd=cwd,
        status=report["status"] if report["status"] is not None else -signal.SIGKILL,
        ended_by=report["ended_by"],
        started_at=started_at,
        duration_s=report["duration_s"],
        limit_s=limit_s,
        stdout_path=log,
        stderr_path=stderr_log,
        left_behind=tuple(Survivor(**facts) for facts in report["left_behind"]),
        survivors=tuple(Survivor(**facts) for facts in report["survivors"]),
    )


def _supervised(request: dict[str, Any], patience_s: float, token: str) -> dict[str, Any]:
    with _supervisor() as (to_supervisor, from_supervisor):
        try:
            to_supervisor.write(json.dumps(request).encode() + b"\n")
            to_supervisor.flush()
            answer = _read_all(from_supervisor, patience_s)
        except BrokenPipeError:
            answer = b""
    report = _parsed(answer)
    if report is None or report.get("ended_by") == "suite":
        strays = _kill_strays(token)
        raise ToolError(
            "the supervisor of a vendor tool ended without a report",
            got=answer.decode(errors="replace").strip() or "nothing",
            expected="its report",
            where={"command": " ".join(request["argv"]), "processes ended": strays},
            next_step="was it killed? Run again",
        )
    if "error" in report:
        raise _not_started(request, report)
    return report


def _not_started(request: dict[str, Any], report: dict[str, Any]) -> ToolError:
    """Make the error for a tool that never ran: it, its folder or its log cannot be used."""
    place = {"command": " ".join(request["argv"]), "folder": request["cwd"]}
    if report["file"] in {request["cwd"], request["stdout"], request["stderr"]}:
        return ToolError(
            "a vendor tool could not be started: its work folder or log cannot be used",
            got=report["error"],
            expected="a folder that is there and that this user may write",
            where={**place, "log": request["stdout"]},
            next_step="was it removed meanwhile, or is the disk full? Name another --scratch=",
        )
    return ToolError(
        "a vendor tool could not be started",
        got=report["error"],
        expected="a program that this user may execute",
        where=place,
        next_step="check that the file exists, is executable and made for this machine",
    )


@contextlib.contextmanager
def _supervisor() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Start the supervisor; on any way out close its pipe, which ends the tool, and wait for it."""
    cautious = ["-B"] if sys.dont_write_bytecode else []  # -I passes the user's variable over
    child = subprocess.Popen(  # noqa: S603 - our own program, an argument list
        [sys.executable, *cautious, "-I", "-S", "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    if child.stdin is None or child.stdout is None:
        raise AssertionError("pipes were asked for")
    try:
        yield child.stdin, child.stdout
    finally:
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()
        try:
            child.wait(REPORT_PATIENCE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        child.stdout.close()


def _read_all(pipe: IO[bytes], patience_s: float) -> bytes:
    """Read to the end of the pipe, or as far as it gets in time."""
    limit, text = time.monotonic() + patience_s, b""
    while (left := limit - time.monotonic()) > 0:
        if not select.select([pipe], [], [], left)[0]:
            break
        if not (part := os.read(pipe.fileno(), 65536)):
            break
        text += part
    return text


def _parsed(answer: bytes) -> dict[str, Any] | None:
    """Return the report, the last line of the answer; None where there is none."""
    lines = answer.splitlines()
    try:
        report: dict[str, Any] = json.loads(lines[-1])
    except (IndexError, ValueError):
        return None
    return report if isinstance(report, dict) else None


def _kill_strays(token: str) -> int:
    """Kill every process that carries the token in its environment; return how many.

    One that is about to fork escapes a single look, so it looks until nothing is found.
    """
    killed: set[int] = set()
    limit = time.monotonic() + STRAYS_PATIENCE_S
    while (found := _carrying(token)) and time.monotonic() < limit:
        for member in found:
            with contextlib.suppress(psutil.Error):
                member.kill()
        killed |= {member.pid for member in found}
        time.sleep(0.02)
    return len(killed)


def _carrying(token: str) -> list[psutil.Process]:
    found = []
    for member in psutil.process_iter():
        try:
            if member.environ().get(TOKEN_VARIABLE) == token:
                found.append(member)
        except (psutil.Error, OSError):
            continue
    return found
