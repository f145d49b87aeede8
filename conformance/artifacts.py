"""The artifact store: everything expensive, built once, addressed by what it was made from.

An entry is a folder ``<root>/<kind>/<key>`` with the files of the artifact and a manifest. It
appears by one rename under a lock of its own, so that a killed build leaves nothing that looks
finished and two processes never build the same thing. Its digests are verified when it is opened.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import msgspec
from filelock import FileLock, Timeout

from conformance.errors import ArtifactError

MANIFEST = "manifest.json"
UNFINISHED = "tmp"
# What the system says when there is no room, for the disk, the user or the process.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
Value = str | int | float | bool
# A build writes its files into the folder and returns facts to keep beside them.
Build = Callable[[Path], Mapping[str, str]]
Event = Callable[[str, str, str, float], None]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted: a kind, the inputs' digests and arguments, and who would make it here.

    ``makers`` are the versions of the tools that build it: a new tool makes a new artifact. They
    are None where the tools are missing, as on a board without torch; then any maker's will do.
    """

    kind: str
    inputs: dict[str, Value]
    makers: dict[str, str] | None

    @property
    def identity(self) -> str:
        """Digest of what is wanted, whoever makes it."""
        return _digest({"kind": self.kind, "inputs": self.inputs})

    @property
    def key(self) -> str:
        """Digest of what is wanted and who makes it: the entry's address."""
        return _digest({"kind": self.kind, "inputs": self.inputs, "makers": self.makers})


class StoredFile(msgspec.Struct, frozen=True):
    """Size in bytes and digest of one file of an artifact."""

    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an artifact is, who made it from what, and what its files must be."""

    request: Request
    files: dict[str, StoredFile]
    facts: dict[str, str]
    made_at: float
    seconds: float


@dataclass(frozen=True)
class Artifact:
    """A verified entry of the store."""

    folder: Path
    manifest: Manifest

    @property
    def facts(self) -> Mapping[str, str]:
        """What the build found out, such as the class of the weights."""
        return self.manifest.facts

    def path(self, name: str) -> Path:
        """Return the path of one of the artifact's files.

        Raises:
            ArtifactError: The artifact has no file of that name.
        """
        if name not in self.manifest.files:
            raise ArtifactError(
                "artifact lacks a file",
                got=", ".join(self.manifest.files),
                expected=name,
                where={"artifact": self.folder},
                next_step="remove it; the next run builds it again",
            )
        return self.folder / name

    def sha256(self, name: str) -> str:
        """Return the verified digest of one of the artifact's files."""
        self.path(name)
        return self.manifest.files[name].sha256


@dataclass
class Store:
    """The artifacts under one folder.

    Attributes:
        root: The folder; made on first use.
        on_event: Told (``found`` or ``built`` or ``rebuilt``, kind, key, seconds).
    """

    root: Path
    on_event: Event = field(default=lambda *_: None)
    _opened: dict[str, Artifact] = field(default_factory=dict)

    @property
    def opened(self) -> tuple[Artifact, ...]:
        """Every artifact that was used, in the order of first use."""
        return tuple(self._opened.values())

    def get(self, request: Request, build: Build) -> Artifact:
        """Return the artifact, building it under a lock if the store does not have it whole.

        Raises:
            ArtifactError: The store cannot be written or locked, or its disk is full.
        """
        if opened := self._opened.get(request.key):
            return opened
        if request.makers is None:
            artifact, event = self._made_elsewhere(request), "found"
        else:
            with self._locked(request):
                artifact, event = self._found_or_built(request, build)
        return self._open(request, artifact, event)

    def find(self, request: Request) -> Artifact | None:
        """Return a whole artifact that answers the request, or None.

        Where the makers are unknown, the newest artifact of any maker answers.
        """
        if opened := self._opened.get(request.key):
            return opened
        found = self._found(request)
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

    def _found_or_built(self, request: Request, build: Build) -> tuple[Artifact, str]:
        folder = self._folder(request)
        if whole := self._whole(folder):
            return whole, "found"
        event = "rebuilt" if folder.exists() else "built"
        return self._build(request, build), event

    def _found(self, request: Request) -> Artifact | None:
        if request.makers is not None:
            return self._whole(self._folder(request))
        answers = [
            (manifest.made_at, folder)
            for folder, manifest in self.entries(request.kind)
            if manifest and manifest.request.identity == request.identity
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
                path.relative_to(workplace).as_posix(): _stored(path)
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
            text = msgspec.json.format(msgspec.json.encode(manifest))
            _write_durably(workplace / MANIFEST, text)
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


def read_manifest(folder: Path) -> Manifest | None:
    """Decode an entry's manifest; None where it is missing, damaged or another entry's."""
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError):
        return None
    if manifest.request.key != folder.name or manifest.request.kind != folder.parent.name:
        return None
    # A file name is data: one that would leave the entry's folder makes the entry damaged.
    return manifest if all(map(_stays_inside, manifest.files)) else None


def _stays_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def damage(folder: Path, manifest: Manifest) -> list[str]:
    """Return what is wrong with an entry's files, one line each."""
    found = []
    for name, stored in manifest.files.items():
        try:
            if _stored(folder / name) != stored:
                found.append(f"{name}: digest differs from the manifest")
        except OSError as error:
            found.append(f"{name}: {error.strerror}")
    return found


def sha256sum(paths: Iterable[Path]) -> bytes:
    """Return what the program ``sha256sum`` prints for files of one folder, a line each."""
    lines = (f"{file_sha256(path)}  {path.name}\n" for path in paths)
    return "".join(lines).encode("utf-8", "surrogateescape")


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file in hex digits, reading it in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _stored(path: Path) -> StoredFile:
    return StoredFile(path.stat().st_size, file_sha256(path))


def _digest(content: object) -> str:
    return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()


def _write_durably(path: Path, content: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
