"""The machine is in the way: other boards and suites, kills, a full disk."""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path

from selftest.fault_causes.scene import MORE, Scene, cause, replace


@cause
def emulator_left_on_path(scene: Scene) -> MORE:
    board = Path(os.environ.pop("CONFORMANCE_EMULATED_BOARD"))
    os.environ["PATH"] = os.pathsep.join([str(board / "bin"), os.environ["PATH"]])
    return ["--board=auto"]


@cause
def chip_leased_by_another_suite(scene: Scene) -> MORE:
    from conformance.ascend.locks import MachineLocks

    replace("conformance.measure_om", "WAIT_S", lambda _: 0.5)
    suite = os.getpid()
    reading, writing = os.pipe()
    if not os.fork():
        with MachineLocks(scene.folder / "locks").chips([(0, 0)], wait_s=1):
            os.write(writing, b"x")
            while os.getppid() == suite:
                time.sleep(0.05)
        os._exit(0)
    os.read(reading, 1)
    return ["--chips=0"]  # left to itself, the run would choose another chip


@cause
def worker_killed(scene: Scene) -> MORE:
    plugin = scene.folder / "killer.py"
    plugin.write_text(
        "import os\n"
        "def pytest_runtest_call(item):\n"
        "    if 'PYTEST_XDIST_WORKER' in os.environ:\n"
        "        os.kill(os.getpid(), 9)\n",
        "utf-8",
    )
    sys.path.insert(0, str(scene.folder))
    os.environ["PYTHONPATH"] = str(scene.folder)
    return ["-p", "xdist", "-n1", "-p", "killer", "--max-worker-restart=0"]


@cause
def disk_full_for_inputs(scene: Scene) -> MORE:
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
    return []


@cause
def disk_full_for_artifacts(scene: Scene) -> MORE:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    return []
