"""What the README shows is what there is: its option table, and every command from a clone."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.config import OPTIONS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")
COMMANDS = [
    line.removeprefix("$ ")
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("$ ")
]
# The suite's own tests would run themselves; a released file and the full set are the reader's.
# After them, where there is real input, `make test` runs the whole chain under this gate too.
ELSEWHERE = (
    "make conformance", "make test", ".venv/bin/pytest -m npu", ".venv/bin/pytest --gate=release",
)  # fmt: skip
# `make conformance` and `make test` run these claims in full, the latter on real input if there is.
ONLY_COLLECTED = '.venv/bin/pytest -m "not npu" --weights=sample --imagenet=sample'
IN_FULL = '-m "not npu" -n 2 --weights=sample --imagenet=sample $(ARGS)'


def test_options_table_is_complete() -> None:
    rows = [
        f"| `{option.flag}={option.metavar}` | {f'`{option.variable}`' if option.variable else ''}"
        f" | {option.help} | {option.default_text} |"
        for option in OPTIONS
    ]
    shown = [line for line in README.splitlines() if line.startswith("| `--")]
    assert shown == rows


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of the checkout that uses this environment as its own."""
    folder = tmp_path_factory.mktemp("clone") / "ascend-conformance"
    subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
    (folder / ".venv").symlink_to(sys.prefix)
    for name in ("pyproject.toml", "constraints.txt"):
        os.utime(folder / name, (0, 0))  # older than what is installed
    return folder


def test_readme_shows_the_two_commands() -> None:
    assert {"make conformance", "make test", ONLY_COLLECTED} <= set(COMMANDS)
    assert f"\n\t$(PYTEST) {IN_FULL}\n" in (ROOT / "Makefile").read_text("utf-8")


def test_without_a_board_the_main_job_rehearses(clone: Path) -> None:
    """Shown, not run: that takes minutes, and has a job of its own in the workflow."""
    beside_make = {name: text for name, text in os.environ.items() if not name.startswith("MAKE")}
    told = subprocess.run(
        ["make", "--dry-run", "BOARD=", "conformance"],
        cwd=clone,
        env=beside_make,
        capture_output=True,
        text=True,
        check=True,
    )
    assert shlex.split(told.stdout) == [
        ".venv/bin/python", "-m", "pytest", "--gate=rehearsal", "--board=emulated", "--tune=run",
        "--batch=1,16", "--weights=sample", "--imagenet=sample",
    ]  # fmt: skip


def test_the_workflow_runs_what_it_says() -> None:
    """Style, the suite's own tests with the host claims, and a rehearsal; the evidence is kept."""
    workflow = (ROOT / ".github/workflows/conformance.yml").read_text("utf-8")
    promise = workflow.splitlines()[0]
    assert promise.endswith("the suite's own tests, the host claims, and a rehearsed release.")
    jobs = dict(
        re.findall(r"^  (\w+):\n((?:    .*\n|\n)+)", workflow.partition("jobs:\n")[2], re.MULTILINE)
    )
    ran = {
        name: re.findall(r"^ +(?:- )?run: (.+)$", job, re.MULTILINE) for name, job in jobs.items()
    }
    assert ran == {"tests": ["make lint", "make test"], "rehearsal": ["make conformance"]}
    for job in jobs.values():
        assert re.search(r"^    timeout-minutes: \d+$", job, re.MULTILINE)
        assert "upload-artifact" in job
        assert "if: always()" in job
    assert re.search(r"^test: selftest ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize(
    "command", [command for command in COMMANDS if not command.startswith(ELSEWHERE)]
)
def test_command_runs_from_a_clone(clone: Path, command: str) -> None:
    environ = os.environ | {"CONFORMANCE_WEIGHTS": "sample", "CONFORMANCE_IMAGENET": "sample"}
    more = ["--collect-only"] if command == ONLY_COLLECTED else []
    done = subprocess.run(
        [*shlex.split(command), *more],
        cwd=clone,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "installing" not in done.stdout
