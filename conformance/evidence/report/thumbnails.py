"""Small pictures of images, as data in the page itself."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from conformance.errors import DatasetError

SIDE = 160
QUALITY = 72


def thumbnail(folder: Path | None, name: str) -> str:
    """Return a small JPEG of an image as a ``data:`` address; empty if it cannot be shown.

    Args:
        folder: The image folder, or the folder above its ``val``; None for none.
        name: The image's file name, as a bundle states it: it never leaves the folder.
    """
    path = _image_path(folder, name)
    if path is None:
        return ""
    from PIL import Image

    from conformance.imagenet.preprocess import IMAGE_FORMATS, MAX_PIXELS

    try:
        with Image.open(path, formats=IMAGE_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                return ""
            image.draft("RGB", (2 * SIDE, 2 * SIDE))
            small = image.convert("RGB")
    except Exception:  # noqa: BLE001 - decoders raise anything; a picture is no evidence
        return ""
    small.thumbnail((SIDE, SIDE))
    content = io.BytesIO()
    small.save(content, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"


def _image_path(folder: Path | None, name: str) -> Path | None:
    if folder is None or not name or name in {".", ".."} or set(name) & set("/\\\0"):
        return None
    for place in (folder / "val", folder):
        path = place / name
        try:
            if path.is_file() and path.resolve().is_relative_to(place.resolve()):
                return path
        except (OSError, ValueError):
            continue
    return None


def demand_folder(folder: Path | None) -> None:
    """Demand that the folder of the images is one.

    Raises:
        DatasetError: It is not there.
    """
    if folder is not None and not folder.is_dir():
        raise DatasetError(
            "there are no images",
            expected="a folder with the images, or with val/",
            where={"folder": folder},
            next_step="name the folder of the images with --imagenet=DIR, or use --no-thumbnails",
        )
