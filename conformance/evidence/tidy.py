"""What stays in a finished bundle: the files that belong there, and no name of person or machine.

While a run goes on, its folder also holds what its workers share, and logs as the tools wrote them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from conformance.errors import EvidenceError
from conformance.evidence.bundle import (
    EVIDENCE_FILE,
    FLIPS_FILE,
    JUNIT_FILE,
    PREDICTIONS_FILE,
    REPORT_FILE,
    STATEMENT_FILE,
)
from conformance.evidence.bundle_files import write_whole
from conformance.evidence.facts import FACTS_FILE
from conformance.evidence.record import ARTIFACTS_FILE, CHECKS_FILE
from conformance.evidence.scrub import this_machine
from conformance.run_folder import BOARD, LOGS

FILES = {EVIDENCE_FILE, PREDICTIONS_FILE, FLIPS_FILE, JUNIT_FILE, REPORT_FILE, STATEMENT_FILE}
FILES |= {CHECKS_FILE, FACTS_FILE, ARTIFACTS_FILE}
FOLDERS = {LOGS, BOARD}
# The longest text of a tool that is kept whole; of a longer one the middle goes.
TEXT_BYTES = 32 * 1024 * 1024
CUT = "\n[... {} bytes of this log are left out ...]\n"


def belongs(name: str) -> bool:
    """Tell whether a file, by its name inside a bundle, is one that a run leaves there."""
    first, _, rest = name.partition("/")
    return first in FOLDERS if rest else first in FILES


def tidy(folder: Path) -> None:
    """Remove what only the run's workers needed, and scrub and shorten the texts of its tools.

    Args:
        folder: The run's folder, which the run alone writes.

    Raises:
        EvidenceError: A file cannot be read, removed or written.
    """
    try:
        for path in folder.iterdir() if folder.exists() else ():
            if path.name not in FILES | FOLDERS:
                _remove(path)
        for path in _texts(folder):
            _scrub(path)
    except OSError as error:
        raise EvidenceError(
            "the run's folder cannot be tidied",
            got=error,
            where={"folder": folder},
            next_step="do not hand the folder on: logs in it may name people and machines",
        ) from error


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _texts(folder: Path) -> Iterator[Path]:
    """Yield the tools' texts; what is empty or no regular file has no place among them."""
    for part in sorted(FOLDERS):
        for path in sorted((folder / part).rglob("*")):
            if path.is_file() and not path.is_symlink() and path.stat().st_size:
                yield path
            elif not path.is_dir() or path.is_symlink():
                path.unlink()


def _scrub(path: Path) -> None:
    """Write a text again without names; bytes that are no UTF-8 stay as they are."""
    raw = _shortened(path)
    scrubber = this_machine()
    clean = scrubber.text(raw.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    name = scrubber.text(path.stem) + path.suffix
    if clean != raw or len(raw) != path.stat().st_size or name != path.name:
        path.unlink()
        write_whole(path.with_name(name), clean)


def _shortened(path: Path) -> bytes:
    """Return a text, of a long one beginning and end."""
    size, half = path.stat().st_size, TEXT_BYTES // 2 - len(CUT) - 20
    if size <= TEXT_BYTES:
        return path.read_bytes()
    with path.open("rb") as stream:
        start = stream.read(half)
        stream.seek(-half, 2)
        return start + CUT.format(size - 2 * half).encode() + stream.read()
