"""Weights files: where they lie, and whether they are the published ones."""

from __future__ import annotations

import difflib
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from conformance.errors import CheckpointError
from conformance.spec import ModelSpec, PublishedWeights

WeightsClass = Literal["published", "custom", "sample"]

_SHA256_DIGITS = 64
_BLOCK_BYTES = 1 << 20


class Digests(NamedTuple):
    """Lower-case hex digests of one file."""

    sha256: str
    md5: str


@dataclass(frozen=True)
class Checkpoint:
    """A weights file and what is known of it.

    ``published_as`` is the published file's name, and set exactly if the class is ``published``.
    """

    path: Path
    sha256: str
    weights_class: WeightsClass
    origin: str
    published_as: str | None = None


def identify(path: Path, spec: ModelSpec, *, found: str) -> Checkpoint:
    """Describe a weights file that is no sample; ``found`` says how it came, for people.

    Raises:
        CheckpointError: The file is missing, empty, a folder or cannot be read.
    """
    digests = file_digests(path)
    published = _proved(digests, spec)
    return Checkpoint(
        path=path,
        sha256=digests.sha256,
        weights_class="published" if published else "custom",
        origin=f"{path}, {found}: {_reason(digests, spec)}",
        published_as=published.file if published else None,
    )


def classify(path: Path, spec: ModelSpec) -> WeightsClass:
    """Return ``published`` if a whole digest proves it, else ``custom``.

    Whole digests are the spec's md5 and a sha256 of 64 digits. A shorter sha256 proves nothing:
    torch names its files by 8 digits, which anyone can meet by trying.

    Raises:
        CheckpointError: The file is missing, empty, a folder or cannot be read.
    """
    return "published" if _proved(file_digests(path), spec) else "custom"


def check_published(path: Path, weights: PublishedWeights, *, next_step: str) -> None:
    """Demand that the file has every digest that is known of the published one.

    Raises:
        CheckpointError: A digest differs, or the file cannot be read.
    """
    digests = file_digests(path)
    if digests.sha256.startswith(weights.sha256_prefix) and weights.md5 in (None, digests.md5):
        return
    md5 = f"md5 {weights.md5}, " if weights.md5 else ""
    beginning = "" if len(weights.sha256_prefix) == _SHA256_DIGITS else "beginning "
    raise CheckpointError(
        f"this is not the published {weights.file}",
        got=f"md5 {digests.md5}, sha256 {digests.sha256}, {path.stat().st_size} bytes",
        expected=f"{md5}sha256 {beginning}{weights.sha256_prefix}",
        where={"file": path, "published at": weights.url},
        next_step=next_step,
    )


def torch_cache_candidates(spec: ModelSpec) -> list[Path]:
    """Return where torch's own downloads of the published files lie, in the spec's order.

    The folder follows ``torch.hub.get_dir``: ``$TORCH_HOME``, else ``$XDG_CACHE_HOME/torch``, else
    ``~/.cache/torch``.
    """
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME", str(Path(cache) / "torch"))
    folder = Path(home).expanduser() / "hub" / "checkpoints"
    return [folder / weights.file for weights in spec.weights]


def find_published(spec: ModelSpec) -> Path | None:
    """Return the first published file in torch's cache, or None if the cache has none.

    A file of which only the beginning of a sha256 is known is passed over: nothing could prove
    it, and the download of one that can be proved is better.

    Raises:
        CheckpointError: A cached file bears a published name and has a wrong digest, or cannot be
            read. It is never removed: it may be somebody's only copy.
    """
    for weights, path in zip(spec.weights, torch_cache_candidates(spec), strict=True):
        if weights.provable and _lies_at(path):
            check_published(
                path, weights, next_step="remove the file, or pass other weights: --weights=FILE"
            )
            return path
    return None


def file_digests(path: Path) -> Digests:
    """Return sha256 and md5 of a file, read once.

    Raises:
        CheckpointError: The file is missing, empty, a folder or cannot be read.
    """
    check_weights_file(path)
    # md5 is what the Ascend ModelZoo guide of 2021 publishes.
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    try:
        with path.open("rb") as stream:
            while block := stream.read(_BLOCK_BYTES):
                sha256.update(block)
                md5.update(block)
    except OSError as error:
        raise _unusable(path, error.strerror or error, "repair it or pass another file") from None
    return Digests(sha256.hexdigest(), md5.hexdigest())


def check_weights_file(path: Path) -> None:
    """Demand a regular file that is not empty and can be opened.

    Raises:
        CheckpointError: It is not; the error says what is there instead.
    """
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode):  # opening a pipe would wait for its writer
            path.open("rb").close()
    except FileNotFoundError:
        raise _unusable(path, "no such file", _near(path)) from None
    except OSError as error:
        step = "check the path and its permissions"
        raise _unusable(path, error.strerror or error, step) from None
    if stat.S_ISDIR(status.st_mode):
        raise _unusable(path, "a folder", "name the .pth file in it")
    if not stat.S_ISREG(status.st_mode):
        raise _unusable(path, "a pipe, socket or device", "save the weights to a file")
    if status.st_size == 0:
        raise _unusable(path, "an empty file, 0 bytes", "copy or download it again")


def _unusable(path: Path, got: object, next_step: str) -> CheckpointError:
    return CheckpointError(
        "the weights file cannot be used",
        got=got,
        expected="a readable file written by torch.save",
        where={"file": path},
        next_step=next_step,
    )


def _near(path: Path) -> str:
    """Return what to do about a missing file, naming one of its folder that is spelt alike."""
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return f"there is no readable folder {path.parent}: check the path"
    near = difflib.get_close_matches(path.name, names, n=1)
    return f"did you mean {path.parent / near[0]}?" if near else "check the path"


def _lies_at(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True  # something is in the way, and reading it will say what
    return True


def _proved(digests: Digests, spec: ModelSpec) -> PublishedWeights | None:
    """Return the published file that a whole digest proves this one to be."""
    for weights in spec.weights:
        # A prefix shorter than a whole sha256 never equals one.
        if digests.md5 == weights.md5 or digests.sha256 == weights.sha256_prefix:
            return weights
    return None


def _reason(digests: Digests, spec: ModelSpec) -> str:
    if published := _proved(digests, spec):
        proof = "md5" if digests.md5 == published.md5 else "sha256"
        return f"its {proof} is that of the published {published.file}"
    for weights in spec.weights:
        if digests.sha256.startswith(weights.sha256_prefix):
            prefix = weights.sha256_prefix
            return f"its sha256 begins {prefix} like {weights.file}, which is no proof of it"
    names = " or ".join(weights.file for weights in spec.weights)
    return f"its digests are not those of the published {names}"
