"""The mark of an emulated board, in everything that its tools print and write."""

from __future__ import annotations

EMULATOR_MARK = "ASCEND-EMULATOR"


def is_emulated(content: str | bytes) -> bool:
    """Whether a text or a file's bytes come from an emulated board."""
    if isinstance(content, bytes):
        return EMULATOR_MARK.encode() in content
    return EMULATOR_MARK in content
