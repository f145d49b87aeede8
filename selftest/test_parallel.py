"""Work over processes: in order, nothing lost, and nothing left behind however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import psutil
import pytest

from conformance.errors import ConformanceError, DatasetError
from conformance.imagenet import parallel
from conformance.imagenet.batches import stream_batches
from conformance.imagenet.dataset import Dataset
from conformance.imagenet.info_file import input_folder
from conformance.spec import load_spec
from selftest.photographs import drawn

SPEC = load_spec("squeezenet1_1").preprocess
CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return drawn(tmp_path_factory.mktemp("pictures"), 40)


ENDLESS = """
import sys
from pathlib import Path
from conformance.imagenet.input_files import write_inputs
from conformance.imagenet.dataset import LabelledImage
from conformance.spec import load_spec
if __name__ == "__main__":
    images = [LabelledImage(f"{n}.JPEG", Path(sys.argv[1]), 0) for n in range(100_000)]
    spec = load_spec("squeezenet1_1").preprocess
    write_inputs(images, Path(sys.argv[2]), spec, "uint8", workers=2)
"""


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not (holds := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return holds


@pytest.mark.parametrize(
    ("ending", "times"),
    [(signal.SIGINT, 1), (signal.SIGINT, 2), (signal.SIGKILL, 1)],
    ids=["ctrl-c", "ctrl-c twice", "killed"],
)
def test_no_process_survives_and_every_file_is_whole(
    pictures: Dataset, tmp_path: Path, ending: signal.Signals, times: int
) -> None:
    script, out = tmp_path / "endless.py", tmp_path / "out"
    script.write_text(ENDLESS)
    command = [sys.executable, str(script), str(pictures.images[0].path), str(out)]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    run = subprocess.Popen(
        command, env=environment, stderr=subprocess.DEVNULL, start_new_session=True
    )
    assert wait_until(lambda: out.is_dir() and len(list(out.glob("*.bin"))) > 40, 30)
    family = psutil.Process(run.pid).children(recursive=True)
    assert len(family) >= 2
    if ending is signal.SIGINT:
        for _ in range(times):
            os.killpg(run.pid, ending)  # as a terminal does: to every process of the group
            time.sleep(0.05)
    else:
        run.kill()
    assert run.wait(20) != 0
    assert wait_until(lambda: not any(child.is_running() for child in family), 10)
    assert {path.stat().st_size for path in out.glob("*.bin")} == {150_528}
    with pytest.raises(DatasetError, match="did not end"):
        input_folder(out)


def test_a_stream_left_early_leaves_no_process(pictures: Dataset) -> None:
    stream = stream_batches(pictures.images, SPEC, 4, workers=2)
    next(stream)
    workers = [p for p in psutil.Process().children() if "spawn_main" in " ".join(p.cmdline())]
    assert len(workers) == 2
    stream.close()
    assert not any(worker.is_running() for worker in workers)


def test_ctrl_c_while_processes_start_prints_no_traceback_of_theirs(
    pictures: Dataset, tmp_path: Path
) -> None:
    script = tmp_path / "endless.py"
    # What a worker imports to start takes its time here.
    script.write_text(f"import time; time.sleep(2)\n{ENDLESS}")
    command = [sys.executable, str(script), str(pictures.images[0].path), str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    with (tmp_path / "stderr").open("w") as stderr:
        run = subprocess.Popen(command, env=environment, stderr=stderr, start_new_session=True)
    assert wait_until(lambda: len(workers_of(run.pid)) == 2, 30)
    time.sleep(1)
    os.killpg(run.pid, signal.SIGINT)
    assert run.wait(20) != 0
    told = (tmp_path / "stderr").read_text()
    assert told.count("Traceback") == 1, "that of the script itself, which catches nothing"
    assert "worker process died" not in told


def workers_of(pid: int) -> list[psutil.Process]:
    children = psutil.Process(pid).children()
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def test_ctrl_c_while_the_pool_closes_comes_when_it_has_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed: list[bool] = []
    shutdown = ProcessPoolExecutor.shutdown

    def interrupted(pool: ProcessPoolExecutor, **how: bool) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)  # a signal is noticed within a few instructions
        shutdown(pool, **how)
        closed.append(True)

    monkeypatch.setattr(ProcessPoolExecutor, "shutdown", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(parallel.each_in_order(ignores_ctrl_c, range(64), workers=2))
    assert closed == [True]


def ignores_ctrl_c(_chunk: Sequence[int]) -> tuple[bool, int]:
    return signal.getsignal(signal.SIGINT) is signal.SIG_IGN, os.getpid()


def test_workers_leave_ctrl_c_to_their_parent() -> None:
    found = list(parallel.each_in_order(ignores_ctrl_c, range(64), workers=2))
    assert {ignored for ignored, _ in found} == {True}
    assert os.getpid() not in {worker for _, worker in found}


def die(_chunk: Sequence[int]) -> int:
    os._exit(3)


def test_a_worker_that_dies_is_an_error() -> None:
    with pytest.raises(ConformanceError, match="worker process died"):
        list(parallel.each_in_order(die, range(64), workers=2))
