"""Making a board: a folder with launchers, the programs behind them, and a tree like CANN's."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from emulator.board import (
    BOARD_VARIABLE,
    BoardError,
    BoardState,
    new_state,
    read_state,
    write_atomically,
    write_state,
)
from emulator.faults import chosen_faults
from emulator.install_cann import write_cann
from emulator.marker import MARK, SENTENCE
from emulator.tables import tables_as_json
from emulator.tenants import RUN_FOLDER

PACKAGE = Path(__file__).parent
PROGRAMS = ("npu-smi", "atc", "aoe")
RUNNER = f'''"""{SENTENCE}: starts one tool of the emulated board."""
import sys
sys.path[:0] = {{folders!r}}
from emulator.tools import run_tool
sys.exit(run_tool(sys.argv[1], sys.argv[2:]))
'''
SHOW_PACKAGE_FOLDERS = """
import os, site, sys
own = {*sys.path}
site.main()
print(*(path for path in sys.path if path not in own and os.path.isdir(path)), sep="\\n")
"""
METADATA = f"Metadata-Version: 2.1\nName: ais_bench\nVersion: 0.0.2\nSummary: {SENTENCE}\n"


@dataclass(frozen=True)
class EmulatedBoard:
    """A board in a folder.

    Attributes:
        folder: Where it lies, as an absolute path.
    """

    folder: Path

    @property
    def bin(self) -> Path:
        """Folder of npu-smi, atc, aoe and benchmark."""
        return self.folder / "bin"

    @property
    def python(self) -> Path:
        """The interpreter that imports ais_bench."""
        return self.folder / "python" / "bin" / "python3"

    @property
    def state(self) -> BoardState:
        """The board's state as its file says now."""
        return read_state(self.folder)

    def configure(self, **changes: object) -> BoardState:
        """Change fields of the state; every tool started afterwards sees them.

        Raises:
            BoardError: a field is unknown or its value does not fit.
        """
        state = self.state.changed(**changes)
        chosen_faults(state)
        write_state(self.folder, state)
        return state

    @property
    def set_env(self) -> Path:
        """The script that puts the board's tools on the path of a shell."""
        return self.folder / "ascend-toolkit" / "set_env.sh"

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """The variables of ``base``, changed so that the board's tools are found first."""
        path = [str(self.bin), str(self.python.parent), base.get("PATH", os.defpath)]
        home = str(self.set_env.parent / "latest")
        changed = {"ASCEND_HOME_PATH": home, "ASCEND_TOOLKIT_HOME": home}
        return {**base, **changed, "PATH": os.pathsep.join(path)}


def install(
    folder: Path | str,
    soc: str = "Ascend310",
    python: Path | str = sys.executable,
    *,
    seed: int = 0,
    cann: str | None = None,
    fault: str | None = None,
) -> EmulatedBoard:
    """Make a board, or make it anew.

    The programs are copied, so that the board works without the checkout that it came from.

    Args:
        folder: Where to.
        soc: Version name of its system on chip.
        python: Interpreter with numpy, onnx and onnxruntime that runs the programs.
        seed: Seed of arithmetic jitter and clocks.
        cann: Release of CANN that ATC plays; default: that of the soc's published figures.
        fault: Name of a fault to switch on; more can be set with ``configure``.

    Raises:
        BoardError: the system on chip or a fault is unknown, or the interpreter does not run.
    """
    # Not resolve(): a virtual environment's interpreter is a link that must stay one.
    board = EmulatedBoard(Path(os.path.abspath(folder)))  # noqa: PTH100  see above
    state = new_state(soc, seed=seed, cann=cann).changed(faults=[fault] if fault else [])
    chosen_faults(state)
    library = board.folder / "python" / "lib"
    for path in (board.bin, board.python.parent, library, board.folder / RUN_FOLDER):
        path.mkdir(parents=True, exist_ok=True)
    _copy_programs(library)
    _write_launchers(board, library, os.path.abspath(python))  # noqa: PTH100  see above
    write_cann(board.folder, state)
    write_state(board.folder, state)
    return board


def _copy_programs(library: Path) -> None:
    # What is compiled comes along, so that the first start of a tool need not do it; but not a file
    # that another process is just writing.
    unfinished = shutil.ignore_patterns("*.pyc.*")
    ignore = shutil.ignore_patterns("*.pyc.*", "site", "install*.py", "__main__.py", "*.toml")
    shutil.copytree(PACKAGE, library / "emulator", dirs_exist_ok=True, ignore=ignore)
    # The board's copy need not be able to make boards.
    write_atomically(library / "emulator" / "__init__.py", f'"""{SENTENCE}."""\n'.encode())
    shutil.copytree(PACKAGE / "site", library, dirs_exist_ok=True, ignore=unfinished)
    for name, content in tables_as_json().items():
        write_atomically(library / "emulator" / name, content)
    metadata = library / "ais_bench-0.0.2.dist-info" / "METADATA"
    metadata.parent.mkdir(exist_ok=True)
    write_atomically(metadata, METADATA.encode())


def _write_launchers(board: EmulatedBoard, library: Path, python: str) -> None:
    runner = library / "run_tool.py"
    folders = [str(library), *package_folders(python)]
    write_atomically(runner, RUNNER.format(folders=folders).encode())
    quoted = {name: shlex.quote(str(path)) for name, path in {
        "board": board.folder, "python": python, "runner": runner, "path": os.pathsep.join(folders),
    }.items()}  # fmt: skip
    head = f"#!/bin/sh\n# {MARK}: not a vendor's tool.\n{BOARD_VARIABLE}={quoted['board']}\n"
    # The threads of numpy's library of linear algebra, which is not used, take a while to start.
    head += f"OPENBLAS_NUM_THREADS=1\nexport {BOARD_VARIABLE} OPENBLAS_NUM_THREADS\n"
    machines = {"x86_64", platform.machine()}
    for name in (*PROGRAMS, *(f"benchmark.{machine}" for machine in sorted(machines))):
        # -I: neither the caller's PYTHONPATH nor its folder may reach the tool. -S: it
        # starts sooner without what is installed for its interpreter's own start.
        line = f'exec {quoted["python"]} -I -S {quoted["runner"]} {name} "$@"\n'
        write_atomically(board.bin / name, (head + line).encode(), 0o755)
    line = f"PYTHONPATH={quoted['path']}\nexport PYTHONPATH\nunset PYTHONHOME\n"
    line += f'exec {quoted["python"]} -S -P "$@"\n'
    write_atomically(board.python, (head + line).encode(), 0o755)


@cache
def package_folders(python: str) -> tuple[str, ...]:
    """Return the folders from which an interpreter imports packages that do not come with it.

    Raises:
        BoardError: it does not run.
    """
    try:
        asked = subprocess.run(  # noqa: S603  the interpreter that whoever makes a board names
            [python, "-I", "-S", "-c", SHOW_PACKAGE_FOLDERS],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise BoardError(f"{python} is no interpreter that works: {error}") from error
    return tuple(asked.stdout.splitlines())
