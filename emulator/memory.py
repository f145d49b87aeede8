"""What a chip computed before: the same model on the same input gives the same output.

Timed rounds run the same few images again and again. A real chip does that in milliseconds; here
each image costs a hundredth of a second of real arithmetic, so a board remembers the first ones,
and what the chip computes in place of the model.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import zlib
from collections.abc import Callable
from pathlib import Path

from emulator.board import write_atomically
from emulator.tensor import Tensor

MEMORY_FOLDER = "memory"
IMAGES = 1024
"""How many images of a run are remembered."""


class Memory:
    """Outputs of one model on one board.

    Args:
        folder: The board's folder.
        made_of: Everything that the outputs depend on besides the input.
        batch: Images of one inference.
    """

    def __init__(self, folder: Path, made_of: bytes, batch: int) -> None:
        self._folder = folder / MEMORY_FOLDER / _digest(made_of)
        self._left = max(1, IMAGES // batch)

    def graph(self, make: Callable[[], bytes]) -> bytes:
        """The model that the chip computes, made once: ATC's trial leaves it to the other tools."""
        place = self._folder / "graph.outputs"
        if kept := _read(place):
            return kept[0].content
        content = make()
        self._write(place, [Tensor("uint8", (len(content),), content)])
        return content

    def recall(self, feed: bytes) -> list[Tensor] | None:
        """The outputs of an input; None if it was not seen, is damaged, or comes late in a run."""
        if self._left <= 0:
            return None
        outputs = _read(self._place(feed))
        if outputs:
            self._left -= 1
        return outputs

    def remember(self, feed: bytes, outputs: list[Tensor]) -> None:
        """Keep the outputs of an input, if it is one of the first of a run."""
        if self._left <= 0:
            return
        self._left -= 1
        self._write(self._place(feed), outputs)

    def _write(self, place: Path, outputs: list[Tensor]) -> None:
        # Nobody asked for it: on a full disk the tool does its work all the same.
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            write_atomically(place, _packed(outputs))

    def _place(self, feed: bytes) -> Path:
        return self._folder / f"{_digest(feed)}.outputs"


def _read(place: Path) -> list[Tensor] | None:
    """What was written; None where nothing whole lies."""
    try:
        return _unpacked(place.read_bytes())
    except (OSError, ValueError):
        return None


def _packed(outputs: list[Tensor]) -> bytes:
    """A line with the check sum of what follows, one of JSON that lists it, then the values."""
    values = b"".join(output.content for output in outputs)
    listed = [[output.dtype, output.shape, len(output.content)] for output in outputs]
    body = json.dumps(listed).encode() + b"\n" + values
    return b"%d\n%s" % (zlib.crc32(body), body)


def _unpacked(content: bytes) -> list[Tensor]:
    checksum, _, body = content.partition(b"\n")
    if zlib.crc32(body) != int(checksum):
        raise ValueError("damaged")
    head, _, values = body.partition(b"\n")
    outputs, start = [], 0
    for dtype, shape, size in json.loads(head):
        outputs.append(Tensor(dtype, tuple(shape), values[start : start + size]))
        start += size
    return outputs


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
