"""One result file of an inference tool: TXT, BIN or NPY to a row of float32 scores."""

from __future__ import annotations

import io
import math
import os
import re
import struct

import msgspec
import numpy as np
import numpy.typing as npt

from conformance.errors import DumpError

Row = npt.NDArray[np.float32]

_NUMBER = re.compile(rb"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_SEPARATORS = b" \t"
_BLANKS = _SEPARATORS + b"\r\n"
# Numbers of a line that tell whether a tool writes as many decimals of each.
_GLANCE = 8
# Joined by commas, a line of numbers is a JSON array, and this decoder reads one several times
# faster than numpy's text readers and as exactly.
_floats = msgspec.json.Decoder(tuple[float, ...])


def read_txt(path: str) -> tuple[bytes, bytes]:
    """Read the one line of a TXT dump.

    Returns:
        The line without blanks at its ends, and the blanks and line ends behind its last number
        (``ais_bench`` writes a blank and a line end there): without any, it may be cut short.

    Raises:
        DumpError: The file is unreadable, empty or has more than one line; names it.
    """
    content = _content(path)
    filled = content.rstrip(_BLANKS)
    line = filled.lstrip(_SEPARATORS)
    if not line:
        raise dump_error("a dump is empty", path, f"{len(content)} bytes", "one line of numbers")
    if b"\n" in line or b"\r" in line:
        count = len(line.splitlines())
        raise dump_error("a dump has several lines", path, f"{count} lines", "exactly one line")
    return line, content[len(filled) :]


def parse_line(line: bytes, path: str) -> Row:
    """Parse numbers between blanks into float32, each rounded once from its decimal text.

    Raises:
        DumpError: A field is not a finite number; names file, field and text.
    """
    try:
        if b"," not in line:
            values = _floats.decode(b"[%b]" % line.replace(b" ", b","))
            return np.frombuffer(struct.pack(f"={len(values)}f", *values), np.float32)
    except (msgspec.DecodeError, OverflowError):
        pass  # not the plain form: the fields one by one find out whether it is wrong
    # bytes.split() would also split at a vertical tab or a form feed, which no tool writes.
    fields = filter(None, line.replace(b"\t", b" ").split(b" "))
    return np.array([_number(field, n, path) for n, field in enumerate(fields)], np.float32)


def _number(field: bytes, position: int, path: str) -> float:
    value = float(field) if _NUMBER.fullmatch(field) else float("nan")
    if not abs(value) <= float(np.finfo(np.float32).max):
        got = f"field {position + 1}: {field[:40]!r}"
        raise dump_error("a dump holds what is no finite number", path, got, "numbers only")
    return value


def looks_cut(line: bytes) -> bool:
    """Tell whether the last number has fewer decimals than all the others agree on.

    Where the others have not as many decimals each, the last one tells only if it ends in its
    point.
    """
    others, _, last = line.replace(b"\t", b" ").rpartition(b" ")
    some = {_decimals(field) for field in others.split(None, _GLANCE)[:_GLANCE]}
    if not some or _decimals(last) >= max(some):
        return False  # as nearly every file; this is asked of each of 50,000
    if len(some) > 1 or len({_decimals(field) for field in others.split()}) > 1:
        return last[-1:] == b"." and b". " not in others
    return True


def _decimals(field: bytes) -> int:
    return len(field.partition(b".")[2])


def read_bin(path: str, row: Row) -> None:
    """Fill ``row`` with the little-endian float32 values of a BIN dump of the same size.

    Raises:
        DumpError: The file is unreadable or of another size; names it.
    """
    try:
        # Three system calls and no Python file object: this runs once for each of 50,000 images.
        descriptor = os.open(path, os.O_RDONLY)
        try:
            count = os.readv(descriptor, [row.view(np.uint8).data, bytearray(1)])
        finally:
            os.close(descriptor)
    except OSError as error:
        raise unreadable(path, error) from None
    if count != row.nbytes:
        got = f"{count} bytes or more" if count > row.nbytes else f"{count} bytes"
        raise dump_error("a dump has the wrong size", path, got, f"{row.nbytes} bytes")


def read_npy(path: str) -> Row:
    """Read an NPY dump of one image: floating point, all axes but one of length 1.

    Raises:
        DumpError: The file is unreadable, no such array, or not floating point; names it.
    """
    file = io.BytesIO(_content(path))
    try:
        shape, dtype = _npy_header(file)
    except Exception as error:  # noqa: BLE001 - a damaged header is evaluated, and raises anything
        raise dump_error("a dump is no whole NPY file", path, error, "an NPY file") from None
    # Compared before memory is taken: a header may claim any size.
    content = file.read()
    count, width = math.prod(shape), max(shape, default=0)
    if count != width or dtype.kind != "f" or len(content) != count * dtype.itemsize:
        got = f"{dtype} {shape} in {len(content)} bytes"
        raise dump_error("a dump has the wrong form", path, got, "floats of shape (1, classes)")
    with np.errstate(over="ignore"):  # what is beyond float32 becomes infinite, and is refused
        return np.frombuffer(content, dtype).astype(np.float32)


def _npy_header(file: io.BytesIO) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    else:
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    return shape, dtype


def dump_error(what: str, path: str, got: object, expected: object) -> DumpError:
    """Make the error that one result file is wrong."""
    return DumpError(
        what,
        got=got,
        expected=expected,
        where={"file": path},
        next_step="empty the result folder and run the inference again",
    )


def _content(path: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            size = os.fstat(descriptor).st_size
            content = os.read(descriptor, size + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise unreadable(path, error) from None
    return content


def unreadable(path: str, error: OSError) -> DumpError:
    """Make the error that one result file cannot be read."""
    return dump_error("a dump cannot be read", path, error, "a readable file")
