"""Every way to make a hole in a gate, tried; and how runs under a gate end."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from conformance.evidence.bundle import EVIDENCE_FILE, JUNIT_FILE, STATEMENT_FILE
from conformance.evidence.gate import read_gates, required
from conformance.evidence.record import CheckRecord, read
from conformance.evidence.verify import verify
from conformance.spec import load_spec
from selftest.made_suite import ROOT, SECOND, Suite

CONFORMANT = "CONFORMANT host [weights=none images=none board=none] NOT RELEASE EVIDENCE"
INSUFFICIENT = CONFORMANT.replace("CONFORMANT", "INSUFFICIENT EVIDENCE", 1)
NOT_CONFORMANT = CONFORMANT.replace("CONFORMANT", "NOT CONFORMANT", 1)
WAITS = SECOND.replace(
    'claim(equal("made.second"',
    'open("reached", "w").close(); time.sleep(60); claim(equal("made.second"',
)


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return Suite(tmp_path / "checkout")


@pytest.mark.parametrize("arguments", [(), ("-q",), ("-qq",), ("-n", "2"), ("-q", "-n", "2")])
def test_a_whole_run_is_conformant(suite: Suite, arguments: Sequence[str]) -> None:
    ended = suite.run(*arguments)
    assert (ended.status, ended.last) == (0, CONFORMANT)
    assert {path.name for path in ended.bundle.iterdir()} >= {
        EVIDENCE_FILE,
        JUNIT_FILE,
        STATEMENT_FILE,
    }
    gates = read_gates(suite.folder / "gates.toml")
    assert verify(ended.bundle, gates, {"squeezenet1_1": load_spec("squeezenet1_1")}).problems == ()
    assert "\x1b[" not in ended.output


@pytest.mark.parametrize("quiet", ["-q", "-qq"])
def test_a_quiet_run_under_a_gate_shows_its_checks(suite: Suite, quiet: str) -> None:
    """The table is what a verdict rests on; without a gate quiet stays quiet."""
    ended = suite.run(quiet)
    assert re.search(r"^check +holds +worst ", ended.output, re.MULTILINE)
    assert re.search(r"^made\.batch +2/2 +PASS ", ended.output, re.MULTILINE)
    assert ended.last == CONFORMANT
    assert "made.batch" not in suite.run(quiet, gate="").output


def test_the_verdict_needs_no_reporter(suite: Suite) -> None:
    ended = suite.run("-p", "no:terminal")
    assert (ended.status, ended.last) == (0, CONFORMANT)


def test_colours_are_for_terminals(suite: Suite) -> None:
    assert "\x1b[" in suite.run("--color=yes").output


# The plain options are tried under every gate in test_gate_options.py.
HOLES = [
    ("-k", "not second"),
    ("--ignore-glob=*second*",),
    ("-o", "python_files=test_f*.py"),
    ("-o", "python_functions=test_b*"),
    ("-k", "batch and not 16"),
]


@pytest.mark.parametrize("arguments", HOLES, ids=" ".join)
def test_a_selection_leaves_a_hole(suite: Suite, arguments: Sequence[str]) -> None:
    ended = suite.run(*arguments)
    assert (ended.status, ended.last) == (11, INSUFFICIENT)
    assert "missing: made." in ended.output


@pytest.mark.parametrize("arguments", [("--lf",), ("--sw",), ("--maxfail=1",)], ids=" ".join)
def test_what_failed_before_or_now_ends_the_run_early(
    suite: Suite, arguments: Sequence[str]
) -> None:
    suite.second(SECOND, value=2)
    assert suite.run().last == NOT_CONFORMANT
    ended = suite.run(*arguments)
    assert ended.last == NOT_CONFORMANT
    assert ended.status in {10, 12}
    suite.second(SECOND, value=1)
    assert suite.run("--lf").last == INSUFFICIENT


REPLACED = {
    "skip mark": SECOND.replace("def test", "@pytest.mark.skip\ndef test"),
    "skip call": SECOND.replace("claim(", "pytest.skip('later'); claim("),
    "xfail not run": SECOND.replace("def test", "@pytest.mark.xfail(run=False)\ndef test"),
    "xfail call": SECOND.replace("claim(", "pytest.xfail('known'); claim("),
    "nothing stated": SECOND.replace("claim(equal", "(equal"),
    "recorded only": SECOND.replace("equal(", "recorded(")
    .replace(", 1))", "))")
    .replace("import equal", "import recorded"),
    "another model": SECOND.replace(", 1))", ", 1, coordinates={'model': 'other'}))"),
    "pytest.exit with 0": SECOND.replace("claim(", "pytest.exit('done', returncode=0); claim("),
    "error": SECOND.replace("claim(", "raise OSError('gone'); claim("),
    "gone": "",
}


@pytest.mark.parametrize("name", REPLACED)
def test_a_claim_that_was_not_made_is_missed(suite: Suite, name: str) -> None:
    suite.second(REPLACED[name])
    ended = suite.run()
    assert (ended.status, ended.last) in {(11, INSUFFICIENT), (12, INSUFFICIENT)}
    assert "made.second" in ended.output


def test_an_xfailed_failure_is_a_failure(suite: Suite) -> None:
    suite.second(SECOND.replace("def test", "@pytest.mark.xfail\ndef test"), value=2)
    ended = suite.run()
    assert (ended.status, ended.last) == (10, NOT_CONFORMANT)


def test_a_failure_that_no_gate_requires_is_a_failure(suite: Suite) -> None:
    suite.second(SECOND + SECOND.replace("made.second", "made.extra").replace("VALUE", "2"))
    text = (suite.folder / "tests/test_second.py").read_text()
    (suite.folder / "tests/test_third.py").write_text(text.replace("VALUE", "1"))
    suite.second(SECOND)
    ended = suite.run()
    assert (ended.status, ended.last) == (10, NOT_CONFORMANT)
    assert "FAIL: made.extra" in ended.output


@pytest.mark.parametrize(
    "option",
    [
        "--setup-plan", "--setup-only", "--runxfail", "--fixtures", "--markers",
        "--fixtures-per-test", "--cache-show", "--help",
    ],
)  # fmt: skip
def test_what_runs_nothing_is_a_usage_error(suite: Suite, option: str) -> None:
    ended = suite.run(option)
    assert ended.status == 4
    assert "CONFORMANT" not in ended.output


def test_no_plugin_can_be_taken_away_by_a_variable(suite: Suite) -> None:
    ended = suite.run(environ={"PYTEST_ADDOPTS": "-p no:fixtures.ending"})
    assert ended.status == 4
    assert "CONFORMANT" not in ended.output


def test_no_conftest_is_a_usage_error(suite: Suite) -> None:
    assert suite.run("--noconftest").status == 4
    assert suite.run("--noconftest", "-p", "fixtures.options").status == 4


def test_an_unknown_gate_is_a_usage_error(suite: Suite) -> None:
    ended = suite.run(gate="relese")
    assert ended.status == 4
    assert "unknown gate" in ended.output


def test_an_empty_gate_is_a_usage_error(suite: Suite) -> None:
    """Else a script whose variable is unset would go on without a verdict, with status 0."""
    ended = suite.run("--gate=", gate="")
    assert ended.status == 4
    assert "--gate: needs a name, got nothing" in ended.output
    assert "passed" not in ended.output


@pytest.mark.parametrize(
    "change", [("models", 'models = ["other"]\n#'), ("[gates.host]", "[gates.hots]")]
)
def test_damaged_gates_are_a_usage_error(suite: Suite, change: tuple[str, str]) -> None:
    path = suite.folder / "gates.toml"
    path.write_text(path.read_text().replace(*change, 1))
    assert suite.run().status == 4


SPY = """
import pathlib
import fixtures.ending

def written(folder, images, thumbnails):
    pathlib.Path("shown").write_text(f"{images} {thumbnails}")

fixtures.ending.write_report = written
"""


def test_the_report_of_a_sample_shows_its_images(suite: Suite) -> None:
    """They are the suite's own; they lie in the store, and nothing is drawn for a report."""
    from conformance import build
    from conformance.artifacts import Store

    suite.add_plugin(SPY)
    words = (f"--artifacts={suite.folder / 'store'}", "--imagenet=sample")

    def shown(*more: str) -> str:
        assert suite.run(*words, *more).status == 0
        return (suite.folder / "shown").read_text()

    def draw(folder: Path) -> dict[str, str]:
        (folder / build.SAMPLE_FOLDER).mkdir()
        (folder / build.SAMPLE_FOLDER / "val_label.txt").write_text("")
        return {}

    assert shown() == "None True"
    drawn = Store(suite.folder / "store").get(build._sample_request(), draw)
    assert shown() == f"{drawn.folder / build.SAMPLE_FOLDER} True"
    assert shown("--thumbnails=off") == "None False"


RERUN = """
import pytest
from _pytest.runner import runtestprotocol

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    for attempt in range(2):
        for report in runtestprotocol(item, nextitem=nextitem, log=False):
            if report.failed and attempt == 0:
                report.outcome = "rerun"
            item.ihook.pytest_runtest_logreport(report=report)
    return True
"""


def test_a_rerun_never_heals(suite: Suite) -> None:
    suite.add_plugin(RERUN)
    flaky = SECOND.replace(
        "VALUE", "1 if os.path.exists('seen') else [open('seen', 'w').close(), 2][1]"
    )
    suite.second(flaky)
    ended = suite.run()
    assert (ended.status, ended.last) == (10, NOT_CONFORMANT)
    statuses = [m.check.status for m in ended.read().checks if m.check.id == "made.second"]
    assert set(statuses) == {"FAIL", "PASS"}


def test_a_collection_error_interrupts(suite: Suite) -> None:
    suite.second("import nothing_of_that_name\n")
    ended = suite.run()
    assert (ended.status, ended.last) == (12, INSUFFICIENT)


@pytest.mark.parametrize("arguments", [(), ("-n", "2")], ids=["alone", "workers"])
@pytest.mark.parametrize(
    ("number", "told"), [(signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "Ctrl-C")]
)
def test_an_interrupted_run_writes_its_bundle(
    suite: Suite, number: signal.Signals, told: str, arguments: Sequence[str]
) -> None:
    suite.second(WAITS)
    ended = suite.run_and_signal(number, *arguments)
    assert (ended.status, ended.last) == (12, INSUFFICIENT)
    evidence = ended.read()
    assert told in evidence.interrupted
    assert "made.second" not in {made.check.id for made in evidence.checks}
    gates = read_gates(suite.folder / "gates.toml")
    assert verify(ended.bundle, gates, {"squeezenet1_1": load_spec("squeezenet1_1")}).problems == ()


INTERRUPTS_AFTER_A_RECORD = """
import fixtures.recorder

appended = fixtures.recorder.append

def interrupted(folder, *records):
    appended(folder, *records)
    if "test_batch" in records[0].test:
        raise KeyboardInterrupt("Ctrl-C")

fixtures.recorder.append = interrupted
"""


@pytest.mark.parametrize("arguments", [(), ("-n", "2")], ids=["alone", "workers"])
def test_no_interrupt_parts_a_check_from_its_test(suite: Suite, arguments: Sequence[str]) -> None:
    suite.add_plugin(INTERRUPTS_AFTER_A_RECORD)
    ended = suite.run(*arguments)
    assert (ended.status, ended.last) == (12, INSUFFICIENT)
    assert "made.batch" in {made.check.id for made in ended.read().checks}
    gates = read_gates(suite.folder / "gates.toml")
    assert verify(ended.bundle, gates, {"squeezenet1_1": load_spec("squeezenet1_1")}).problems == ()


ENDS_A_CHILD = """
import os, signal, time
import pytest
from conformance.check import equal
from fixtures.termination import TERMINATION

@pytest.mark.states("made.second")
def test_second(claim, model, pytestconfig):
    if not (child := os.fork()):
        time.sleep(60)
    time.sleep(0.2)
    os.kill(child, signal.SIGTERM)
    assert os.waitpid(child, 0)[1] == signal.SIGTERM
    time.sleep(0.2)
    assert not pytestconfig.stash[TERMINATION].asked
    claim(equal("made.second", 1, 1))
"""


def test_a_signal_to_a_child_does_not_end_the_run(suite: Suite) -> None:
    suite.second(ENDS_A_CHILD)
    ended = suite.run()
    assert (ended.status, ended.last) == (0, CONFORMANT), ended.output


def test_a_killed_run_leaves_its_checks_and_no_verdict(suite: Suite) -> None:
    suite.second(WAITS)
    ended = suite.run_and_signal(signal.SIGKILL)
    assert ended.status == -signal.SIGKILL
    assert not (ended.bundle / EVIDENCE_FILE).exists()
    checks = [record for record in read(ended.bundle) if isinstance(record, CheckRecord)]
    assert len(checks) == 3


def test_no_room_for_the_bundle_still_ends_with_the_verdict(suite: Suite) -> None:
    (suite.folder / "file").write_text("")
    ended = suite.run("--evidence=file/evidence")
    assert (ended.status, ended.last) == (12, CONFORMANT)
    assert "the evidence is not complete" in ended.output
    assert suite.run("--evidence=file/evidence", gate="").status == 1


def test_without_a_gate_pytest_behaves_as_usual(suite: Suite) -> None:
    ended = suite.run(gate="")
    assert ended.status == 0
    assert "CONFORMANT" not in ended.output
    assert ended.read().decision is None
    suite.second(SECOND, value=2)
    assert suite.run(gate="").status == 1
    assert suite.run("-k", "nothing", gate="").status == 5


def test_the_table_shows_each_check(suite: Suite) -> None:
    suite.second(SECOND, value=2)
    output = suite.run("-n", "2").output
    assert re.search(r"made\.second +0/1 +FAIL +2 +equal to 1", output)
    assert re.search(r"made\.batch +2/2 +PASS", output)


EXPECTED = """
[[failures]]
id = "made.second"
reason = "known"
link = "https://example.org/1"
expires = 2999-01-01
"""


def test_an_expected_failure_is_no_conformance(suite: Suite) -> None:
    (suite.folder / "expected_failures.toml").write_text(EXPECTED)
    suite.second(SECOND, value=2)
    ended = suite.run()
    assert (ended.status, ended.last) == (10, NOT_CONFORMANT)
    assert "1 xfailed" in ended.output


def run_part_of_the_real_suite(tmp_path: Path, *arguments: str) -> tuple[int, str]:
    words = [sys.executable, "-m", "pytest", "--gate=host", "--weights=sample", "--imagenet=sample"]
    done = subprocess.run(
        [*words, f"--evidence={tmp_path}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("-k", "nothing"), 11),
        (("selftest/test_labels.py", "-q"), 11),
        (("--model=other",), 4),
    ],
)
def test_holes_in_the_real_suite(tmp_path: Path, arguments: Sequence[str], status: int) -> None:
    returned, output = run_part_of_the_real_suite(tmp_path, *arguments)
    assert returned == status, output
    if status == 11:
        assert output.rstrip().splitlines()[-1].startswith("INSUFFICIENT EVIDENCE host [")


def test_gates_and_tests_know_each_other() -> None:
    """Each id that a test states stands in the gates, and at every place where it is stated."""
    done = subprocess.run(
        [sys.executable, "-c", LISTING], cwd=ROOT, capture_output=True, text=True, check=True
    )
    stated = {tuple(line.split("\t")) for line in done.stdout.splitlines() if "\t" in line}
    assert stated
    gates = read_gates()
    specs = {model: load_spec(model) for model in gates.models}
    assert {check_id for check_id, *_ in stated} <= {i for row in gates.checks for i in row.ids}
    demanded = required(gates, "host", specs)
    of_host = {i for row in gates.checks if "host" in row.gates for i in row.ids}
    hosts = {(c, b, s) for c, b, s, npu in stated if npu == "no" and c in of_host}
    places = {
        (d.id, str(d.coordinates.get("batch", "")), str(d.coordinates.get("scale", "")))
        for d in demanded
    }
    assert hosts == places


LISTING = """
import pytest
class Lister:
    def pytest_collection_modifyitems(self, items):
        for item in items:
            params = item.callspec.params if hasattr(item, "callspec") else {}
            batch = params.get("batch", params.get("other_batch", ""))
            scale = params.get("scaled_inputs", "")
            npu = "yes" if item.get_closest_marker("npu") else "no"
            for mark in item.iter_markers("states"):
                for check_id in mark.args:
                    print(check_id, batch, f"x{scale}" if scale else "", npu, sep="\\t")
pytest.main(["--collect-only", "-q", "tests"], plugins=[Lister()])
"""
