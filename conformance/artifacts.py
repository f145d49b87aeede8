"""The artifact store: everything expensive, built once, addressed by what it was made from.

An entry is a folder ``<root>/<kind>/<key>`` with the files of the artifact and a manifest. It
appears by one rename under a lock of its own, so that a killed build leaves nothing that looks
finished and two processes never build the same thing. Its digests are verified when it is opened.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from conformance.errors import ArtifactError
from conformance.manifests import (
    Artifact,
    Manifest,
    Request,
    Value,
    damage,
    file_sha256,
    read_manifest,
    stored_file,
    write_manifest,
)

__all__ = [
    "Artifact",
    "Manifest",
    "Request",
    "Store",
    "Value",
    "damage",
    "file_sha256",
]

UNFINISHED = "tmp"
# What the system says when there is no room, for the disk, the user or the process.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# A build writes its files into the folder and returns facts to keep beside them.
Build = Callable[[Path], Mapping[str, str]]
Event = Callable[[str, str, str, float], None]


@dataclass
class Store:
    """The artifacts under one folder.

    Attributes:
        root: The folder; made on first use.
        on_event: Told (``found`` or ``built`` or ``rebuilt``, kind, key, seconds).
        heavy_step: Entered for as long as something is built, so that nobody times meanwhile.
    """

    root: Path
    on_event: Event = field(default=lambda *_: None)
    heavy_step: Callable[[], AbstractContextManager[None]] = field(default=contextlib.nullcontext)
    _opened: dict[str, Artifact] = field(default_factory=dict)

    @property
    def opened(self) -> tuple[Artifact, ...]:
        """Every artifact that was used, in the order of first use."""
        return tuple(self._opened.values())

    def get(self, request: Request, build: Build, *, heavy: bool = True) -> Artifact:
        """Return the artifact, building it under a lock if the store does not have it whole.

        Args:
            request: What is wanted.
            build: Makes it.
            heavy: Whether building it is one heavy step; else it takes its locks by itself.

        Raises:
            ArtifactError: The store cannot be written or locked, or its disk is full.
        """
        if opened := self._opened.get(request.key):
            return opened
        if request.makers is None:
            artifact, event = self._made_elsewhere(request), "found"
        else:
            with self._locked(request):
                artifact, event = self._found_or_built(request, build, heavy)
        return self._open(request, artifact, event)

    def find(self, request: Request, *, any_of: Collection[str] = ()) -> Artifact | None:
        """Return a whole artifact that answers the request, or None.

        Where the makers are unknown, the newest artifact of any maker answers; where only those of
        ``any_of`` are, the newest one that the others made.
        """
        if opened := self._opened.get(request.key):
            return opened
        found = self._newest(request, any_of) if any_of else self._found(request)
        return self._open(request, found, "found") if found else None

    def _open(self, request: Request, artifact: Artifact, event: str) -> Artifact:
        """Note that an artifact is used: for the run, for ``gc``, and for the next caller."""
        seconds = 0.0 if event == "found" else artifact.manifest.seconds
        self.on_event(event, request.kind, request.key, seconds)
        with contextlib.suppress(OSError):  # a shared store may be read-only
            os.utime(artifact.folder)
        self._opened[request.key] = artifact
        return artifact

    def _made_elsewhere(self, request: Request) -> Artifact:
        if found := self._found(request):
            return found
        raise ArtifactError(
            f"the store has no {request.kind}, and the packages that make one are not installed",
            expected=f"one made from {request.inputs}",
            where={"store": self.root},
            next_step="fill the store on a build host and bring it here: "
            "`python -m conformance store pack FILE.tar`",
        )

    def _found_or_built(self, request: Request, build: Build, heavy: bool) -> tuple[Artifact, str]:
        folder = self._folder(request)
        if whole := self._whole(folder):
            return whole, "found"
        event = "rebuilt" if folder.exists() else "built"
        with self.heavy_step() if heavy else contextlib.nullcontext():
            return self._build(request, build), event

    def _found(self, request: Request) -> Artifact | None:
        if request.makers is not None:
            return self._whole(self._folder(request))
        return self._newest(request)

    def _newest(self, request: Request, any_of: Collection[str] = ()) -> Artifact | None:
        """Return the newest answer whose makers are those of the request, as far as known here."""
        known = {name: made for name, made in (request.makers or {}).items() if name not in any_of}
        answers = [
            (manifest.made_at, folder)
            for folder, manifest in self.entries(request.kind)
            if manifest
            and manifest.request.identity == request.identity
            and known.items() <= (manifest.request.makers or {}).items()
        ]
        newest_first = (folder for _, folder in sorted(answers, reverse=True))
        return next((whole for folder in newest_first if (whole := self._whole(folder))), None)

    def entries(self, kind: str = "*") -> Iterator[tuple[Path, Manifest | None]]:
        """Yield every entry's folder and its manifest, None where the manifest is damaged."""
        for folder in sorted(self.root.glob(f"{kind}/{'[0-9a-f]' * 8}*/")):
            if folder.parent.name != UNFINISHED:
                yield folder, read_manifest(folder)

    def leftovers(self) -> list[Path]:
        """Return what killed builds left behind and no process is building now."""
        found = sorted(self.root.glob(f"{UNFINISHED}/*"))
        return [path for path in found if not self._in_use(path)]

    def lock_path(self, key: str) -> Path:
        """Return the lock file of one key."""
        return self.root / "locks" / f"{key}.lock"

    def _folder(self, request: Request) -> Path:
        return self.root / request.kind / request.key

    def _in_use(self, leftover: Path) -> bool:
        lock = FileLock(self.lock_path(leftover.name.partition(".")[0]), blocking=False)
        try:
            with lock:
                return False
        except Timeout:
            return True

    @contextlib.contextmanager
    def _locked(self, request: Request) -> Iterator[None]:
        lock = FileLock(self.lock_path(request.key))
        with self._writable():
            (self.root / "locks").mkdir(parents=True, exist_ok=True)
            (self.root / UNFINISHED).mkdir(exist_ok=True)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except (OSError, NotImplementedError) as error:
            full = isinstance(error, OSError) and error.errno in FULL
            raise ArtifactError(
                "artifact store is full" if full else "artifact store cannot be written or locked",
                got=error,
                expected="a folder on a local disk that this user may write",
                where={"folder": self.root},
                next_step="free space with `python -m conformance store gc`"
                if full
                else "name another folder with --artifacts=DIR",
            ) from error

    def _build(self, request: Request, build: Build) -> Artifact:
        for leftover in self.root.glob(f"{UNFINISHED}/{request.key}.*"):
            shutil.rmtree(leftover, ignore_errors=True)
        started = time.time()
        with self._writable():
            unfinished = self.root / UNFINISHED
            workplace = Path(tempfile.mkdtemp(prefix=f"{request.key}.", dir=unfinished))
        try:
            return self._move_in(request, workplace, self._run(build, workplace), started)
        finally:
            shutil.rmtree(workplace, ignore_errors=True)

    def _run(self, build: Build, workplace: Path) -> Mapping[str, str]:
        try:
            return build(workplace)
        except OSError as error:
            if error.errno not in FULL:
                raise
            with self._writable():
                raise

    def _move_in(
        self, request: Request, workplace: Path, facts: Mapping[str, str], started: float
    ) -> Artifact:
        with self._writable():
            files = {
                path.relative_to(workplace).as_posix(): stored_file(path)
                for path in sorted(workplace.rglob("*"))
                if not path.is_dir()
            }
            if not files:
                raise ArtifactError("build left no file", where={"kind": request.kind})
            manifest = Manifest(
                request=request,
                files=files,
                facts=dict(facts),
                made_at=started,
                seconds=round(time.time() - started, 3),
            )
            write_manifest(workplace, manifest)
            folder = self._folder(request)
            folder.parent.mkdir(exist_ok=True)
            if folder.exists():
                shutil.rmtree(folder)
            workplace.rename(folder)
        return Artifact(folder, manifest)

    def _whole(self, folder: Path) -> Artifact | None:
        """Return the entry if every file of it is there with its digest."""
        manifest = read_manifest(folder)
        if manifest is None or damage(folder, manifest):
            return None
        return Artifact(folder, manifest)
