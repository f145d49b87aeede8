"""Digests of image files, remembered so that a folder on a network is not read twice."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from conformance.errors import DatasetError

# A file changed twice within one tick of its file system's clock keeps its time (and may keep its
# size), so a digest is remembered only of files that have been left alone for a while.
_SETTLED_S = 2.0
_LOCK_WAIT_S = 60.0
_THREADS = 4

FileIdentity = tuple[str, int, int, int]


def sha256_of_files(
    paths: Sequence[Path], *, cache_file: Path | None = None, fresh: bool = False
) -> list[str]:
    """Return the sha256 of each file, in order, as hexadecimal text.

    Args:
        paths: Files to digest.
        cache_file: Where digests are remembered by path, size, modification time and inode; safe
            to share between processes. A cache that is damaged is made anew, and one that cannot
            be written is not used: every digest is then taken from the file itself.
        fresh: Read every file, whatever the cache says, and remember the new digests.

    Raises:
        DatasetError: A file is missing or cannot be read; names it.
    """
    looked_ns = time.time_ns()
    identities = [_identity(path) for path in paths]
    known = {} if fresh or cache_file is None else _recall(cache_file, identities)
    unknown = [identity for identity in identities if identity not in known]
    with ThreadPoolExecutor(_THREADS) as pool:  # hashlib releases the interpreter lock
        taken = dict(zip(unknown, pool.map(_sha256, unknown), strict=True))
    if cache_file is not None:
        _remember(cache_file, taken, looked_ns)
    return [known.get(identity) or taken[identity] for identity in identities]


def _identity(path: Path) -> FileIdentity:
    try:
        facts = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from None
    return (os.path.abspath(path), facts.st_size, facts.st_mtime_ns, facts.st_ino)  # noqa: PTH100 - Path.resolve() would ask the file system once per folder


def _sha256(identity: FileIdentity) -> str:
    path = Path(identity[0])
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> DatasetError:
    return DatasetError(
        "image cannot be read",
        got=error,
        expected="a readable file",
        where={"image": path.name, "file": path},
        next_step="restore the file or its permissions",
    )


@contextlib.contextmanager
def _opened(cache_file: Path) -> Iterator[sqlite3.Connection]:
    cache_file.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(cache_file, timeout=_LOCK_WAIT_S)
    try:
        with connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS digests (path TEXT PRIMARY KEY, size INTEGER,"
                " mtime_ns INTEGER, inode INTEGER, sha256 TEXT)"
            )
            yield connection
    finally:
        connection.close()


def _stored_path(path: str) -> str | bytes:
    """Return a path as SQLite takes it: bytes where it is no text."""
    raw = os.fsencode(path)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _recall(cache_file: Path, identities: Sequence[FileIdentity]) -> dict[FileIdentity, str]:
    try:
        with _opened(cache_file) as connection:
            rows = connection.execute("SELECT path, size, mtime_ns, inode, sha256 FROM digests")
            remembered = {
                (os.fsdecode(row[0]), row[1], row[2], row[3]): str(row[4]) for row in rows
            }
    except sqlite3.OperationalError:  # locked for too long, or its folder cannot be written
        return {}
    except sqlite3.DatabaseError:  # damaged: a cache holds nothing that cannot be made again
        cache_file.unlink(missing_ok=True)
        return {}
    except OSError:
        return {}
    return {identity: remembered[identity] for identity in identities if identity in remembered}


def _remember(cache_file: Path, digests: dict[FileIdentity, str], looked_ns: int) -> None:
    """Remember digests of files that were settled when they were looked at.

    Reading many files takes longer than settling: by the time they are read, one that was changed
    while it was looked at would seem to have been left alone.
    """
    settled_ns = looked_ns - int(_SETTLED_S * 1e9)
    rows = [
        (_stored_path(path), size, mtime_ns, inode, sha)
        for (path, size, mtime_ns, inode), sha in digests.items()
        if mtime_ns < settled_ns
    ]
    # Losing a memory costs time, never truth.
    with contextlib.suppress(sqlite3.Error, OSError), _opened(cache_file) as connection:
        connection.executemany("INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?, ?)", rows)
