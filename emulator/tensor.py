"""What a chip returns, as bytes: importing numpy would take a tool longer than its work."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

CODES = {
    "float32": "f",
    "float64": "d",
    "int8": "b",
    "int16": "h",
    "int32": "i",
    "int64": "q",
    "uint8": "B",
    "bool": "?",
}
"""Names of numpy for element types, and what ``struct`` calls them."""


def struct_format(dtype: str, shape: Sequence[int]) -> str:
    """How ``struct`` writes a tensor: ``=12f``."""
    return f"={prod(shape)}{CODES[dtype]}"


class Tensor(NamedTuple):
    """Values in C order.

    Attributes:
        dtype: Element type, a key of ``CODES``.
        shape: Size of each axis.
        content: The values' bytes.
    """

    dtype: str
    shape: tuple[int, ...]
    content: bytes

    def rows(self) -> list[Tensor]:
        """Split along the first axis, which goes; one row for each image of a batch."""
        count, *shape = self.shape
        size = len(self.content) // max(1, count)
        parts = (self.content[size * row : size * (row + 1)] for row in range(count))
        return [Tensor(self.dtype, tuple(shape), part) for part in parts]

    def values(self) -> list[Any]:
        """All values as Python's numbers."""
        return list(struct.unpack(struct_format(self.dtype, self.shape), self.content))

    def array(self) -> npt.NDArray[Any]:
        """The same as an array of numpy, which may be written to."""
        import numpy as np

        return np.frombuffer(self.content, self.dtype).reshape(self.shape).copy()


def tensor(array: np.ndarray[Any, np.dtype[Any]]) -> Tensor:
    """The values of an array of numpy."""
    return Tensor(array.dtype.name, array.shape, array.tobytes())


def stacked(rows: Sequence[Tensor]) -> Tensor:
    """Put rows of one shape under each other; the opposite of ``Tensor.rows``."""
    first = rows[0]
    return Tensor(first.dtype, (len(rows), *first.shape), b"".join(row.content for row in rows))
