"""``predictions.npz``: label, best classes and their scores of each image, per engine.

They are five of each engine, and twenty of the reference, by which changed decisions are judged.

Reading believes nothing: every member's header is read and compared with its size before an array
is made of it, so that neither a zip bomb nor a header that promises a terabyte takes memory.
"""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from conformance.errors import EvidenceError
from conformance.evidence.bundle_files import write_whole
from conformance.metrics.best import DEPTH, Best

# 50,000 images by forty engines are 60 MB.
MAX_UNPACKED = 512 * 1024 * 1024
MAX_MEMBERS = 1000
NAMES, LABELS = "names.npy", "labels.npy"
IDS, SCORES = "ids", "scores"
UNREADABLE = (
    *(OSError, ValueError, EOFError, NotImplementedError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)
DTYPES = {"names": "|u1", "labels": "<i4", IDS: "<i4", SCORES: "<f4"}


@dataclass(frozen=True, eq=False)
class Predictions:
    """Images with their labels (int32, images), and the best classes by the engines' names."""

    names: tuple[str, ...]
    labels: npt.NDArray[np.int32]
    sets: dict[str, Best]

    @property
    def list_sha256(self) -> str:
        """Digest of the list of images: every name and label, in order."""
        return list_sha256(self.names, self.labels.tolist())

    def hits(self, name: str) -> tuple[int, ...]:
        """Count the images whose label is among the N best classes, for each N up to 5."""
        right = self.sets[name].ids[:, :DEPTH] == self.labels[:, np.newaxis]
        return tuple(int(count) for count in np.cumsum(right.sum(axis=0)))

    def right(self, name: str, n: int) -> npt.NDArray[np.bool_]:
        """Tell for each image whether its label is among the N best classes."""
        found = self.sets[name].ids[:, :n] == self.labels[:, np.newaxis]
        return np.asarray(found.any(axis=1), np.bool_)

    def ties(self, name: str) -> tuple[int, ...]:
        """Count, for each N, the images whose label owes its place to the order of equal scores."""
        best = self.sets[name]
        right = best.ids == self.labels[:, np.newaxis]
        last = best.scores.shape[1] - 1
        equal = [best.scores == best.scores[:, [min(n + 1, last)]] for n in range(last + 1)]
        return tuple(int((right & tied)[:, : n + 1].sum()) for n, tied in enumerate(equal))


def list_sha256(names: Sequence[str], labels: Sequence[int]) -> str:
    """Return the sha256 over every image's name and label, in order."""
    lines = (f"{name}\0{label}\n" for name, label in zip(names, labels, strict=True))
    return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()


def write_predictions(path: Path, predictions: Predictions) -> Path:
    """Write the file, compressed, whole or not at all.

    Raises:
        EvidenceError: It cannot be written.
    """
    blob = "\0".join(predictions.names).encode(errors="surrogateescape")
    arrays: dict[str, npt.NDArray[Any]] = {
        "names": np.frombuffer(blob, np.uint8),
        "labels": predictions.labels.astype("<i4"),
    }
    for name, best in predictions.sets.items():
        arrays[f"{name}/{IDS}"] = best.ids.astype("<i4")
        arrays[f"{name}/{SCORES}"] = best.scores.astype("<f4")
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]  # names, no options of numpy's
    return write_whole(path, content.getvalue())


def read_predictions(path: Path) -> Predictions:
    """Read the file of a bundle, believing nothing.

    Raises:
        EvidenceError: It is missing, truncated, too large, or holds what cannot be predictions:
            other types or shapes, NaN, classes out of order, repeated images.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = {name: _array(archive, name) for name in _members(archive)}
        return _predictions(arrays)
    except UNREADABLE as error:
        raise EvidenceError(
            "the predictions cannot be read",
            got=str(error) or type(error).__name__,
            expected="the file that the run wrote",
            where={"file": path},
            next_step="copy the bundle again; do not trust it if that does not help",
        ) from None


def _members(archive: zipfile.ZipFile) -> list[str]:
    members = archive.infolist()
    unpacked = sum(member.file_size for member in members)
    if len(members) > MAX_MEMBERS or unpacked > MAX_UNPACKED:
        raise ValueError(
            f"{len(members)} arrays of {unpacked} bytes; at most {MAX_MEMBERS} of {MAX_UNPACKED}"
        )
    names = [member.filename for member in members]
    if len(set(names)) != len(names) or not {NAMES, LABELS} <= set(names):
        raise ValueError(f"needs {NAMES} and {LABELS}, and each array once")
    return names


def _array(archive: zipfile.ZipFile, member: str) -> npt.NDArray[Any]:
    """Return one array, once its header is known to promise exactly the bytes that are there."""
    kind = member.removesuffix(".npy").rpartition("/")[2]
    content = archive.read(member)
    stream = io.BytesIO(content)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError(f"{member} has another format than numpy's first")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream, max_header_size=4096)
    held = len(content) - stream.tell()
    if dtype.str != DTYPES.get(kind) or fortran or math.prod(shape) * dtype.itemsize != held:
        raise ValueError(f"{member} is {dtype} {shape} in {held} bytes")
    return np.frombuffer(content, dtype, offset=stream.tell()).reshape(shape)


def _predictions(arrays: Mapping[str, npt.NDArray[Any]]) -> Predictions:
    names = tuple(arrays[NAMES].tobytes().decode(errors="surrogateescape").split("\0"))
    labels = arrays[LABELS]
    if labels.shape != (len(names),) or len(set(names)) != len(names):
        raise ValueError(f"{len(names)} names, {len(set(names))} distinct, {labels.shape} labels")
    keys = {member.rpartition("/")[0] for member in arrays} - {""}
    sets = {key: _best(arrays, key, len(names)) for key in sorted(keys)}
    return Predictions(names, labels, sets)


def _best(arrays: Mapping[str, npt.NDArray[Any]], key: str, images: int) -> Best:
    try:
        ids, scores = arrays[f"{key}/{IDS}.npy"], arrays[f"{key}/{SCORES}.npy"]
    except KeyError as error:
        raise ValueError(f"{error} is missing") from None
    if ids.ndim != 2 or ids.shape != scores.shape or len(ids) != images or not ids.shape[1]:
        raise ValueError(f"{key}: ids {ids.shape}, scores {scores.shape}, {images} images")
    if not np.isfinite(scores).all() or (np.diff(scores, axis=1) > 0).any():
        raise ValueError(f"{key}: scores are not finite, or not the best first")
    if (np.diff(np.sort(ids, axis=1), axis=1) == 0).any() or (ids < 0).any():
        raise ValueError(f"{key}: an image has the same class twice, or a class below 0")
    return Best(ids, scores)
