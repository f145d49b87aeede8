"""What the entries of the artifact store are: requests, manifests, and files with digests."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import msgspec

from conformance.errors import ArtifactError

MANIFEST = "manifest.json"
Value = str | int | float | bool


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


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write an entry's manifest so that it outlives a loss of power.

    Raises:
        OSError: The disk is full or cannot be written.
    """
    with (folder / MANIFEST).open("wb") as stream:
        stream.write(msgspec.json.format(msgspec.json.encode(manifest)))
        stream.flush()
        os.fsync(stream.fileno())


def _stays_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def damage(folder: Path, manifest: Manifest) -> list[str]:
    """Return what is wrong with an entry's files, one line each."""
    found = []
    for name, stored in manifest.files.items():
        try:
            if stored_file(folder / name) != stored:
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


def stored_file(path: Path) -> StoredFile:
    """Measure a file: its size in bytes and its digest."""
    return StoredFile(path.stat().st_size, file_sha256(path))


def _digest(content: object) -> str:
    return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()
