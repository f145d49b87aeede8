"""Every option that could leave something out of a run, tried under each gate.

The claims are stand-ins that state what the project's own gates require and hold at once, on facts
that every gate accepts. A whole run of them is conformant under each gate; nothing less may be.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from conformance.evidence.gate import read_gates
from selftest.made_suite import BARE, ROOT
from selftest.warm_pytest import warm_pytest

GATES = tuple(read_gates().gates)
HOST_TEST = "tests/test_export.py::test_host[squeezenet1_1]"
STAND_IN = """
import os
import sys
from pathlib import Path
import pytest
import conformance.spec
from conformance.check import at_least, at_most, equal, recorded
from conformance.evidence.facts import record_board, record_class
from conformance.evidence.gate import read_gates, required

sys.modules["jinja2"] = None  # no reports: they take longer than the runs
MODELS = Path(__file__).parent / "models"
for function in (conformance.spec.load_spec, conformance.spec.model_names):
    function.__defaults__ = (MODELS,)
MODEL = "squeezenet1_1"
SPECS = {MODEL: conformance.spec.load_spec(MODEL)}
DEMANDED = [d for gate in ("host", "rehearsal", "board", "release")
            for d in required(read_gates(), gate, SPECS, "Ascend310")]


def is_of_om(demand):
    return "board" in demand.row.rests_on and "batch" in demand.coordinates


def good(demand):
    row, place = demand.row, {n: v for n, v in demand.coordinates.items() if n != "model"}
    if not row.decides:
        return recorded(demand.id, 1, coordinates=place)
    make = {"at most": at_most, "at least": at_least, "equal to": equal}[row.must_be]
    bound = 1 if row.bound is None else row.bound
    return make(demand.id, bound, bound, coordinates=place)


def checks(wanted):
    return {(d.id, d.place): good(d) for d in DEMANDED if wanted(d)}.values()


@pytest.fixture(scope="session", autouse=True)
def facts(run):
    for part, value in {"weights": "published", "images": "full", "board": "device"}.items():
        record_class(run.folder, part, value, {}, "" if part == "board" else MODEL)
    record_board(run.folder, "Ascend310", ["0:0"])


def pytest_addoption(parser):
    parser.addoption("--reruns", type=int, default=0)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    from _pytest.runner import runtestprotocol

    for attempt in range(item.config.getoption("reruns")):
        for report in runtestprotocol(item, nextitem=nextitem, log=False):
            if report.failed and not attempt:
                report.outcome = "rerun"
            item.ihook.pytest_runtest_logreport(report=report)
    return True if item.config.getoption("reruns") else None
"""
HOST = """
import os
import pytest
from conformance.check import equal
from conftest import checks, is_of_om

def test_host(claim, model):
    trouble = os.environ.get("TROUBLE")
    if trouble == "killed":
        os._exit(1)
    flaky = trouble == "flaky" and not os.path.exists("seen")
    open("seen", "w").close()
    claim(equal("made.up", 2 if flaky or trouble == "fails" else 1, 1))
    claim(*checks(lambda d: not is_of_om(d) and "batch" not in d.coordinates))

def test_batches(claim, model):
    claim(*checks(lambda d: not is_of_om(d) and "batch" in d.coordinates))
"""
BOARD = """
import pytest
from conftest import checks, is_of_om

@pytest.mark.npu
@pytest.mark.every_variant
def test_om(claim, model, om_key):
    place = om_key.coordinates
    claim(*checks(lambda d: is_of_om(d) and all(d.coordinates.get(name, value) == value
                                                for name, value in place.items())))
"""


class StandIn:
    """A checkout of the stand-ins, each run of which starts afresh."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "tests").mkdir(parents=True)
        (folder / "models").mkdir()
        shutil.copy(ROOT / "pytest.ini", folder)
        shutil.copy(ROOT / "gates.toml", folder)
        (folder / "conftest.py").write_text((ROOT / "conftest.py").read_text() + STAND_IN)
        (folder / "tests/test_export.py").write_text(HOST)
        (folder / "tests/test_atc.py").write_text(BOARD)
        spec = (ROOT / "models/squeezenet1_1.toml").read_text()
        (folder / "models/squeezenet1_1.toml").write_text(spec)
        other = spec.replace('name = "squeezenet1_1"', 'name = "other"', 1)
        (folder / "models/other.toml").write_text(other)

    def run(self, gate: str, *arguments: str, trouble: str = "") -> tuple[int, str]:
        """Run under a gate; return the exit status and what was printed."""
        shutil.rmtree(self.folder / "evidence", ignore_errors=True)
        (self.folder / "seen").unlink(missing_ok=True)
        failed = self.folder / ".pytest_cache/v/cache/lastfailed"
        failed.parent.mkdir(parents=True, exist_ok=True)
        failed.write_text(json.dumps({HOST_TEST: True}))
        environ: Mapping[str, str] = BARE | {"TROUBLE": trouble}
        words = [f"--gate={gate}", f"--evidence={self.folder / 'evidence'}", *arguments]
        return warm_pytest().run(words, self.folder, environ)


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> StandIn:
    return StandIn(tmp_path_factory.mktemp("standin") / "checkout")


# What is tried, and what makes the claims fail, flicker or die in it.
HOLES: dict[str, tuple[tuple[str, ...], str]] = {
    "--model=": (("--model=other",), ""),
    "a path": (("tests/test_atc.py",), ""),
    "a test": ((HOST_TEST,), ""),
    "-k": (("-k", "batches"), ""),
    "-m": (("-m", "npu"), ""),
    "--deselect": ((f"--deselect={HOST_TEST}",), ""),
    "--ignore": (("--ignore=tests/test_export.py",), ""),
    "--lf": (("--lf",), ""),
    "-x": (("-x",), "fails"),
    "--maxfail": (("--maxfail=1",), "fails"),
    "--reruns": (("--reruns=2",), "flaky"),
    "a killed worker": (("-p", "xdist.plugin", "-n", "1"), "killed"),
}
# Each `.om` that a gate requires by itself: no other one may answer for it.
OMS = {
    "rehearsal": ("bs1", "bs16", "bs1-aipp", "bs16-aipp"),
    "board": ("bs1", "bs16", "bs1-aipp", "bs16-aipp"),
    "release": ("bs1", "bs4", "bs16", "bs16-tuned", "bs1-aipp", "bs16-aipp"),
}


@pytest.mark.parametrize("gate", GATES)
def test_a_whole_run_of_the_stand_ins_is_conformant(suite: StandIn, gate: str) -> None:
    status, output = suite.run(gate)
    assert status == 0, output
    assert output.splitlines()[-1].startswith(f"CONFORMANT {gate} [weights=published images=full")


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("name", HOLES)
def test_a_run_with_a_hole_is_never_conformant(suite: StandIn, gate: str, name: str) -> None:
    arguments, trouble = HOLES[name]
    status, output = suite.run(gate, *arguments, trouble=trouble)
    verdict = "NOT CONFORMANT" if trouble in {"fails", "flaky"} else "INSUFFICIENT EVIDENCE"
    assert output.splitlines()[-1].startswith(f"{verdict} {gate} ["), output
    assert status in ({10, 12} if verdict == "NOT CONFORMANT" else {11}), output


@pytest.mark.parametrize(("gate", "om"), [(gate, om) for gate, oms in OMS.items() for om in oms])
def test_no_om_answers_for_another(suite: StandIn, gate: str, om: str) -> None:
    """The same batch size in another variant, or tuned, is another model."""
    test = f"tests/test_atc.py::test_om[squeezenet1_1-{om}]"
    status, output = suite.run(gate, f"--deselect={test}")
    assert status == 11, output
    assert output.splitlines()[-1].startswith(f"INSUFFICIENT EVIDENCE {gate} ["), output
    batch, _, kind = om.removeprefix("bs").partition("-")
    variant, tuned = "aipp" if kind == "aipp" else "float32", "yes" if kind == "tuned" else "no"
    place = f"[squeezenet1_1 batch={batch} variant={variant} tuned={tuned}]"
    for check_id in ("atc.converts", "agreement.scores"):
        assert re.search(rf"missing: {check_id} .*{re.escape(place)}", output), output


@pytest.mark.parametrize("gate", GATES)
def test_fewer_batch_sizes_leave_a_hole_wherever_they_are_required(
    suite: StandIn, gate: str
) -> None:
    """No claim about the host asks for the batch sizes, so that `host` misses none of them."""
    status, output = suite.run(gate, "--batch=1")
    missing = re.search(r"missing: atc\.converts .*batch=16 variant=aipp tuned=no", output)
    assert (status, bool(missing)) == ((0, False) if gate == "host" else (11, True)), output


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize(
    "arguments",
    [
        ("--collect-only",),
        *(("-p", f"no:{name}") for name in re.findall(
            r'"(fixtures\.\w+)"', (ROOT / "conftest.py").read_text()
        )),
    ],
    ids=" ".join,
)  # fmt: skip
def test_what_takes_the_gate_itself_away_is_a_usage_error(
    suite: StandIn, gate: str, arguments: tuple[str, ...]
) -> None:
    status, output = suite.run(gate, *arguments)
    assert (status, "CONFORMANT" in output) == (4, False), output
