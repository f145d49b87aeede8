"""The small awkward pictures that a preprocessing passport is about, and how they were drawn.

The files lie in ``passport/`` and are part of this package, for another encoder may write other
bytes. They were drawn by :func:`draw`, ``python -m conformance passport draw``, with Pillow 13.0.0
and libjpeg-turbo 3.2.0.

Their sides are odd and small. Once resized, each long side is truncated where rounding would add
a pixel, and the margin of its crop ends in half a pixel, which rounds up to even where floor would
not. Edges of colour and fine noise tell chroma upsampling and filters apart, and the largest is
large enough for a JPEG decoder to shrink it by itself.
"""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

FOLDER = Path(__file__).with_name("passport")
_CELL = 29  # side of a patch of one colour; an odd number, so that edges cut JPEG's blocks
_EXIF_ORIENTATION, _QUARTER_TURN = 0x0112, 6
_TRANSPARENT = 5  # index of a colour of the palette


@dataclasses.dataclass(frozen=True)
class Drawing:
    """How one picture is drawn and encoded.

    Attributes:
        file: Its name in the folder.
        size: Width and height, in pixels.
        mode: Pillow's mode: RGB, L, CMYK or P.
        about: What is awkward about it.
        encoding: Further arguments of Pillow's encoder.
    """

    file: str
    size: tuple[int, int]
    mode: str
    about: str
    encoding: dict[str, Any] = dataclasses.field(default_factory=dict)


DRAWINGS = (
    Drawing("progressive.jpg", (513, 641), "RGB", "progressive, chroma 4:2:0, twice the short side",
            {"quality": 60, "subsampling": "4:2:0", "progressive": True}),
    Drawing("turned.jpg", (331, 265), "RGB", "chroma 4:2:2, EXIF asks for a quarter turn",
            {"quality": 75, "subsampling": "4:2:2"}),
    Drawing("grey.jpg", (133, 99), "L", "greyscale, must be enlarged", {"quality": 90}),
    Drawing("cmyk.jpg", (271, 279), "CMYK", "four inks, no colour profile", {"quality": 75}),
    Drawing("palette.png", (79, 61), "P", "palette, one colour of it transparent",
            {"transparency": _TRANSPARENT, "optimize": True}),
)  # fmt: skip


def draw(drawing: Drawing) -> bytes:
    """Draw and encode one picture; the same bytes for one build of Pillow and its libraries."""
    random = np.random.Generator(np.random.PCG64(DRAWINGS.index(drawing)))
    width, height = drawing.size
    cells = random.integers(0, 256, (height // _CELL + 1, width // _CELL + 1, 3), np.uint8)
    patches = cells.repeat(_CELL, 0).repeat(_CELL, 1)[:height, :width].astype(np.int64)
    rows, columns = np.ogrid[:height, :width]
    ramps = np.stack([rows + columns, rows - columns, 2 * columns - rows], axis=2) // 4 % 64
    noise = random.integers(-40, 41, (height, width, 3)) * (rows % 128 < 8)[..., None]
    pixels = np.clip(patches + ramps - 32 + noise, 0, 255).astype(np.uint8)
    return _encoded(Image.fromarray(pixels), drawing)


def _encoded(picture: Image.Image, drawing: Drawing) -> bytes:
    file, more = io.BytesIO(), dict(drawing.encoding)
    if drawing.mode == "P":
        picture.quantize(64, Image.Quantize.MEDIANCUT).save(file, "PNG", **more)
        return file.getvalue()
    if "EXIF" in drawing.about:
        more["exif"] = Image.Exif()
        more["exif"][_EXIF_ORIENTATION] = _QUARTER_TURN
    picture.convert(drawing.mode).save(file, "JPEG", **more)
    return file.getvalue()
