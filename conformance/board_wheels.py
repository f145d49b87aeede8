"""The wheels of a board bundle: fetched for a foreign machine, and proven to be enough for it.

Nobody may learn on a board without network that a wheel is missing. pip resolves the base install
again here, for the board's machine and Python, from nothing but the folder that was filled.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from conformance.errors import ConfigError

CHECKOUT = Path(__file__).resolve().parents[1]
# From the glibc of old enterprise systems to that which today's numpy wheels are built for.
PLATFORMS = ("manylinux2014", *(f"manylinux_2_{minor}" for minor in (17, 24, 26, 27, 28)))
GLIBC_OF_2014 = (2, 17)
PLATFORM = re.compile(r"manylinux_(\d+)_(\d+)_(\w+)|(manylinux2014)_(\w+)")


@dataclass(frozen=True)
class Wanted:
    """Which wheels a board needs.

    Attributes:
        arch: The board's ``uname -m``.
        pythons: Python releases to bring wheels for, such as ``3.11``.
        source: A folder with all wheels; None downloads them.
    """

    arch: str
    pythons: Sequence[str]
    source: Path | None = None


def collect_wheels(wanted: Wanted, folder: Path) -> str:
    """Put the wheels of the base install and of pip into ``wheels/``, beside a requirements file.

    Returns:
        The oldest glibc that they all run with, such as ``2.28``.

    Raises:
        ConfigError: One cannot be had as a wheel for this architecture and Python.
    """
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))["project"]
    needed = [*project["dependencies"], "pip"]
    (folder / "requirements.txt").write_text("\n".join(needed) + "\n", "utf-8")
    source = ["--no-index", "--find-links", str(wanted.source)] if wanted.source else []
    for python in wanted.pythons:
        command = [*_pip("download", wanted.arch, python), *source]
        command += ["--dest", str(folder / "wheels")]
        command += [f"--constraint={CHECKOUT / 'constraints.txt'}", *needed]
        run_command(command, f"wheels for {wanted.arch}, Python {python}")
    prove_wheels(wanted, folder)
    return oldest_glibc(folder / "wheels", wanted.arch)


def prove_wheels(wanted: Wanted, folder: Path) -> None:
    """Resolve the base install for the board from the bundle alone, as its installer will.

    Raises:
        ConfigError: A wheel is missing, or for another machine.
    """
    oldest_glibc(folder / "wheels", wanted.arch)
    for python in wanted.pythons:
        with tempfile.TemporaryDirectory() as target:
            command = [*_pip("install", wanted.arch, python), "--isolated", "--dry-run"]
            command += ["--no-index", "--find-links", str(folder / "wheels")]
            command += ["--target", target, "--requirement", str(folder / "requirements.txt")]
            run_command(command, f"an install for {wanted.arch}, Python {python}, from the bundle")


def oldest_glibc(wheels: Path, arch: str) -> str:
    """Return the oldest glibc that every wheel runs with; a pure wheel runs with any.

    Raises:
        ConfigError: A wheel is for another machine.
    """
    needed = [glibc for path in sorted(wheels.glob("*.whl")) if (glibc := _glibc(path, arch))]
    return ".".join(map(str, max(needed, default=GLIBC_OF_2014)))


def _glibc(wheel: Path, arch: str) -> tuple[int, int] | None:
    """Return the oldest glibc that a wheel names for this machine; None for a pure one."""
    tags = wheel.stem.rpartition("-")[2].split(".")
    if tags == ["any"]:
        return None
    found = [match for tag in tags if (match := PLATFORM.fullmatch(tag))]
    fitting = [match for match in found if arch in match.groups()]
    if not fitting:
        raise ConfigError(
            "a wheel is for another machine",
            got=wheel.name,
            expected=f"a wheel for {arch}, or for any machine",
            where={"folder": wheel.parent},
            next_step="empty the folder and make the bundle again",
        )
    return min(GLIBC_OF_2014 if match[4] else (int(match[1]), int(match[2])) for match in fitting)


def _pip(command: str, arch: str, python: str) -> list[str]:
    """Return pip's command for a machine that is not this one."""
    words = [sys.executable, "-m", "pip", command, "--quiet", "--disable-pip-version-check"]
    words += ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}"]
    return words + [f"--platform={name}_{arch}" for name in PLATFORMS]


def run_command(command: list[str], what: str) -> str:
    """Run git or pip and return what it printed.

    Raises:
        ConfigError: It failed, or is not installed.
    """
    try:
        done = subprocess.run(  # noqa: S603 - programs named here, an argument list
            command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"}
        )
        status, told = done.returncode, done.stderr.strip()
    except OSError as error:
        status, told = 1, str(error)
    if status:
        raise ConfigError(
            f"cannot get {what}",
            got=told,
            expected="status 0",
            where={"command": " ".join(command)},
            next_step="run it by hand; a bundle is made in a clone, with network or --wheels=DIR",
        )
    return done.stdout
