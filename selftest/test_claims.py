"""Claims: what pytest shows, counts and records for every way in which a test can end."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from conformance.check import Status
from conformance.errors import ConfigError
from conformance.evidence.record import OutcomeRecord, Record, append, read
from selftest.suites import ROOT, checks, clean_environment, outcomes, records, run_folder

pytest_plugins = ["pytester"]
# A run in this process forgets what it imported, and NumPy cannot be imported twice.
assert np.__version__

PRELUDE = """
import os
import sys
import numpy as np
import pytest
from pathlib import Path
from conformance.check import *
from conformance.errors import *

def check(status, id="a.b", **rest):
    return Check(id=id, status=Status(status), **rest)
"""
EVERY_STATUS = """
def test_pass(claim):
    claim(at_most("a.b", 1, 2))

def test_skip(claim):
    claim(skipped("a.b", SkipReason.NO_ATC, "no atc on PATH"))

def test_inconclusive(claim):
    claim(check("INCONCLUSIVE", detail="1,000 more images would settle it"))

@pytest.mark.states("a.b")
def test_blocked(claim):
    raise Blocked("there is no model; test_fail tells why")

def test_fail(claim):
    claim(at_most("a.b", 3, 2))

def test_error(claim):
    claim(equal("a.b", None, 2))

@pytest.mark.states("a.b")
def test_crash():
    raise KeyError("x")

@pytest.fixture
def broken():
    raise ValueError("broken fixture")

@pytest.mark.states("a.b", "a.c")
def test_fixture(broken, claim):
    claim(equal("a.b", 1, 1))

def test_no_check():
    pass

def test_no_check_in_claim(claim):
    claim()

@pytest.mark.states("a.b", "a.c")
def test_one_of_two(claim):
    claim(equal("a.b", 1, 1))

def test_raw_skip():
    pytest.skip("not today")

@pytest.mark.skip(reason="not today")
def test_skip_mark():
    pass

def test_raw_fail():
    pytest.fail("by hand")

def test_plain_assert():
    assert 1 == 2

@pytest.mark.states("a.b")
def test_exit():
    sys.exit(0)

def test_swallowed(claim):
    with pytest.raises(CheckFailed):
        claim(equal("a.b", 1, 2))
"""
EXPECTED = {
    "test_pass": "PASS",
    "test_skip": "SKIP",
    "test_inconclusive": "INCONCLUSIVE",
    "test_blocked": "BLOCKED",
    "test_fail": "FAIL",
    "test_error": "ERROR",
    "test_crash": "ERROR",
    "test_fixture": "ERROR",
    "test_no_check": "ERROR",
    "test_no_check_in_claim": "ERROR",
    "test_one_of_two": "ERROR",
    "test_raw_skip": "ERROR",
    "test_skip_mark": "ERROR",
    "test_raw_fail": "ERROR",
    "test_plain_assert": "ERROR",
    "test_exit": "ERROR",
    "test_swallowed": "FAIL",
}
SHOWN = {"passed": 1, "skipped": 1, "inconclusive": 1, "blocked": 1, "failed": 2, "errors": 11}


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A checkout that holds the suite's plugins and no tests yet."""
    for name in set(os.environ) - set(clean_environment()):
        if name != "PYTEST_CURRENT_TEST":
            monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    # Faster; and pytest-playwright cannot run within itself.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    for name in ("conftest.py", "pytest.ini"):
        shutil.copy(ROOT / name, pytester.path)
    return pytester


def written(suite: pytest.Pytester, code: str, file: str = "tests/test_it.py") -> None:
    path = suite.path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(PRELUDE + code)


def ran(suite: pytest.Pytester, code: str, *options: str) -> pytest.RunResult:
    """Run one file of claims, in this process unless workers are asked for."""
    written(suite, code)
    arguments = ("-p", "no:cacheprovider", *options)
    if "-n" in options:
        return suite.runpytest_subprocess("-p", "xdist", *arguments, timeout=60)
    return suite.runpytest_inprocess(*arguments)


def left(suite: pytest.Pytester) -> list[Record]:
    return records(suite.path / "evidence")


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["alone", "two workers"])
def test_every_status_is_shown_counted_and_recorded(
    suite: pytest.Pytester, options: tuple[str, ...]
) -> None:
    result = ran(suite, EVERY_STATUS, *options)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes() == SHOWN
    found = left(suite)
    assert outcomes(found) == EXPECTED
    made = {name: [c.status.value for c in checks(found, f"::{name}")] for name in EXPECTED}
    assert made["test_fixture"] == ["ERROR", "ERROR"]
    assert made["test_one_of_two"] == ["PASS", "ERROR"]
    assert made["test_blocked"] == ["BLOCKED"]
    assert made["test_crash"] == made["test_exit"] == ["ERROR"]
    assert made["test_no_check"] == made["test_raw_skip"] == []
    result.stdout.fnmatch_lines(["skipped without a machine-readable reason: not today"])
    result.stdout.fnmatch_lines(
        ["checks: 2 PASS, 1 SKIP, 1 INCONCLUSIVE, 1 BLOCKED, 2 FAIL, 6 ER*"]
    )


def test_verbose_words(suite: pytest.Pytester) -> None:
    result = ran(suite, EVERY_STATUS, "-v")
    for name, word in {
        "test_pass": "PASSED", "test_skip": "SKIPPED", "test_inconclusive": "INCONCLUSIVE",
        "test_blocked": "BLOCKED", "test_fail": "FAILED", "test_error": "ERROR",
    }.items():  # fmt: skip
        result.stdout.fnmatch_lines([f"*::{name} {word}*"])


@pytest.mark.parametrize("options", [("-q",), ("-qq",)])
def test_what_is_undecided_is_told_also_when_quiet(
    suite: pytest.Pytester, options: tuple[str, ...]
) -> None:
    result = ran(suite, EVERY_STATUS, *options)
    result.stdout.fnmatch_lines(
        [
            "INCONCLUSIVE *::test_inconclusive: INCONCLUSIVE: a.b",
            "    detail: 1,000 more images would settle it",
            "BLOCKED *::test_blocked: there is no model; test_fail tells why",
            "SKIPPED *::test_skip: [[]no-atc[]] no atc on PATH",
        ]
    )
    result.stdout.fnmatch_lines([f"evidence: {run_folder(suite.path / 'evidence')}"])


def test_without_a_terminal_the_records_are_the_same(suite: pytest.Pytester) -> None:
    assert ran(suite, EVERY_STATUS, "-p", "no:terminal").ret == pytest.ExitCode.TESTS_FAILED
    assert outcomes(left(suite)) == EXPECTED


# One claim


def test_all_checks_are_recorded_before_the_worst_is_raised(suite: pytest.Pytester) -> None:
    result = ran(
        suite,
        """
def test_it(claim):
    claim(equal("a.fail", 1, 2), equal("a.pass", 1, 1), check("ERROR", "a.error"),
          check("INCONCLUSIVE", "a.open"))
    raise AssertionError("reached")
""",
    )
    assert result.parseoutcomes() == {"errors": 1}
    assert [(c.id, c.status) for c in checks(left(suite))] == [
        ("a.fail", "FAIL"), ("a.pass", "PASS"), ("a.error", "ERROR"), ("a.open", "INCONCLUSIVE"),
    ]  # fmt: skip
    result.stdout.fnmatch_lines(["ERROR: a.error"])
    result.stdout.no_fnmatch_line("*reached*")


@pytest.mark.parametrize(
    ("statuses", "shown"),
    [
        ("PASS SKIP", "passed"),
        ("SKIP SKIP", "skipped"),
        ("PASS SKIP INCONCLUSIVE", "inconclusive"),
        ("INCONCLUSIVE BLOCKED PASS", "blocked"),
        ("FAIL BLOCKED", "failed"),
        ("FAIL ERROR PASS", "errors"),
    ],
)
def test_the_worst_wins(suite: pytest.Pytester, statuses: str, shown: str) -> None:
    made = ", ".join(f'check("{status}")' for status in statuses.split())
    result = ran(suite, f"def test_it(claim):\n    claim({made})\n")
    assert result.parseoutcomes() == {shown: 1}
    assert [c.status.value for c in checks(left(suite))] == statuses.split()


def test_a_message_says_everything(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONFORMANCE_WEIGHTS", "sample")
    result = ran(
        suite,
        """
@pytest.mark.parametrize("batch", [16])
def test_it(claim, batch):
    claim(at_most("accuracy.drop", np.float64(2.28), 1.0, unit="points", source="the guide",
                  detail="first difference", hint="look at the labels",
                  coordinates={"soc": "Ascend310"}))
""",
        "--images=5",
        "--imagenet=sample",
    )
    folder = run_folder(suite.path / "evidence")
    result.stdout.fnmatch_lines(
        [
            "FAIL: accuracy.drop [[]batch=16 soc=Ascend310[]]",
            "  got: 2.28 points",
            "  must be: at most 1 points",
            "  margin: -1.28 points",
            "  source: the guide",
            "  detail: first difference",
            "  hint: look at the labels",
            "  reproduce: pytest 'tests/test_it.py::test_it[[]16[]]' --weights=sample * --images=5",
            f"  evidence: {folder}",
        ],
        consecutive=True,
    )
    result.stdout.no_fnmatch_line("*claims.py*")


def test_an_error_without_a_claim_tells_how_to_reproduce_it(suite: pytest.Pytester) -> None:
    result = ran(
        suite,
        """
def test_it():
    raise CheckpointError("no such file", got=1, expected=2, next_step="give another")
""",
        "--board=none",
    )
    result.stdout.fnmatch_lines(
        [
            "no such file",
            "  next: give another",
            "  reproduce: pytest tests/test_it.py::test_it --board=none",
            f"  evidence: {run_folder(suite.path / 'evidence')}",
        ]
    )


@pytest.mark.parametrize("options", [(), ("-n", "1")], ids=["alone", "one worker"])
def test_coordinates_classes_and_foreign_types_arrive(
    suite: pytest.Pytester, options: tuple[str, ...]
) -> None:
    result = ran(
        suite,
        """
class Rests:
    weights_class = "custom"
    image_class = "subset"

@pytest.fixture
def checkpoint():
    return Rests()

@pytest.fixture(params=[2])
def batch(request):
    return request.param

@pytest.fixture
def dataset():
    return Rests()

def test_both(claim, batch, checkpoint, dataset):
    claim(recorded("a.b", np.float32(0.5), coordinates={"file": Path("x"), "n": np.int64(3)}))

@pytest.mark.parametrize("batch", [7], indirect=True)
def test_weights(claim, checkpoint, batch):
    claim(equal("a.b", Path("x"), Path("x"), coordinates={"batch": 9}))

@pytest.mark.states("a.b")
def test_none(claim):
    raise NotApplicable(SkipReason.NO_BOARD, "no npu-smi")
""",
        *options,
    )
    assert result.ret == 0
    found = left(suite)
    (both,), (weights,), (none,) = (checks(found, n) for n in ("both", "test_weights", "none"))
    assert both.coordinates == {"batch": 2, "file": "x", "n": 3}
    assert both.classes == {"weights": "custom", "images": "subset"}
    assert both.value == 0.5
    assert (weights.coordinates, weights.classes) == ({"batch": 9}, {"weights": "custom"})
    assert weights.value == "x"
    assert (none.classes, none.reason) == ({}, "no-board")


def test_no_phase_repeats_a_check(suite: pytest.Pytester) -> None:
    ran(
        suite,
        """
@pytest.fixture
def broken_end(claim):
    claim(equal("a.setup", 1, 1))
    yield
    raise OSError("broken end")

@pytest.mark.states("a.setup", "a.call", "a.never")
def test_it(claim, broken_end):
    claim(equal("a.call", 1, 1))
""",
    )
    found = left(suite)
    assert [c.id for c in checks(found)] == ["a.setup", "a.call", "a.never"]
    assert [r.status for r in found if not hasattr(r, "check")] == ["ERROR", "ERROR"]


# Expected failures


def test_only_a_measured_failure_can_be_expected(suite: pytest.Pytester) -> None:
    result = ran(
        suite,
        """
@pytest.fixture
def broken():
    raise ValueError("broken fixture")

@pytest.mark.xfail(reason="known")
def test_fails(claim):
    claim(equal("a.b", 1, 2))

@pytest.mark.xfail(reason="known")
def test_holds(claim):
    claim(equal("a.b", 1, 1))

@pytest.mark.xfail(reason="known", strict=False)
def test_may_hold(claim):
    claim(equal("a.b", 1, 1))

@pytest.mark.xfail(reason="known")
def test_setup(broken, claim):
    claim(equal("a.b", 1, 2))

@pytest.mark.xfail(reason="known")
def test_error(claim):
    claim(equal("a.b", None, 2))

@pytest.mark.xfail(reason="known")
def test_blocked(claim):
    raise Blocked("no model")

@pytest.mark.xfail(reason="known", run=False)
def test_not_run(claim):
    claim(equal("a.b", 1, 2))

def test_by_hand(claim):
    pytest.xfail("by hand")
""",
    )
    assert result.parseoutcomes() == {"xfailed": 1, "xpassed": 1, "errors": 5, "blocked": 1}
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    told = outcomes(left(suite))
    assert told.pop("test_fails") is Status.FAIL
    assert told.pop("test_may_hold") is Status.PASS
    assert told.pop("test_blocked") is Status.BLOCKED
    assert set(told.values()) == {Status.ERROR}


# Exit status


@pytest.mark.parametrize(
    ("code", "status", "options"),
    [
        ('raise Blocked("no model")', 1, ()),
        ('raise Blocked("no model")', 1, ("-n", "1")),
        ('raise NotApplicable(SkipReason.NO_BOARD, "none")', 0, ()),
        ('claim(check("INCONCLUSIVE"))', 0, ()),
    ],
)
def test_exit_status_of_what_was_not_decided(
    suite: pytest.Pytester, code: str, status: int, options: tuple[str, ...]
) -> None:
    assert ran(suite, f"def test_it(claim):\n    {code}\n", *options).ret == status


def test_an_expected_failure_is_no_red_cause(suite: pytest.Pytester) -> None:
    code = """
@pytest.mark.xfail(reason="known")
def test_cause(claim):
    claim(equal("a.b", 1, 2))

def test_blocked():
    raise Blocked("test_cause tells why")
"""
    assert ran(suite, code).ret == pytest.ExitCode.TESTS_FAILED


def test_tests_of_the_suite_itself_are_left_alone(suite: pytest.Pytester) -> None:
    code = """
def test_pass():
    pass

def test_skip():
    pytest.skip("as usual")

def test_assert():
    assert False
"""
    written(suite, code, "selftest/test_other.py")
    result = suite.runpytest_inprocess("selftest", "-p", "no:cacheprovider")
    assert result.parseoutcomes() == {"passed": 1, "skipped": 1, "failed": 1}
    assert not (suite.path / "evidence").exists()
    result.stdout.no_fnmatch_line("*records:*")


# Ends that nobody plans


def test_a_crashed_worker_is_an_error(suite: pytest.Pytester) -> None:
    code = """
def test_before(claim):
    claim(equal("a.b", 1, 1))

def test_crash(claim):
    os._exit(3)

def test_after(claim):
    claim(equal("a.b", 1, 1))
"""
    result = ran(suite, code, "-n", "1")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes() == {"passed": 2, "errors": 1}
    assert outcomes(left(suite)) == {
        "test_before": "PASS", "test_crash": "ERROR", "test_after": "PASS",
    }  # fmt: skip


def test_an_interrupted_run_keeps_its_records(suite: pytest.Pytester) -> None:
    code = """
def test_before(claim):
    claim(equal("a.b", 1, 1))

def test_interrupted(claim):
    claim(equal("a.c", 1, 1))
    raise KeyboardInterrupt

def test_after(claim):
    claim(equal("a.b", 1, 1))
"""
    written(suite, code)
    assert suite.runpytest_subprocess(timeout=60).ret == pytest.ExitCode.INTERRUPTED
    assert outcomes(left(suite)) == {"test_before": Status.PASS}


def test_a_killed_run_keeps_the_checks_so_far(suite: pytest.Pytester) -> None:
    written(
        suite,
        """
def test_before(claim):
    claim(equal("a.b", 1, 1), equal("a.c", 1, 1))

def test_long(claim):
    import time
    Path("long").touch()
    time.sleep(60)
""",
    )
    started = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"],
        cwd=suite.path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not _recorded(suite.path) and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        os.kill(started.pid, signal.SIGKILL)
        started.wait()
    found = left(suite)
    assert [c.id for c in checks(found)] == ["a.b", "a.c"]
    assert outcomes(found) == {"test_before": Status.PASS}


def _recorded(root: Path) -> bool:
    return (root / "long").exists() and bool(list(root.glob("evidence/*/checks.jsonl")))


@pytest.mark.parametrize("lost", [1, 7, 40])
def test_a_line_cut_by_a_kill_is_left_out(suite: pytest.Pytester, lost: int) -> None:
    ran(suite, EVERY_STATUS)
    folder = run_folder(suite.path / "evidence")
    whole = read(folder)
    path = folder / "checks.jsonl"
    path.write_bytes(path.read_bytes()[:-lost])
    assert read(folder) == whole[:-1]


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "one worker"])
def test_records_that_cannot_be_written_fail_the_run(
    suite: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    evidence = suite.path / "taken"
    evidence.touch()
    code = "def test_it(claim):\n    claim(equal('a.b', 1, 1))\n"
    result = ran(suite, code, f"--evidence={evidence}", *workers)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes() == {"passed": 1}
    result.stdout.fnmatch_lines(
        ["*the run's records cannot be written*", "*next: name a folder that this user may write*"]
    )
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    outcome = OutcomeRecord("tests/test_it.py::test_it", Status.PASS, 1.0, "")
    (tmp_path / "checks.jsonl").symlink_to("/dev/full")
    with pytest.raises(ConfigError, match="No space left on device"):
        append(tmp_path, outcome)


def test_a_line_that_is_written_in_part_is_told(tmp_path: Path) -> None:
    outcome = OutcomeRecord("tests/test_it.py::test_it", Status.PASS, 1.0, "x" * 100)
    append(tmp_path, outcome)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    room = (tmp_path / "checks.jsonl").stat().st_size + 50
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        with pytest.raises(ConfigError, match="cannot be written"):
            append(tmp_path, outcome)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert read(tmp_path) == [outcome]
