"""Find the vendor's tools: on PATH, in the current folder, or where the user says."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
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
    lame = [path for path in _on_path(name, environment) if path.is_file()]
    if found or not lame:
        return found
    raise ToolError(
        f"{name} is not executable",
        got=", ".join(map(str, lame)),
        expected=f"an executable {name} on PATH",
        where={"set_env.sh": environment.set_env or environment.origin},
        next_step=f"chmod +x {lame[0]}",
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


def _on_path(name: str, environment: VendorEnvironment) -> Iterator[Path]:
    folders = environment.path.split(os.pathsep)
    return (Path(folder) / name for folder in folders if folder)


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
    environment: VendorEnvironment, *, given: Path | None = None
) -> AscendPython | None:
    """Return the interpreter of CANN's Python tools: the given one, or the first that has them.

    Looked for are all ``python3`` on PATH outside our own virtual environment that can import
    ais_bench.

    Raises:
        ToolError: One was given, but it cannot import ais_bench; the error holds its own words.
    """
    if given is not None:
        found = _try_python(given, environment)
        if isinstance(found, AscendPython):
            return found
        raise ToolError(
            "ais_bench cannot be imported",
            got=found,
            expected="a Python with ais_bench and aclruntime",
            where={"interpreter": given},
            next_step="correct --ascend-python=, or install ais_bench for it",
        )
    candidates = dict.fromkeys(_on_path("python3", environment))
    tried = (_try_python(path, environment) for path in candidates if _usable(path))
    return next((found for found in tried if isinstance(found, AscendPython)), None)


def _usable(interpreter: Path) -> bool:
    folder = interpreter.parent.resolve()
    ours = any(folder.is_relative_to(root) for root in our_python_folders())
    return not ours and os.access(interpreter, os.X_OK)


def _try_python(path: Path, environment: VendorEnvironment) -> AscendPython | str:
    """Ask an interpreter for its packages, from an empty folder that cannot mask any.

    Returns what it has, or its own words about why ais_bench cannot be imported.
    """
    with tempfile.TemporaryDirectory(prefix="ascend-python-") as folder:
        log = Path(folder) / "import.log"
        argv = [str(path), "-c", REPORT_PACKAGES]
        env = environment.variables
        try:
            result = run(argv, env=env, cwd=Path(folder), log=log, limit_s=IMPORT_LIMIT_S)
        except ToolError as error:  # its own interpreter is gone, say: try the next one
            return f"{error.what}: {error.got}"
        # Packages print while they are imported and when the interpreter ends.
        found = REPORTED.search(result.stdout_path.read_text(errors="replace"))
        if result.status == 0 and found:
            return AscendPython(path.absolute(), json.loads(found[1]))
        return f"{result.ending}: {last_lines(result.text, 1)}"
