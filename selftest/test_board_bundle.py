"""A bundle installs without network into an empty environment, and runs the board from its store.

The installed environment has no torch, onnx, onnxruntime, scipy or matplotlib; a second run in
this environment hides them.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from conformance.board_bundle import Contents, collect_wheels
from conformance.errors import ConfigError
from emulator import install
from selftest.suites import clean_environment, run_python, run_suite
from selftest.weights_files import SPEC, saved, untrained

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
HIDDEN = "torch,torchvision,onnx,onnxruntime,scipy,matplotlib,jinja2"
SMALL = ("--imagenet=sample", "--images=5")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of this machine's architecture, unpacked."""
    folder = tmp_path_factory.mktemp("bundle")
    weights = saved(folder / "weights.pth", untrained(SPEC))
    archive = folder / "bundle.tar.gz"
    done = run_python(
        "-m", "conformance", "board-bundle", f"--arch={platform.machine()}", f"--python={PYTHON}",
        f"--weights={weights}", *SMALL, f"--artifacts={folder / 'store'}", f"--output={archive}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with tarfile.open(archive) as tar:
        tar.extractall(folder / "board", filter="data")
    weights.unlink()
    (unpacked,) = (folder / "board").iterdir()
    return unpacked


def shell(script: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    unusable = {"PIP_INDEX_URL": "file:///nowhere", "PIP_NO_INPUT": "1"}
    return subprocess.run(
        ["sh", str(script), *arguments],
        cwd="/",
        env=clean_environment({"PYTHON": sys.executable, **unusable, **variables}),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def installed(bundle: Path) -> Path:
    done = shell(bundle / "install.sh")
    assert done.returncode == 0, done.stderr
    assert "0 problems found" in done.stdout
    return bundle


def test_installs_only_what_a_board_needs(installed: Path) -> None:
    found = {path.name for path in installed.glob("venv/lib/*/site-packages/*")}
    assert {"numpy", "pytest", "psutil"} <= found
    assert not found & set(HIDDEN.split(","))


def test_collects_the_boards_tests(installed: Path) -> None:
    done = shell(installed / "run.sh", "--collect-only", "-q")
    assert "test_om_agrees_with_pytorch[squeezenet1_1-bs16]" in done.stdout


def test_runs_the_board_from_the_store(installed: Path, tmp_path: Path) -> None:
    board = install(tmp_path / "board", "Ascend310")
    done = shell(
        installed / "run.sh", "--board=emulated", "--batch=1", "-q",
        CONFORMANCE_EMULATED_BOARD=str(board.folder),
    )  # fmt: skip
    assert done.returncode in {0, 1}, done.stdout
    assert "1 ERROR" not in done.stdout
    assert "BLOCKED" not in done.stdout
    assert "board=emulated" in done.stdout


def test_runs_with_the_packages_hidden(bundle: Path, tmp_path: Path) -> None:
    (weights,) = (bundle / "store/checkpoint").glob("*/checkpoint.pth")
    done = run_suite(
        "-p", "selftest.without_packages", "-m", "npu", "--board=emulated", *SMALL, "--batch=1,16",
        f"--weights={weights}", f"--artifacts={bundle / 'store'}",
        f"--evidence={tmp_path / 'runs'}", "-q",
        environment={"HIDDEN_PACKAGES": HIDDEN, "PYTHONPATH": os.fspath(Path(__file__).parents[1])},
    )  # fmt: skip
    assert "ERROR" not in done.stdout, done.stdout
    assert "BLOCKED" not in done.stdout
    assert "om.images" not in done.stdout
    assert "board=emulated" in done.stdout


def test_a_damaged_bundle_is_refused(bundle: Path) -> None:
    script = bundle / "run.sh"
    whole = script.read_bytes()
    script.write_bytes(whole + b"\n")
    try:
        done = shell(bundle / "install.sh")
    finally:
        script.write_bytes(whole)
    assert done.returncode == 1
    assert "the bundle is damaged" in done.stderr


def test_another_machine_or_python_is_refused(bundle: Path) -> None:
    conf = bundle / "bundle.conf"
    whole = conf.read_text()
    try:
        conf.write_text(whole.replace(platform.machine(), "riscv64"))
        assert "this bundle is for riscv64" in shell(bundle / "install.sh").stderr
    finally:
        conf.write_text(whole)
    done = shell(bundle / "install.sh", PYTHON="/bin/false")
    assert done.returncode == 0 or f"no Python of {PYTHON}" in done.stderr


def test_missing_wheels_are_named(tmp_path: Path) -> None:
    contents = Contents("aarch64", (PYTHON,), tmp_path, with_images=False)
    with pytest.raises(ConfigError, match="cannot get wheels for aarch64") as caught:
        collect_wheels(contents, tmp_path)
    assert "numpy" in str(caught.value)
