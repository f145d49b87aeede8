"""A bundle installs without network into an empty environment, and runs the board from its store.

The installed environment has no torch, onnx, onnxruntime, scipy or matplotlib; a second run in
this environment hides them.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from conformance.board_wheels import Wanted, collect_wheels, oldest_glibc, prove_wheels
from conformance.check import SkipReason, Status
from conformance.errors import ConfigError
from conformance.evidence.bundle import STATEMENT_FILE
from emulator import install
from selftest.suites import (
    checks,
    clean_environment,
    outcomes,
    records,
    run_folder,
    run_python,
    run_suite,
)
from selftest.weights_files import SPEC, saved, untrained

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
HIDDEN = "torch,torchvision,onnx,onnxruntime,scipy,matplotlib,jinja2,markupsafe"
GLIBC = platform.libc_ver()[1]
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


def shell(
    script: Path, *arguments: str, cwd: str | Path = "/", **variables: str
) -> subprocess.CompletedProcess[str]:
    unusable = {"PIP_INDEX_URL": "file:///nowhere", "PIP_NO_INPUT": "1", "PIP_NO_COMPILE": "0"}
    return subprocess.run(
        ["sh", str(script), *arguments],
        cwd=cwd,
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


# Five images and weights without training decide neither a point of accuracy nor near decisions.
UNDECIDED = {"test_om_agrees_with_pytorch", "test_om_loses_no_accuracy_against_pytorch"}

# What neither the board nor the packages are the cause of.
NOT_HERE = {SkipReason.NOT_PUBLISHED_WEIGHTS}


def judge(evidence: Path, collected: str, reasons: set[SkipReason]) -> None:
    """Every test that was collected came to its end, and only what is known not to held back."""
    found = records(evidence)
    ended = outcomes(found)
    assert set(ended) == {
        line.partition("::")[2] for line in collected.splitlines() if "::" in line
    }
    inconclusive = {name for name, status in ended.items() if status is Status.INCONCLUSIVE}
    assert {name.partition("[")[0] for name in inconclusive} <= UNDECIDED
    assert {check.reason for check in checks(found) if check.status is Status.SKIP} == reasons
    assert (run_folder(evidence) / STATEMENT_FILE).exists(), "the bundle is sealed"
    assert set(ended.values()) <= {Status.PASS, Status.SKIP, Status.INCONCLUSIVE}
    assert sum(status is Status.PASS for status in ended.values()) > len(ended) / 2


def test_runs_the_board_from_the_store(installed: Path, tmp_path: Path) -> None:
    board = install(tmp_path / "board", "Ascend310")
    given = ("--board=emulated", "--batch=1", "-q")
    collected = shell(installed / "run.sh", *given, "--collect-only").stdout
    assert "test_om_agrees_with_pytorch[squeezenet1_1-bs1]" in collected
    done = shell(installed / "run.sh", *given, CONFORMANCE_EMULATED_BOARD=str(board.folder))
    assert done.returncode == 0, done.stdout
    assert "no report: the report needs the package jinja2" in done.stdout
    # One batch size leaves none to compare it with.
    judge(installed / "evidence", collected, {SkipReason.ONE_BATCH_SIZE, *NOT_HERE})


def test_paths_are_those_of_the_folder_where_it_is_called(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "photographs").mkdir()
    (tmp_path / "conformance").mkdir()
    (tmp_path / "conformance/__init__.py").write_text("raise AssertionError('not the suite')")
    (tmp_path / f"benchmark.{platform.machine()}").write_text("not executable")
    board = install(tmp_path / "board", "Ascend310")
    only = ("tests/test_accuracy.py", "-k", "test_om_infers_every_image and bs1]", "--batch=1")

    def ran(*more: str) -> str:
        given = (*only, "--board=emulated", "-q", *more)
        emulated = {"CONFORMANCE_EMULATED_BOARD": str(board.folder)}
        return shell(installed / "run.sh", *given, cwd=tmp_path, **emulated).stdout

    told = ran("--imagenet=./photographs", "--evidence=./first")
    assert "first cause: folder is empty" in told, told
    told = ran("--evidence=./second")
    assert f"file: {tmp_path}/benchmark.{platform.machine()}" in told, told
    for name in ("first", "second"):
        (test,) = outcomes(records(tmp_path / name))
        assert test == "test_om_infers_every_image[squeezenet1_1-bs1]"


def test_runs_with_the_packages_hidden(bundle: Path, tmp_path: Path) -> None:
    (weights,) = (bundle / "store/checkpoint").glob("*/checkpoint.pth")
    given = [
        "-p", "selftest.without_packages", "tests/test_atc.py", "tests/test_accuracy.py",
        "-m", "npu", "--board=emulated", *SMALL, "--batch=1,16",
        f"--weights={weights}", f"--artifacts={bundle / 'store'}",
        f"--evidence={tmp_path / 'runs'}", "-q",
    ]  # fmt: skip
    hidden = {"HIDDEN_PACKAGES": HIDDEN, "PYTHONPATH": os.fspath(Path(__file__).parents[1])}
    collected = run_suite(*given, "--collect-only", environment=hidden).stdout
    done = run_suite(*given, environment=hidden)
    assert done.returncode == 0, done.stdout
    judge(tmp_path / "runs", collected, {SkipReason.NOT_TUNED, *NOT_HERE})


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


@pytest.mark.parametrize(
    ("change", "refusal", "got", "remedy"),
    [
        (
            ("ARCH", "riscv64"),
            "this bundle is for riscv64",
            platform.machine(),
            "make board-bundle",
        ),
        (("GLIBC", "99.1"), "this bundle needs glibc 99.1 or later", GLIBC, "a newer system"),
        (("PYTHONS", "3.99"), "no Python of 3.99", f"{sys.executable}={PYTHON}", "PYTHON=/path"),
        (
            ("PYTHONS", "3.99"),
            "no Python of 3.99",
            f"{sys.executable}={PYTHON}",
            'make the bundle with ARGS="--python=3.99 --python=3.x"',
        ),
    ],
)
def test_another_machine_or_python_is_refused(
    bundle: Path, tmp_path: Path, change: tuple[str, str], refusal: str, got: str, remedy: str
) -> None:
    lines = (bundle / "bundle.conf").read_text().splitlines()
    told = [f"{change[0]}='{change[1]}'" if line.startswith(change[0]) else line for line in lines]
    assert told != lines
    (tmp_path / "bundle.conf").write_text("\n".join(told))
    (tmp_path / "install.sh").write_bytes((bundle / "install.sh").read_bytes())
    (tmp_path / "SHA256SUMS").write_text(f"{hashlib.sha256(b'').hexdigest()}  empty\n")
    (tmp_path / "empty").touch()
    done = shell(tmp_path / "install.sh")
    assert done.returncode == 1
    first, second, third = done.stderr.splitlines()
    assert first == f"error: {refusal}"
    assert second.split() == ["got:", got]
    assert third.startswith("  next: ")
    assert remedy in third
    assert not (tmp_path / "venv").exists()


# --- the wheels of a machine that is not this one -------------------------------------------------

FOREIGN = "aarch64" if platform.machine() != "aarch64" else "x86_64"


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheels of a bundle for the other architecture."""
    folder = tmp_path_factory.mktemp("foreign")
    assert collect_wheels(Wanted(FOREIGN, (PYTHON,)), folder) == oldest_glibc(
        folder / "wheels", FOREIGN
    )
    return folder


def test_a_bundle_for_another_machine_needs_nothing_but_its_wheels(foreign: Path) -> None:
    named = [path.stem.split("-") for path in (foreign / "wheels").glob("*.whl")]
    machines = {name[0]: name[-1] for name in named}
    compiled = {name for name, tags in machines.items() if tags != "any"}
    assert compiled == {"numpy", "pillow", "msgspec", "psutil"}
    assert all(
        tag.endswith(f"_{FOREIGN}") for name in compiled for tag in machines[name].split(".")
    )
    for name in ("iniconfig", "msgspec"):  # needed by pytest, and by us
        (wheel,) = (foreign / "wheels").glob(f"{name}-*.whl")
        wheel.rename(foreign / wheel.name)
        with pytest.raises(ConfigError, match="from the bundle") as caught:
            prove_wheels(Wanted(FOREIGN, (PYTHON,)), foreign)
        assert name in str(caught.value.got)
        (foreign / wheel.name).rename(wheel)
    # What resolves for one machine does not for the other, so that the platform is heeded.
    with pytest.raises(ConfigError, match="for another machine"):
        prove_wheels(Wanted(platform.machine(), (PYTHON,)), foreign)


@pytest.mark.parametrize(
    ("name", "glibc"),
    [
        ("a-1-py3-none-any.whl", "2.17"),
        ("a-1-cp311-cp311-manylinux2014_aarch64.manylinux_2_28_aarch64.whl", "2.17"),
        ("a-1-cp311-cp311-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl", "2.27"),
        ("a-1-cp311-cp311-manylinux_2_28_x86_64.whl", None),
        ("a-1-cp311-cp311-musllinux_1_2_aarch64.whl", None),
    ],
)
def test_a_wheel_says_what_it_runs_with(tmp_path: Path, name: str, glibc: str | None) -> None:
    (tmp_path / name).touch()
    if glibc:
        assert oldest_glibc(tmp_path, "aarch64") == glibc
    else:
        with pytest.raises(ConfigError, match="for another machine") as caught:
            oldest_glibc(tmp_path, "aarch64")
        assert caught.value.got == name


def test_missing_wheels_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot get wheels for aarch64") as caught:
        collect_wheels(Wanted("aarch64", (PYTHON,), tmp_path), tmp_path)
    assert "numpy" in str(caught.value)
