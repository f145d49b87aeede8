"""Fresh folders for vendor tools: no stale file of an earlier run can be read from them."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from conformance.errors import ConformanceError, DatasetError, ToolError

# What ais_bench's own checks let through in a path (ais_bench path_security_check, 2023).
ILLEGAL_IN_PATH = re.compile(r"[^_A-Za-z0-9/.-]")
INPUTS = "inputs"


@contextlib.contextmanager
def work_place(scratch: Path, prefix: str, records: Path) -> Iterator[Path]:
    """Make a folder for one step; it goes when the step succeeds.

    When the step fails, what the tools wrote stays, so that the message's paths can be followed;
    their logs are copied to the records too, and only ``inputs/``, which can be made again, goes.

    Args:
        scratch: Where to make it; made if it is missing.
        prefix: Beginning of its name.
        records: Where logs of a failure are kept.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=scratch, prefix=prefix))
    remains = False
    try:
        yield folder
    except ConformanceError:
        remains = True
        shutil.rmtree(folder / INPUTS, ignore_errors=True)
        keep_logs(folder, records / folder.name)
        raise
    finally:
        if not remains:
            shutil.rmtree(folder, ignore_errors=True)


def keep_logs(folder: Path, records: Path) -> None:
    """Copy every log of a folder, and of those in it, to the same places among the records."""
    for log in folder.rglob("*.log"):
        target = records / log.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(log, target)


def require_empty(folder: Path, tool: str) -> None:
    """Make a folder for a tool to run in; refuse one that holds anything.

    It is private to this user, as ais_bench demands of folders that it writes to.

    Raises:
        ToolError: The folder is not empty: an old file in it could be taken for a new one.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if found := sorted(path.name for path in folder.iterdir()):
        raise ToolError(
            f"the work folder of {tool} is not empty",
            got=", ".join(found[:10]),
            expected="an empty folder",
            where={"folder": folder},
            next_step="remove it",
        )


def require_legal_path(path: Path) -> None:
    """Refuse a path that ais_bench refuses, before it does so with few words.

    Raises:
        ToolError: It has a character other than letters, digits, ``_``, ``-``, ``.`` and ``/``.
    """
    if bad := sorted(set(ILLEGAL_IN_PATH.findall(str(path.absolute())))):
        raise ToolError(
            "the inference tool does not take this path",
            got=f"{path.absolute()}, with {' '.join(map(repr, bad))}",
            expected="letters, digits, _ - . and /",
            next_step="use another --scratch=",
        )


def private_copy(source: Path, target: Path) -> Path:
    """Copy a model so that this user owns it and nobody else may write it (mode 0600).

    ais_bench refuses links, and files that group or others may write, or of another owner.
    """
    shutil.copyfile(source, target)
    target.chmod(0o600)
    return target


def require_private(folder: Path) -> None:
    """Refuse an input folder that ais_bench refuses: a link, of others, or writable by others.

    Raises:
        DatasetError: Says which, and how to correct it.
    """
    require_legal_path(folder)
    facts = folder.lstat()
    problems = {
        "a link": stat.S_ISLNK(facts.st_mode),
        "writable by group or others": bool(facts.st_mode & 0o022),
        "another user's": facts.st_uid != os.geteuid() and facts.st_gid not in os.getgroups(),
    }
    if found := [name for name, present in problems.items() if present]:
        raise DatasetError(
            "ais_bench does not take this folder of inputs",
            got=" and ".join(found),
            expected="a folder of this user, writable by nobody else",
            where={"folder": folder},
            next_step=f"chmod go-w {folder}, or use another --scratch=",
        )
