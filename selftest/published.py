"""Texts and files as the real tools print and write them, for tests of what reads them."""

from __future__ import annotations

import struct
from pathlib import Path

from conformance.ascend.environment import VendorEnvironment

SAMPLES = Path(__file__).parent / "samples"


def sample(name: str) -> str:
    """A text as a real tool printed it, from ``samples/``."""
    return (SAMPLES / name).read_text()


def environment(**variables: str) -> VendorEnvironment:
    """An environment of vendor tools that has nothing of this machine's."""
    return VendorEnvironment({"PATH": "/usr/bin:/bin", **variables}, None, "test")


def om_bytes(
    payload: bytes = b"model",
    *,
    magic: bytes = b"IMOD",
    head_size: int = 256,
    length: int | None = None,
    name: bytes = b"squeezenet1_1",
    user: bytes = b"",
    platform: bytes = b"",
    model_count: int = 1,
) -> bytes:
    """An ``.om``: the 256-byte header of the public graph engine, then a payload."""
    length = len(payload) if length is None else length
    head = magic + struct.pack("<II", head_size, 0x10000000) + bytes(64)
    head += struct.pack("<I4B", length, 0, 1, 0, 0) + name.ljust(32, b"\0")
    head += struct.pack("<I", 0) + user.ljust(32, b"\0") + struct.pack("<II", 1, model_count)
    head += platform.ljust(20, b"\0") + b"\0"
    return head.ljust(256, b"\0") + payload
