"""Find the vendor's tools: on PATH, in the current folder, or where the user says."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from conformance.ascend.environment import VendorEnvironment, our_python_folders
from conformance.ascend.supervisor import run
from conformance.ascend.tool_run import last_lines
from conformance.errors import ToolError

ATC_REMEDY = (
    "install CANN, or source its set_env.sh first; "
    "CANN 5 may have none: `source scripts/env.sh` takes its place"
)
IMPORT_LIMIT_S = 120.0  # the first import of CANN's packages from a cold disk takes long
# Run by the candidate interpreter, not by ours.
REPORT_PACKAGES = """
import json, platform
from importlib import metadata
import ais_bench
found = {"python": platform.python_version()}
for name in ("ais_bench", "aclruntime", "numpy"):
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
print("\\nascend-python: " + json.dumps(found), flush=True)
"""
REPORTED = re.compile(r"^ascend-python: (\{.*\})$", re.MULTILINE)


@dataclass(frozen=True)
class AscendPython:
    """An interpreter that has ais_bench.

    Attributes:
        path: The interpreter.
        versions: Versions of Python itself, ais_bench, aclruntime and numpy, as far as it says.
    """

    path: Path
    versions: dict[str, str]


def find_program(name: str, environment: VendorEnvironment) -> Path | None:
    """Return the first executable of that name on the vendor environment's PATH, or None."""
    found = shutil.which(name, path=environment.path)
    return Path(found).absolute() if found else None


def sound_program(name: str, environment: VendorEnvironment) -> Path | None:
    """Return the program, None where no file of that name is on PATH.

    Raises:
        ToolError: It is there and not executable.
    """
    found = find_program(name, environment)
    lame = list(programs_named(name, path_folders(environment.path)))
    if found or not lame:
        return found
    raise ToolError(
        f"{name} is not executable",
        got=", ".join(map(str, lame)),
        expected=f"an executable {name} on PATH",
        where={"set_env.sh": environment.set_env or environment.origin},
        next_step=remedy(lame[0]),
    )


def require_program(name: str, environment: VendorEnvironment) -> Path:
    """Return the program, for callers that cannot go on without it.

    Raises:
        ToolError: It is not on PATH, or it is there and not executable.
    """
    if found := sound_program(name, environment):
        return found
    raise ToolError(
        f"{name} is missing",
        got=environment.path or "an empty PATH",
        expected=f"an executable {name} on PATH",
        where={"set_env.sh": environment.set_env or environment.origin},
        next_step=ATC_REMEDY,
    )


def programs_named(name: str, folders: Iterable[Path]) -> Iterator[Path]:
    """Yield what bears that name in the folders, be it executable, closed to us or a broken link.

    A folder of that name is no program: CANN has one called ``atc``.
    """
    for path in (folder / name for folder in folders):
        # Path.is_dir raises where a link leads to a place that is closed to us, before Python 3.12.
        if os.path.lexists(path) and not os.path.isdir(path):  # noqa: PTH112 - see above
            yield path


def path_folders(path: str) -> list[Path]:
    """Return the folders of a PATH."""
    return [Path(folder) for folder in path.split(os.pathsep) if folder]


def remedy(lame: Path) -> str:
    """Say what to do about a program that cannot be executed."""
    if lame.is_symlink() and not os.access(lame, os.F_OK):
        return f"repair or remove {lame}, a link that leads nowhere"
    return f"chmod +x {lame}, or run as a user who may execute it"


def benchmark_name() -> str:
    """Return the name of the inference benchmark for this machine: ``benchmark.<arch>``."""
    return f"benchmark.{platform.machine()}"


def find_benchmark(
    environment: VendorEnvironment, *, given: Path | None = None, folder: Path | None = None
) -> Path | None:
    """Return the inference benchmark: the given one, in the current folder, then on PATH.

    Raises:
        ToolError: One was given or lies in the current folder, but cannot be executed.
    """
    here = (folder or Path.cwd()) / benchmark_name()
    for path in (given, here if here.exists() else None):
        if path is not None:
            return _executable(path)
    return find_program(benchmark_name(), environment)


def _executable(path: Path) -> Path:
    if path.is_file() and os.access(path, os.X_OK):
        return path.absolute()
    raise ToolError(
        "the inference tool cannot be executed",
        got="a file without execute permission" if path.exists() else "no such file",
        expected="an executable file",
        where={"file": path},
        next_step=f"chmod +x {path}" if path.exists() else "correct --inference-tool-path=",
    )


def find_ascend_python(
    environment: VendorEnvironment, *, given: Path | None = None, time_factor: float = 1.0
) -> AscendPython | None:
    """Return the interpreter of CANN's Python tools: the given one, or the first that has them.

    Looked for are all ``python3`` on PATH outside our own virtual environment that can import
    ais_bench.

    Args:
        environment: The environment of vendor tools.
        given: The interpreter that the user names.
        time_factor: What the time limit of the import is multiplied by.

    Raises:
        ToolError: One was given, but it cannot import ais_bench; the error holds its own words.
    """
    limit_s = time_factor * IMPORT_LIMIT_S
    if given is not None:
        found = _try_python(given, environment, limit_s)
        if isinstance(found, AscendPython):
            return found
        raise ToolError(
            "ais_bench cannot be imported",
            got=found,
            expected="a Python with ais_bench and aclruntime",
            where={"interpreter": given},
            next_step="correct --ascend-python=, or install ais_bench for it",
        )
    folders = path_folders(environment.path)
    candidates = dict.fromkeys(programs_named("python3", folders))
    tried = (_try_python(path, environment, limit_s) for path in candidates if _usable(path))
    return next((found for found in tried if isinstance(found, AscendPython)), None)


def _usable(interpreter: Path) -> bool:
    folder = interpreter.parent.resolve()
    ours = any(folder.is_relative_to(root) for root in our_python_folders())
    return not ours and os.access(interpreter, os.X_OK)


def _try_python(path: Path, environment: VendorEnvironment, limit_s: float) -> AscendPython | str:
    """Ask an interpreter for its packages, from an empty folder that cannot mask any.

    Returns what it has, or its own words about why ais_bench cannot be imported.
    """
    with tempfile.TemporaryDirectory(prefix="ascend-python-") as folder:
        log = Path(folder) / "import.log"
        argv = [str(path), "-c", REPORT_PACKAGES]
        env = environment.variables
        try:
            result = run(argv, env=env, cwd=Path(folder), log=log, limit_s=limit_s)
        except ToolError as error:  # its own interpreter is gone, say: try the next one
            return f"{error.what}: {error.got}"
        # Packages print while they are imported and when the interpreter ends.
        found = REPORTED.search(result.stdout_path.read_text(errors="replace"))
        if result.status == 0 and found:
            return AscendPython(path.absolute(), json.loads(found[1]))
        return f"{result.ending}: {last_lines(result.text, 1)}"
