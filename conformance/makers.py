"""Who makes an artifact: the versions of packages, and our own code that shapes it."""

from __future__ import annotations

import hashlib
from importlib import metadata
from pathlib import Path

PACKAGE = Path(__file__).parent
# What draws the sample images.
DRAWING = ("imagenet/sample_images.py", "imagenet/sample_drawing.py")
# What builds a network and puts weights into it.
LOADING = ("export/network.py", "export/state_dict.py")
# What makes an input tensor of a photograph.
PREPARING = ("imagenet/preprocess.py",)


def versions(*packages: str) -> dict[str, str] | None:
    """Return the installed versions of the packages, or None if one is missing."""
    try:
        return {package: metadata.version(package) for package in packages}
    except metadata.PackageNotFoundError:
        return None


def source_digest(*files: str) -> str:
    """Digest our own code that shapes an artifact: a change in it makes another artifact."""
    digest = hashlib.sha256()
    for file in files:
        digest.update((PACKAGE / file).read_bytes())
    return digest.hexdigest()
