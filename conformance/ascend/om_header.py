"""The 256-byte header of an offline model (``.om``), and what it proves about the file.

Layout: ``ModelFileHeader`` of the public CANN graph engine, little endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from conformance.ascend.marker import is_emulated
from conformance.errors import ToolError

HEADER_SIZE = 256
MAGIC = b"IMOD"
# magic, head_size, version, checksum, length, four flags, name, ops, userdefineinfo,
# om_ir_version, model_num, platform_version, platform_type, reserved
LAYOUT = struct.Struct("<4sII64sI4B32sI32sII20sB75s")


@dataclass(frozen=True)
class OmHeader:
    """What the header says.

    Attributes:
        version: Version of the header.
        payload_size: Bytes after the header.
        encrypted: Whether the payload is encrypted.
        name: The model's name, as ATC wrote it.
        user_info: The field for users.
        ir_version: Version of the graph's representation.
        model_count: Models in the file; 0 in files of older tools.
        platform_version: The platform that it was built for, as ATC wrote it.
        emulated: Whether the file carries the mark of an emulated board.
    """

    version: int
    payload_size: int
    encrypted: bool
    name: str
    user_info: str
    ir_version: int
    model_count: int
    platform_version: str
    emulated: bool


def read_om_header(path: Path) -> OmHeader:
    """Read the header of an ``.om`` and hold it against the file, as the loader does.

    Raises:
        ToolError: The file is missing, is no ``.om``, or is not as long as its header says.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(HEADER_SIZE)
        size = path.stat().st_size
    except OSError as error:
        raise _unsound(path, error.strerror, "a file that can be read") from None
    if len(raw) < HEADER_SIZE:
        raise _unsound(path, f"{size} bytes", f"a header of {HEADER_SIZE} bytes and a payload")
    magic, head_size, *rest = LAYOUT.unpack(raw)
    if magic != MAGIC or head_size != HEADER_SIZE:
        got = f"first bytes {magic!r}, header size {head_size}"
        raise _unsound(path, got, f"{MAGIC!r} and {HEADER_SIZE}")
    header = _header(raw, rest)
    # Files with several models hold more than the first one's length says.
    if header.model_count <= 1 and header.payload_size != size - HEADER_SIZE:
        got = f"{size} bytes: cut off, or something was appended"
        raise _unsound(path, got, f"{HEADER_SIZE + header.payload_size} bytes, as its header says")
    if header.payload_size == 0:
        raise _unsound(path, "an empty payload", "a model")
    return header


def _header(raw: bytes, rest: list[bytes | int]) -> OmHeader:
    version, _, length, encrypted, _, _, _, name, _, user, ir_version, count, platform, *_ = rest
    return OmHeader(
        version=int(version),
        payload_size=int(length),
        encrypted=bool(encrypted),
        name=_text(name),
        user_info=_text(user),
        ir_version=int(ir_version),
        model_count=int(count),
        platform_version=_text(platform),
        emulated=is_emulated(raw),
    )


def _text(field: bytes | int) -> str:
    """Return a fixed-width text field up to its first zero byte."""
    return bytes(field).split(b"\0", 1)[0].decode("utf-8", "replace")


def _unsound(path: Path, got: object, expected: str) -> ToolError:
    return ToolError(
        "the .om file is not sound",
        got=got,
        expected=expected,
        where={"file": path},
        next_step="convert the model again; a full disk or a killed ATC leaves such files",
    )
