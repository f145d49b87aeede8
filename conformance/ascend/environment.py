"""The environment that vendor tools run in: CANN's own, and nothing of this suite's Python."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from conformance.ascend.supervisor import TOKEN_VARIABLE, run
from conformance.errors import ToolError

SOURCING_LIMIT_S = 60.0
# What CANN's set_env.sh sets (CANN 5.0.1 to 8.5); one of them proves that it did its work.
CANN_VARIABLES = ("ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME", "ASCEND_OPP_PATH")
STANDARD_FOLDERS = ("ascend-toolkit/latest", "ascend-toolkit", "cann")
OUR_VARIABLES = ("VIRTUAL_ENV", "VIRTUAL_ENV_PROMPT", "PYTHONHOME", "PYTHONSAFEPATH", "BASH_ENV")
OUR_PREFIXES = ("PYTEST_", "COV_CORE_", "COVERAGE_", "CONFORMANCE_")
SUITE_FOLDER = Path(__file__).resolve().parents[2]
# The script is an argument and never text of the command. Its own status proves nothing: a last
# line such as `[ -f x ] && ...` makes it 1. It must not see our arguments, hence the shift.
SOURCE_AND_PRINT = 'script=$1; shift; source "$script" >&2; exec env -0'


@dataclass(frozen=True)
class VendorEnvironment:
    """The environment of vendor tools.

    Attributes:
        variables: The whole environment.
        set_env: CANN's script that was sourced; None if there was none or none was needed.
        origin: Why this script, or why none: goes into the record of the run.
    """

    variables: Mapping[str, str]
    set_env: Path | None
    origin: str

    @property
    def path(self) -> str:
        """The folders in which programs are looked for, joined by colons."""
        return self.variables.get("PATH", "")

    def with_variables(self, **variables: str) -> dict[str, str]:
        """Return the variables with some set for one run."""
        return {**self.variables, **variables}


def vendor_environment(
    base: Mapping[str, str] | None = None,
    *,
    standard: Path = Path("/usr/local/Ascend"),
    home: Path | None = None,
    time_factor: float = 1.0,
) -> VendorEnvironment:
    """Build the environment for vendor tools.

    An environment that already has CANN's variables and ``atc`` on PATH is left as it is, as
    after ``source env.sh``. Else the first ``set_env.sh`` is sourced. Tools on PATH come first
    either way.

    Args:
        base: The suite's own environment; default ``os.environ``.
        standard: CANN's standard folder.
        home: The user's home folder, the second place where CANN is installed.
        time_factor: What the time limit of sourcing is multiplied by.

    Raises:
        ToolError: A ``set_env.sh`` was found, but it hangs or sets none of CANN's variables.
    """
    clean = without_our_python(os.environ if base is None else base)
    prepared = [name for name in CANN_VARIABLES if name in clean]
    if prepared and shutil.which("atc", path=clean.get("PATH", "")):
        return VendorEnvironment(clean, None, f"already set up: {', '.join(prepared)}")
    for origin, script in _candidates(clean, standard, home or Path.home()):
        if _is_file(script):
            limit_s = time_factor * SOURCING_LIMIT_S
            sourced = _sourced(script, tuple(sorted(clean.items())), limit_s)
            return VendorEnvironment(_path_first(clean, sourced), script, origin)
    return VendorEnvironment(clean, None, "no set_env.sh found")


def without_our_python(base: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without our virtual environment, test settings and PYTHONPATH.

    Folders of PYTHONPATH that are not ours stay: CANN's own tools are found through it.
    """
    kept = {
        name: value
        for name, value in base.items()
        if name not in OUR_VARIABLES and not name.startswith(OUR_PREFIXES)
    }
    roots = list(_our_python(base))
    for name in ("PATH", "PYTHONPATH"):
        if name in kept:
            folders = kept[name].split(os.pathsep)
            kept[name] = os.pathsep.join(f for f in folders if f and not _below(f, roots))
    if not kept.get("PYTHONPATH", "x"):
        del kept["PYTHONPATH"]
    return kept


def our_python_folders(base: Mapping[str, str] | None = None) -> tuple[Path, ...]:
    """Return the folders whose Python is ours, so that it is not taken for CANN's."""
    return tuple(_our_python(os.environ if base is None else base))


def _our_python(base: Mapping[str, str]) -> Iterator[Path]:
    if sys.prefix != sys.base_prefix:
        yield Path(sys.prefix).resolve()
    if base.get("VIRTUAL_ENV"):
        yield Path(base["VIRTUAL_ENV"]).resolve()


def _below(folder: str, roots: list[Path]) -> bool:
    """Whether a search folder is ours: in our virtual environment, or the suite's own folder."""
    resolved = Path(folder).resolve()
    return resolved == SUITE_FOLDER or any(resolved.is_relative_to(root) for root in roots)


def _candidates(clean: Mapping[str, str], standard: Path, home: Path) -> Iterator[tuple[str, Path]]:
    """Yield (where from, script) of every place where CANN's set_env.sh may be, best first."""
    for name in ("ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME"):
        if folder := clean.get(name):
            yield f"${name}", Path(folder) / "set_env.sh"
            yield f"${name}", Path(folder).parent / "set_env.sh"
    for root in (standard, home / "Ascend"):
        for folder in STANDARD_FOLDERS:
            yield str(root / folder), root / folder / "set_env.sh"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except PermissionError:  # another user's home, on Python before 3.12
        return False


@lru_cache(maxsize=8)
def _sourced(script: Path, base: tuple[tuple[str, str], ...], limit_s: float) -> dict[str, str]:
    """Return the environment that bash has after sourcing the script; cached per process."""
    with tempfile.TemporaryDirectory(prefix="ascend-env-") as folder:
        result = run(
            ["bash", "--norc", "-c", SOURCE_AND_PRINT, "bash", script],
            env=dict(base),
            cwd=Path(folder),
            log=Path(folder) / "environment",
            limit_s=limit_s,
        )
        entries = os.fsdecode(result.stdout_path.read_bytes()).split("\0")
        variables = dict(entry.split("=", 1) for entry in entries if "=" in entry)
        if result.timed_out or not any(name in variables for name in CANN_VARIABLES):
            raise ToolError(
                "CANN's set_env.sh cannot be used",
                got=f"{result.ending}; {result.stderr_path.read_text(errors='replace').strip()}",
                expected=f"one of {', '.join(CANN_VARIABLES)}",
                where={"script": script},
                next_step=f"run `source {script}` in a fresh shell and repair the installation",
            )
    of_the_shell = ("_", "SHLVL", TOKEN_VARIABLE)
    return {name: value for name, value in variables.items() if name not in of_the_shell}


def _path_first(clean: Mapping[str, str], sourced: Mapping[str, str]) -> dict[str, str]:
    """Put the folders of the user's own PATH before those that CANN's script added."""
    folders = [*clean.get("PATH", "").split(os.pathsep), *sourced["PATH"].split(os.pathsep)]
    path = os.pathsep.join(dict.fromkeys(folder for folder in folders if folder))
    return {**sourced, "PATH": path}
