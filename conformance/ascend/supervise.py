"""The small program between the suite and one vendor tool; it outlives neither.

It reads one JSON request line on its standard input and then keeps that pipe open: the end of it
means that the suite is gone. The tool runs in a session of its own. This process adopts every
orphan below it (``PR_SET_CHILD_SUBREAPER``), so that a tool which leaves its process group, or its
parent, is still found. It prints one JSON report and ends.

A tool is run many times, so this starts quickly: without the site packages (``-S``), from its
compiled form, and psutil is imported only where a process must be named or killed.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time

TYPE_CHECKING = False  # as in ``typing``, which takes a while to import
if TYPE_CHECKING:
    from typing import Any

    import psutil

PR_SET_PDEATHSIG = 1  # from linux/prctl.h
PR_SET_CHILD_SUBREAPER = 36
KILL_PATIENCE_S = 3.0  # a killed process that is still there after this is stuck in the kernel
ORPHAN_GRACE_S = 1.0  # the suite is gone: nobody waits for a tidy end
LOOK_EVERY_S = 0.25

_libc = ctypes.CDLL(None, use_errno=True)


class Tree:
    """The tool and everything that came from it."""

    def __init__(self, tool: int, grace_s: float) -> None:
        self.tool = tool
        self.grace_s = grace_s
        self.status: int | None = None

    def reap(self) -> bool:
        """Collect every child that ended, the tool's own status and those of adopted orphans.

        Returns:
            Whether there are others. Without a child there is nothing deeper either: what lost its
            parent has become a child.
        """
        while True:
            try:
                pid, wait_status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.tool:
                self.status = os.waitstatus_to_exitcode(wait_status)

    def alive(self) -> list[psutil.Process]:
        """Return every process below this one that has not ended."""
        if not self.reap():
            return []
        import psutil

        return [below for below in psutil.Process().children(recursive=True) if _running(below)]

    def end(self) -> list[dict[str, Any]]:
        """Ask everything to stop, then kill it; return what could not be killed."""
        if not self.reap():
            return []
        self._signal(signal.SIGTERM)
        if self._gone_within(self.grace_s):
            return []
        limit = time.monotonic() + KILL_PATIENCE_S
        while time.monotonic() < limit:
            self._signal(signal.SIGKILL)
            if self._gone_within(0.1):
                return []
        return [describe(member) for member in self.alive()]

    def _signal(self, number: int) -> None:
        import psutil

        for member in self.alive():
            try:
                member.send_signal(number)
            except psutil.Error:
                continue

    def _gone_within(self, seconds: float) -> bool:
        limit = time.monotonic() + seconds
        while self.alive():
            if time.monotonic() >= limit:
                return False
            time.sleep(0.02)
        return True


def _running(member: psutil.Process) -> bool:
    import psutil

    try:
        return bool(member.is_running() and member.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def describe(member: psutil.Process) -> dict[str, Any]:
    """Name a process: id, start time, command line and kernel state."""
    import psutil

    facts: dict[str, Any] = {"pid": member.pid, "started_at": 0.0, "command": "?", "state": "gone"}
    try:
        with member.oneshot():
            facts["started_at"] = member.create_time()
            facts["command"] = " ".join(member.cmdline()) or member.name()
            facts["state"] = member.status()
    except psutil.Error:
        pass
    return facts


def _die_with_parent() -> None:
    """Runs in the tool between fork and exec: the kernel kills it when the supervisor dies."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _start(request: dict[str, Any]) -> int:
    with open(request["stdout"], "wb") as stdout, open(request["stderr"], "wb") as stderr:  # noqa: PTH123 - pathlib takes a while to import
        child = subprocess.Popen(  # noqa: S603 - an argument list, never a shell
            request["argv"],
            cwd=request["cwd"],
            env=request["env"],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - this program has one thread
        )
    child.returncode = 0  # reaped by Tree, so that Popen must not wait for it
    return child.pid


def _watch(tree: Tree, request: dict[str, Any], wakeup: int) -> str:
    """Wait for the tool, the time limit or the suite's end, whichever comes first; name it."""
    limit = time.monotonic() + request["limit_s"]
    while True:
        tree.reap()
        if tree.status is not None:
            return "itself"
        left = limit - time.monotonic()
        if left <= 0:
            return "time limit"
        # A forked child of the suite may hold the pipe open, so that its parent counts too.
        readable, _, _ = select.select([0, wakeup], [], [], min(LOOK_EVERY_S, left))
        if 0 in readable or os.getppid() != request["suite"]:
            return "suite"
        if wakeup in readable:
            os.read(wakeup, 4096)


def _read_request() -> dict[str, Any] | None:
    """Read the request without buffering past it; None when the suite died before sending it."""
    line = b""
    while not line.endswith(b"\n"):
        if not (part := os.read(0, 65536)):
            return None
        line += part
    request: dict[str, Any] = json.loads(line)
    return request


def _arm() -> int:
    """Make this process the reaper of its tree, wake on SIGCHLD; return the wakeup descriptor."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    read_end, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    # SIGTERM is the kernel's word for "your parent's thread ended"; the loop looks for itself.
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    return read_end


def _supervise(request: dict[str, Any], wakeup: int) -> dict[str, Any]:
    started = time.monotonic()
    try:
        tree = Tree(_start(request), request["grace_s"])
    except OSError as error:
        told = f"{type(error).__name__}: {error.strerror}: {error.filename}"
        return {"error": told, "file": str(error.filename)}
    ended_by = _watch(tree, request, wakeup)
    duration_s = time.monotonic() - started
    if ended_by == "suite":
        tree.grace_s = min(tree.grace_s, ORPHAN_GRACE_S)
    left_behind = [describe(member) for member in tree.alive()] if ended_by == "itself" else []
    survivors = tree.end()
    return {
        "status": tree.status,
        "ended_by": ended_by,
        "duration_s": duration_s,
        "left_behind": left_behind,
        "survivors": survivors,
    }


def main() -> None:
    """Supervise the one tool that the request names."""
    woken_by = _arm()
    if received := _read_request():
        report = json.dumps(_supervise(received, woken_by))
        try:
            os.write(1, report.encode())
        except BrokenPipeError:  # the suite is gone; there is nobody to tell
            sys.exit(1)
