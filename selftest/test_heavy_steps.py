"""While somebody times, whatever else is heavy waits; nobody waits in a circle."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from conformance.artifacts import Request
from conformance.ascend import locks as machine_locks
from conformance.ascend.lock_files import LocksUnusableError
from conformance.ascend.locks import MachineLocks, Rank, held, nothing_held
from conformance.build import Builder
from conformance.build_om import OmBuilder
from conformance.errors import BoardError, ConformanceError
from conformance.measure import Measurer
from conformance.measure_om import OmMeasurer
from conformance.measure_rows import RowMeasurer
from conformance.om_key import OmKey
from conformance.runners.om_runner import Job
from selftest.hosts import DrawnBuilder, Machine, machine, small_spec
from selftest.photographs import drawn
from selftest.suites import ROOT, run_suite

SPEC = small_spec()
KEY = OmKey(2)


@contextlib.contextmanager
def timing(locks: MachineLocks) -> Iterator[None]:
    """Another worker that has the machine for itself."""
    measuring, done = threading.Event(), threading.Event()

    def measure() -> None:
        with locks.machine(exclusive=True, wait_s=10):
            measuring.set()
            done.wait(60)

    timer = threading.Thread(target=measure)
    timer.start()
    assert measuring.wait(10)
    try:
        yield
    finally:
        done.set()
        timer.join()


@pytest.fixture
def locks(tmp_path: Path) -> MachineLocks:
    return MachineLocks(tmp_path / "locks")


# --- what is a heavy step -------------------------------------------------------------------------


class Worker:
    """Everything that one worker of a run builds and measures with."""

    def __init__(self, place: Machine, run: str = "run", locks: MachineLocks | None = None) -> None:
        self.folder = place.folder / run
        self.host = place.host(run)
        self.builder = DrawnBuilder(self.host.config, self.folder, locks=locks or place.locks)
        self.builder.images = drawn(place.folder / "images", 3, (40, 30))
        self.oms = OmBuilder(self.builder, self.host)
        self.measurer = OmMeasurer(self.builder, self.oms, self.host, self.folder)
        self.rows = RowMeasurer(self.builder, self.oms, self.measurer, self.host, self.folder)

    def write_inputs(self) -> object:
        runner = self.measurer.runner("benchmark", self.folder, [])
        job = Job(self.folder, self.oms.om_model(SPEC, KEY).path, SPEC, 2, "float32")
        return runner.prepared(job, self.builder.images.images)

    def build(self) -> object:
        def build(folder: Path) -> Mapping[str, str]:
            (folder / "made").touch()
            return {}

        return self.builder.store.get(Request(kind="sample_images", inputs={}, makers={}), build)


STEPS: dict[str, Callable[[Worker], object]] = {
    "an artifact is built": Worker.build,
    "images are digested": lambda worker: worker.builder.image_contents(SPEC),
    "ONNX Runtime infers": lambda worker: Measurer(worker.builder, worker.folder).onnx(SPEC, 2),
    "inputs are written": Worker.write_inputs,
    "ATC converts": lambda worker: worker.oms.om_model(SPEC, OmKey(4)),
    "ATC describes": lambda worker: worker.oms.describe(worker.oms.om_model(SPEC, KEY)),
    "rows are tried": lambda worker: worker.rows.row_run(SPEC, KEY, "benchmark"),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_heavy_step_waits_for_whoever_times(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = machine(tmp_path)
    worker = Worker(place)
    worker.oms.om_model(SPEC, KEY)
    monkeypatch.setattr(machine_locks, "WAIT_S", 0.2)
    with timing(place.locks), pytest.raises(BoardError, match="machine is held"):
        STEPS[name](worker)
    STEPS[name](Worker(place, "later"))
    assert held() == ()


def test_a_heavy_step_is_none_of_a_timing_of_its_own(locks: MachineLocks) -> None:
    with locks.machine(exclusive=True, wait_s=0), locks.heavy_step():
        assert held() == (Rank.MACHINE,)
    assert held() == ()


def test_a_heavy_step_within_another_holds_nothing_more(locks: MachineLocks) -> None:
    with locks.heavy_step():
        with locks.heavy_step():
            assert held() == (Rank.MACHINE,)
        assert held() == (Rank.MACHINE,)
        with pytest.raises(ConformanceError, match="wrong order"):
            locks.machine(exclusive=True, wait_s=0).__enter__()
    assert held() == ()


# --- nobody waits in a circle ---------------------------------------------------------------------


def test_a_heavy_step_lets_go_of_the_machine_while_it_asks_for_an_artifact(
    tmp_path: Path, locks: MachineLocks
) -> None:
    """One worker makes what another needs, while a third waits to time and holds the gate."""
    config = machine(tmp_path).config()
    one, other = (Builder(config, tmp_path / "run", locks) for _ in range(2))
    asked, building, timed = threading.Event(), threading.Event(), threading.Event()

    def make() -> str:
        asked.set()
        building.wait(10)
        time.sleep(0.5)  # the timer waits by now
        with locks.heavy_step():
            return "made"

    def build(folder: Path) -> Mapping[str, str]:
        building.set()
        time.sleep(0.3)
        (folder / "file").write_text(one.once("needed", make))
        return {}

    def measure() -> None:
        building.wait(10)
        with locks.machine(exclusive=True, wait_s=20):
            timed.set()

    def build_one() -> None:
        asked.wait(10)
        one.store.get(Request(kind="sample_images", inputs={}, makers={}), build)

    works = (lambda: other.once("needed", make), build_one, measure)
    threads = [threading.Thread(target=work, daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not [thread for thread in threads if thread.is_alive()], "they wait for each other"
    assert timed.is_set()


def test_what_was_let_go_is_held_again(locks: MachineLocks) -> None:
    with locks.heavy_step():
        with nothing_held():
            assert held() == ()
            with locks.heavy_step():
                assert held() == (Rank.MACHINE,)
        assert held() == (Rank.MACHINE,)
    assert held() == ()


@pytest.mark.parametrize("kind", ["chip", "timing"])
def test_nobody_asks_for_an_artifact_while_holding_a_chip_or_timing(
    tmp_path: Path, locks: MachineLocks, kind: str
) -> None:
    builder = Builder(machine(tmp_path).config(), tmp_path / "run", locks)
    hold = locks.chips([(0, 0)], wait_s=0)
    if kind == "timing":
        hold = locks.machine(exclusive=True, wait_s=0)
    with hold, pytest.raises(ConformanceError, match="wrong order") as caught:
        builder.once("artifact", lambda: "made")
    assert "an artifact while holding" in str(caught.value)
    assert builder.once("artifact", lambda: "made") == "made"


# --- where the locks cannot be used ---------------------------------------------------------------


def test_heavy_steps_work_without_locks_and_say_so_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said: list[str] = []
    locks = MachineLocks(tmp_path / "file" / "locks", said.append)
    worker = Worker(machine(tmp_path / "host"), locks=locks)
    worker.build()
    Measurer(worker.builder, worker.folder).onnx(SPEC, 2)
    (text,) = said
    assert "the machine's locks cannot be used" in text
    assert "Not a directory" in text
    with pytest.raises(LocksUnusableError):
        locks.chips([(0, 0)], wait_s=0).__enter__()


# --- the adapter ----------------------------------------------------------------------------------


def test_tests_share_the_locks_of_the_run(tmp_path: Path) -> None:
    for name in ("conftest.py", "pytest.ini"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_it.py").write_text(
        "import os\n"
        "from conformance.ascend.locks import Rank, held\n"
        "from conformance.check import recorded\n"
        "def test_it(claim, builder, host, machine_locks, heavy_step, pytestconfig):\n"
        "    assert builder.locks is host.locks is machine_locks\n"
        "    assert held() == (Rank.MACHINE,)\n"
        "    assert host._root_pid == os.getppid(), 'the controller is above its workers'\n"
        "    claim(recorded('a.held', True))\n"
    )
    done = run_suite(
        "--board=none", "-n1", f"--evidence={tmp_path / 'evidence'}", cwd=tmp_path,
        environment={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
