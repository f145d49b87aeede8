"""Lock files in a folder that every user of the machine may write, safe against links."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import getpass
import json
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from conformance.errors import BoardError, ConformanceError

LOOK_EVERY_S = 0.05
# Workers of one run wait for each other too; a short wait is nobody's concern.
SILENT_S = 30.0


class LocksUnusableError(ConformanceError):
    """The machine's lock files cannot be made, opened or locked."""


def print_line(text: str) -> None:
    """Tell the user something outside of pytest."""
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class LockFolder:
    """Files to lock in one folder of mode 1777.

    Attributes:
        path: The folder; made on first use.
        say: Tells the user of a long wait.
    """

    path: Path
    say: Callable[[str], None] = print_line

    @contextlib.contextmanager
    def locked(self, name: str, mode: int, wait_s: float) -> Iterator[None]:
        """Hold one lock, ``fcntl.LOCK_EX`` or ``LOCK_SH``, for as long as the block runs.

        Raises:
            BoardError: It is still held after ``wait_s`` seconds; names the holder.
            LocksUnusableError: The folder or file is not what it must be.
        """
        descriptor = self._acquire(name, mode, wait_s)
        try:
            if mode == fcntl.LOCK_EX:
                _note(descriptor, {"pid": os.getpid(), "user": user_name()})
            yield
        finally:
            if mode == fcntl.LOCK_EX:
                _note(descriptor, {})
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # a forked child may hold a copy of it
            os.close(descriptor)

    def holder(self, name: str) -> str:
        """Name who holds a lock exclusively right now; empty if nobody does."""
        descriptor = self.open(name)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _named(read_json(descriptor))
        finally:
            os.close(descriptor)
        return ""

    def _acquire(self, name: str, mode: int, wait_s: float) -> int:
        began, told = time.monotonic(), False
        while True:
            descriptor = self.open(name)
            try:
                fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
                if self._is_current(descriptor, name):
                    return descriptor
            except BlockingIOError:
                waited_s, holder = time.monotonic() - began, _named(read_json(descriptor))
                if waited_s >= wait_s:
                    os.close(descriptor)
                    raise _busy(name, holder) from None
                if waited_s >= SILENT_S and not told:
                    told = True
                    self.say(f"waiting for {name}, at most {wait_s / 3600:.3g} h: {holder} has it")
            except OSError as error:  # a file system without locks
                os.close(descriptor)
                raise _unsafe(self.path, f"{name}.lock: {error.strerror}") from None
            os.close(descriptor)
            time.sleep(LOOK_EVERY_S)

    def _is_current(self, descriptor: int, name: str) -> bool:
        """Whether the locked file is the one that others will open: a cleaner may have cut in."""
        try:
            return os.path.samestat(os.fstat(descriptor), (self.path / f"{name}.lock").stat())
        except FileNotFoundError:
            return False

    def open(self, name: str) -> int:
        """Open a lock file of any owner, made on first use, never through a link.

        The kernel refuses to open another user's file with O_CREAT in a sticky folder
        (fs.protected_regular), so that existing files are opened without it.
        """
        self._make_folder()
        path, limit = self.path / f"{name}.lock", time.monotonic() + 2
        while True:
            try:
                return _checked(_open_or_create(path), path)
            except OSError as error:
                # Between another user's creation and its chmod the file is closed to us.
                passing = error.errno in (errno.EACCES, errno.EEXIST)
                if not passing or time.monotonic() >= limit:
                    raise _unsafe(self.path, f"{path.name}: {error.strerror}") from None
                time.sleep(LOOK_EVERY_S)

    def _make_folder(self) -> None:
        try:
            with contextlib.suppress(FileExistsError):
                self.path.mkdir(mode=0o700, parents=True)
                self.path.chmod(0o1777)  # the umask must not decide who may share it
            is_folder = stat.S_ISDIR(self.path.lstat().st_mode)
        except OSError as error:
            raise _unsafe(self.path, error.strerror or str(error)) from None
        if not is_folder:
            raise _unsafe(self.path, "not a folder")


def _open_or_create(path: Path) -> int:
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
        os.fchmod(descriptor, 0o666)
        return descriptor


def _checked(descriptor: int, path: Path) -> int:
    facts = os.fstat(descriptor)
    if stat.S_ISREG(facts.st_mode) and facts.st_nlink <= 1:
        return descriptor
    os.close(descriptor)
    raise _unsafe(path.parent, f"{path.name}: not a plain file of its own")


def _unsafe(folder: Path, got: str) -> LocksUnusableError:
    return LocksUnusableError(
        "the machine's locks cannot be used",
        got=got,
        expected="a folder of plain files that every user may write",
        where={"folder": folder},
        next_step=f"make room where {folder} is, or have it removed while no suite runs",
    )


def _named(holder: Any) -> str:
    """Name the process that a lock file names, if it is that one that holds the lock.

    One that was killed leaves its name behind, while a child of it may hold the lock.
    """
    facts = holder if isinstance(holder, dict) else {}
    pid = facts.get("pid")
    if isinstance(pid, int) and psutil.pid_exists(pid):
        return f"process {pid} of user {facts.get('user')}"
    return "another suite, or a worker of this one"


def _busy(name: str, holder: str) -> BoardError:
    return BoardError(
        f"{name} is held by another suite",
        got=holder,
        expected="nobody",
        next_step="wait for it to end, or use other chips with --chips=",
    )


def _note(descriptor: int, holder: dict[str, Any]) -> None:
    """Tell those who wait who holds a lock; without room for it the lock is held all the same."""
    with contextlib.suppress(OSError):
        write_text(descriptor, json.dumps(holder))


def write_text(descriptor: int, text: str) -> None:
    """Replace the content of an open file."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode(), 0)


def read_json(descriptor: int) -> Any:
    """Return what an open file says, None if it is not JSON."""
    try:
        return json.loads(os.pread(descriptor, 65536, 0))
    except ValueError:
        return None


def user_name() -> str:
    """Return this user's name, or its number where it has no name."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as in some containers
        return str(os.getuid())
