"""``source env.sh``: finds CANN 5 by its folders and today's by its set_env.sh."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from selftest.suites import ROOT

SHOW = 'source "$1" && echo "$PATH|$LD_LIBRARY_PATH|$PYTHONPATH|$ASCEND_HOME_PATH|$ASCEND_OPP_PATH"'


def sourced(install: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    given = {"PATH": "/usr/bin:/bin", "HOME": "/nobody", "ASCEND_INSTALL": str(install)}
    return subprocess.run(
        ["bash", "--norc", "-c", SHOW, "bash", str(ROOT / "scripts/env.sh")],
        env=given | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def program(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def cann5(tmp_path: Path) -> Path:
    toolkit = tmp_path / "ascend-toolkit/latest"
    program(toolkit / "atc/bin/atc")
    for folder in ("atc/lib64", "acllib/lib64", "opp", "atc/python/site-packages"):
        (toolkit / folder).mkdir(parents=True)
    (tmp_path / "driver/lib64").mkdir(parents=True)
    return toolkit


def test_cann_5_is_set_up_from_its_folders(cann5: Path, tmp_path: Path) -> None:
    path, libraries, python, home, opp = sourced(tmp_path).stdout.strip().split("|")
    assert path.split(":")[0] == str(cann5 / "atc/bin")
    assert {str(cann5 / "atc/lib64"), str(tmp_path / "driver/lib64")} <= set(libraries.split(":"))
    assert python == str(cann5 / "atc/python/site-packages")
    assert (home, opp) == (str(cann5), str(cann5 / "opp"))


def test_cann_5_finds_its_own_python(cann5: Path, tmp_path: Path) -> None:
    own = tmp_path / "python3.7.5/bin"
    own.mkdir(parents=True)
    path, *_ = sourced(tmp_path, ASCEND_PYTHON_BIN=str(own)).stdout.strip().split("|")
    assert path.split(":")[:2] == [str(cann5 / "atc/bin"), str(own)]
    assert "/usr/local/python3.7.5/bin" in (ROOT / "scripts/env.sh").read_text()


def test_set_env_sh_wins_over_folders(cann5: Path, tmp_path: Path) -> None:
    program(cann5 / "set_env.sh", "export ASCEND_HOME_PATH=/from/set_env PATH=/cann/bin:$PATH\n")
    done = sourced(tmp_path)
    assert done.stdout.startswith("/cann/bin:")
    assert "/from/set_env" in done.stdout
    assert "set_env.sh" in done.stderr


def test_a_named_home_comes_first(cann5: Path, tmp_path: Path) -> None:
    other = program(tmp_path / "other/set_env.sh", "export ASCEND_OPP_PATH=/other/opp\n").parent
    assert cann5.is_dir()
    assert "/other/opp" in sourced(tmp_path, ASCEND_HOME_PATH=str(other)).stdout


def test_sourcing_twice_repeats_no_folder(cann5: Path, tmp_path: Path) -> None:
    path, libraries, *_ = sourced(tmp_path).stdout.strip().split("|")
    again = sourced(tmp_path, PATH=path, LD_LIBRARY_PATH=libraries).stdout.strip().split("|")
    assert again[:2] == [path, libraries]
    assert str(cann5) in path


def test_no_cann_is_told_with_the_places(tmp_path: Path) -> None:
    done = sourced(tmp_path)
    assert done.returncode != 0
    assert str(tmp_path / "cann") in done.stderr
    assert "next" in done.stderr or "install" in done.stderr
