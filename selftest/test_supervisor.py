"""A tool runs under the supervisor, and nothing of it outlives its limit or the suite."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from conformance.ascend import supervisor
from conformance.ascend.supervisor import run
from conformance.ascend.tool_run import Run, Survivor
from conformance.errors import ToolError

ROOT = Path(__file__).resolve().parent.parent
MARK = "SUPERVISOR_SELFTEST"
# CI takes a few moments; SUPERVISOR_KILLS=50 takes more.
KILLS = int(os.environ.get("SUPERVISOR_KILLS", "6"))

# A tool as nasty as they come: a child that left the session, an orphan two forks away, and
# nobody listens to SIGTERM.
NASTY = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(60)
    os._exit(0)
print("started", flush=True)
time.sleep(60)
"""


def run_python(folder: Path, code: str, limit_s: float = 20, grace_s: float = 0.5) -> Run:
    env = {"PATH": os.environ["PATH"], MARK: str(folder)}
    argv = [sys.executable, "-c", code]
    return run(argv, env=env, cwd=folder, log=folder / "t.log", limit_s=limit_s, grace_s=grace_s)


def marked(folder: Path) -> list[str]:
    """Command lines of the processes that this test's folder is written into."""
    found = []
    for member in psutil.process_iter():
        try:
            if member.environ().get(MARK) == str(folder) and member.status() != "zombie":
                found.append(" ".join(member.cmdline()))
        except psutil.Error:
            continue
    return found


def supervised(folder: Path) -> list[int]:
    """Ids of the processes that run under a supervisor, of those with this test's folder."""
    found = []
    for member in psutil.process_iter():
        try:
            environ = member.environ()
            if environ.get(MARK) == str(folder) and "CONFORMANCE_SUPERVISED" in environ:
                found.append(member.pid)
        except psutil.Error:
            continue
    return found


def gone_within(folder: Path, seconds: float) -> list[str]:
    limit = time.monotonic() + seconds
    while (left := marked(folder)) and time.monotonic() < limit:
        time.sleep(0.1)
    return left


def test_result_tells_status_streams_and_duration(tmp_path: Path) -> None:
    code = (
        "import sys, time; print('out'); print('err', file=sys.stderr); time.sleep(.2); sys.exit(3)"
    )
    result = run_python(tmp_path, code)
    assert (result.status, result.ended_by, result.timed_out) == (3, "itself", False)
    assert result.stdout_path.read_text() == "out\n"
    assert result.stderr_path.read_text() == "err\n"
    assert result.text == "out\nerr\n"
    assert 0.2 <= result.duration_s < 15
    assert abs(result.started_at - time.time()) < 20
    assert (result.left_behind, result.survivors) == ((), ())
    result.require_ended("tool")


def test_tool_sees_exactly_the_given_environment_and_folder(tmp_path: Path) -> None:
    code = "import os; print(os.getcwd(), sorted(set(os.environ) - {'LC_CTYPE'}))"
    text = run_python(tmp_path, code).text
    assert text.split(" ", 1)[0] == str(tmp_path)
    assert text.split(" ", 1)[1].strip() == f"['CONFORMANCE_SUPERVISED', 'PATH', '{MARK}']"


def test_arguments_are_not_seen_by_a_shell(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", "import sys; print(sys.argv[1])", "$(touch gone) ; 'a b'"]
    result = run(argv, env={}, cwd=tmp_path, log=tmp_path / "t.log", limit_s=20)
    assert result.text == "$(touch gone) ; 'a b'\n"
    assert not (tmp_path / "gone").exists()


def test_time_limit_asks_first_and_keeps_what_was_written(tmp_path: Path) -> None:
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('asked', flush=True), sys.exit(0)))\n"
        "print('half', flush=True)\ntime.sleep(60)"
    )
    result = run_python(tmp_path, code, limit_s=1.0, grace_s=5)
    assert result.timed_out
    assert result.text == "half\nasked\n"
    with pytest.raises(ToolError, match="time limit"):
        result.require_ended("tool")


def test_time_limit_kills_a_tree_that_left_its_group_and_ignores_sigterm(tmp_path: Path) -> None:
    result = run_python(tmp_path, NASTY, limit_s=1.0, grace_s=0.3)
    assert result.timed_out
    assert result.survivors == ()
    assert "started" in result.text
    assert marked(tmp_path) == []


def test_children_that_outlive_the_tool_are_ended_and_named(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'],"
        " start_new_session=True)"
    )
    result = run_python(tmp_path, code)
    assert result.status == 0
    assert [("time.sleep(60)" in left.command) for left in result.left_behind] == [True]
    assert marked(tmp_path) == []


def test_a_kill_from_outside_is_told_from_an_exit_status(tmp_path: Path) -> None:
    result = run_python(tmp_path, "import os; os.kill(os.getpid(), 9)")
    assert result.status == -signal.SIGKILL
    assert "memory" in result.ending
    with pytest.raises(ToolError, match="memory"):
        result.require_ended("tool")


def test_a_tool_that_kills_its_whole_group_kills_only_itself(tmp_path: Path) -> None:
    assert run_python(tmp_path, "import os; os.kill(0, 9)").status == -signal.SIGKILL


def test_a_kill_below_a_shell_wrapper_is_recognised(tmp_path: Path) -> None:
    result = run_python(tmp_path, "import sys; sys.exit(137)")
    assert "SIGKILL" in result.ending
    assert run_python(tmp_path, "import sys; sys.exit(255)").ending == "exit status 255"


@pytest.mark.parametrize("mode", [None, 0o644])
def test_a_program_that_cannot_start_is_an_error_that_names_it(
    tmp_path: Path, mode: int | None
) -> None:
    tool = tmp_path / "tool"
    if mode is not None:
        tool.write_text("#!/bin/sh\n")
        tool.chmod(mode)
    with pytest.raises(ToolError, match="could not be started") as caught:
        run([tool], env={}, cwd=tmp_path, log=tmp_path / "t.log", limit_s=5)
    assert str(tool) in str(caught.value)


@pytest.mark.parametrize("missing", ["cwd", "log"])
def test_a_missing_folder_is_not_called_a_missing_program(tmp_path: Path, missing: str) -> None:
    gone = tmp_path / "gone"
    cwd = gone if missing == "cwd" else tmp_path
    log = (gone if missing == "log" else tmp_path) / "t.log"
    with pytest.raises(ToolError, match="its work folder or log cannot be used") as caught:
        run(["/bin/true"], env={}, cwd=cwd, log=log, limit_s=5)
    assert str(gone) in str(caught.value.got)
    assert "--scratch=" in caught.value.next_step
    assert "executable" not in str(caught.value)


def test_survivors_are_named_and_refused(tmp_path: Path) -> None:
    done = run_python(tmp_path, "pass")
    stuck = Survivor(
        pid=os.getpid(),
        started_at=psutil.Process().create_time(),
        command="atc",
        state="disk-sleep",
    )
    facts = {**vars(done), "survivors": (stuck,)}
    with pytest.raises(ToolError, match=r"cannot be killed: \d+ \(disk-sleep\) atc"):
        Run(**facts).require_ended("atc")
    assert stuck.is_running()
    assert not Survivor(os.getpid(), 1.0, "atc", "sleeping").is_running()


SUITE = """
import os, sys, threading, time
from pathlib import Path
from conformance.ascend.supervisor import run
folder = Path(sys.argv[1])
if len(sys.argv) > 3:  # a data loader, say: it inherits the pipe to the supervisor
    threading.Timer(0.5, lambda: os.fork() or time.sleep(10)).start()
print("running", flush=True)
run([sys.executable, "-c", sys.argv[2]], env=dict(os.environ), cwd=folder, log=folder / "t.log",
    limit_s=60, grace_s=30)
"""


def start_suite(folder: Path, *more: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", SUITE, str(folder), NASTY, *more],
        env={**os.environ, "PYTHONPATH": str(ROOT), MARK: str(folder)},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )


@pytest.mark.parametrize("moment", range(KILLS))
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_nothing_survives_the_death_of_the_suite(
    tmp_path: Path, number: signal.Signals, moment: int
) -> None:
    suite = start_suite(tmp_path)
    assert suite.stdout
    assert suite.stdout.readline() == b"running\n"
    time.sleep(random.Random(moment).uniform(0, 0.8))  # noqa: S311 - a moment, not a secret
    suite.send_signal(number)
    suite.wait()
    assert gone_within(tmp_path, 5) == []


def test_a_forked_child_of_the_suite_does_not_keep_the_tool_alive(tmp_path: Path) -> None:
    suite = start_suite(tmp_path, "fork")
    assert suite.stdout
    suite.stdout.readline()
    time.sleep(1.5)
    suite.kill()
    suite.wait()
    limit = time.monotonic() + 5
    while (left := supervised(tmp_path)) and time.monotonic() < limit:
        time.sleep(0.1)
    assert left == []


def test_nothing_survives_a_closed_terminal(tmp_path: Path) -> None:
    suite = start_suite(tmp_path)
    limit = time.monotonic() + 15
    while not (tmp_path / "t.log").exists() and time.monotonic() < limit:
        time.sleep(0.05)
    os.killpg(suite.pid, signal.SIGHUP)
    suite.wait()
    assert gone_within(tmp_path, 5) == []


def test_an_interrupt_ends_the_tool_before_it_is_passed_on(tmp_path: Path) -> None:
    suite = start_suite(tmp_path)
    limit = time.monotonic() + 15
    while not (tmp_path / "t.log").exists() and time.monotonic() < limit:
        time.sleep(0.05)
    suite.send_signal(signal.SIGINT)
    suite.wait()
    assert marked(tmp_path) == []


def test_a_killed_supervisor_is_reported_and_its_tool_ended(tmp_path: Path) -> None:
    code = NASTY.replace('print("started", flush=True)', "os.kill(os.getppid(), signal.SIGKILL)")
    with pytest.raises(ToolError, match="ended without a report"):
        run_python(tmp_path, code)
    assert gone_within(tmp_path, 2) == []


@pytest.mark.parametrize("name", ["psutil", "json", "conformance"])
def test_a_module_of_the_users_path_is_not_taken_for_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / f"{name}.py").write_text("raise SystemExit(99)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    code = "import os; os.fork() or __import__('time').sleep(60)"
    done = run_python(tmp_path, code)
    assert done.status == 0
    (left,) = done.left_behind  # it takes psutil to name it
    assert code in left.command


@pytest.mark.parametrize("code", ["pass", "import os; os.fork() or __import__('time').sleep(60)"])
def test_it_imports_psutil_only_where_something_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    (tmp_path / "psutil.py").write_text("raise SystemExit(99)")
    program = supervisor.PROGRAM.replace(str(Path(psutil.__file__).parents[1]), str(tmp_path))
    monkeypatch.setattr(supervisor, "PROGRAM", program)
    if code == "pass":
        assert run_python(tmp_path, code).status == 0
    else:
        with pytest.raises(ToolError, match="without a report"):
            run_python(tmp_path, code)
    assert not gone_within(tmp_path, 5)


@pytest.mark.parametrize("forbidden", [True, False])
def test_it_keeps_compiled_modules_unless_the_user_forbids_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forbidden: bool
) -> None:
    package = tmp_path / "suite/conformance/ascend"
    package.mkdir(parents=True)
    shutil.copy(ROOT / "conformance/ascend/supervise.py", package)
    program = supervisor.PROGRAM.replace(str(ROOT), str(tmp_path / "suite"), 1)
    monkeypatch.setattr(supervisor, "PROGRAM", program)
    monkeypatch.setattr(sys, "dont_write_bytecode", forbidden)
    assert run_python(tmp_path, "pass").status == 0
    assert bool(list(package.rglob("*.pyc"))) != forbidden
