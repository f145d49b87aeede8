"""File names that survive the vendor's tools, which cut an image's name at its first dot."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from conformance.errors import DatasetError

_PLAIN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9]+")
_STRANGE = re.compile(r"[^A-Za-z0-9_-]+")
_DIGITS_KEPT = 12


def result_stem(name: str) -> str:
    """Return the name, without extension, that an image's ``.bin`` file and results carry.

    A plain name keeps what stands before its only dot, as the guide's scripts do:
    ``ILSVRC2012_val_00000001.JPEG`` becomes ``ILSVRC2012_val_00000001``. The tools cut a name at
    its first dot and the info file ends a path at a blank, so every other name (several dots,
    blanks, letters outside ASCII, a folder) becomes its plain characters and 12 digits of its
    sha256: ``a b.c.JPEG`` becomes ``a_b_c-<digits>``.
    """
    if _PLAIN.fullmatch(name):
        return name.partition(".")[0]
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS_KEPT]
    readable = _STRANGE.sub("_", name.rpartition(".")[0] or name).strip("_")
    return f"{readable or 'image'}-{digest}"


def stems_by_name(names: Iterable[str]) -> dict[str, str]:
    """Map each image name to its :func:`result_stem`, in the given order.

    Raises:
        DatasetError: Two images would share one stem, so that one result would overwrite the other.
    """
    stems: dict[str, str] = {}
    owners: dict[str, str] = {}
    for name in names:
        stem = result_stem(name)
        if stem in owners:
            raise DatasetError(
                "two images would share one result file",
                got=f"{owners[stem]!r} and {name!r} both become {stem!r}",
                expected="image names that differ before their first dot",
                next_step="rename one of the two images, and its line in the label file",
            )
        owners[stem] = name
        stems[name] = stem
    return stems
