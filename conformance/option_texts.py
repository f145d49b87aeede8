"""Parsers of the options' texts; each refuses bad text early, with a message of its own."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

SAMPLE: Literal["sample"] = "sample"
PathOrSample = Path | Literal["sample"]


def absolute_path(text: str) -> Path:
    """Parse a path; it is made absolute, because workers and tools may run elsewhere."""
    if not text:
        raise ValueError("needs a path, got nothing")
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:  # a home folder that nobody has
        raise ValueError(f"needs a path, got {text!r}: {error}") from None


def path_or_sample(text: str) -> PathOrSample:
    """Parse a path, or the word ``sample`` for what the suite draws and fits itself."""
    return SAMPLE if text == SAMPLE else absolute_path(text)


def some_name(text: str) -> str:
    """Parse a name; nothing is none, and must not count as an option that was left out."""
    if not text:
        raise ValueError("needs a name, got nothing")
    return text


def positive_count(text: str) -> int:
    """Parse a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"needs a whole number of at least 1, got {text!r}")
    return int(text)


def positive_factor(text: str) -> float:
    """Parse a finite number above 0, such as 2 or 0.5."""
    if not re.fullmatch(r"\d+(\.\d+)?", text) or not float(text):
        raise ValueError(f"needs a number above 0 such as 2 or 0.5, got {text!r}")
    return float(text)


def counts(text: str) -> tuple[int, ...]:
    """Parse whole numbers of at least 1, joined by commas, each once."""
    found = tuple(positive_count(word) for word in text.split(","))
    return _each_once(found, text)


def chip_ids(text: str) -> tuple[int, ...]:
    """Parse ACL device ids: whole numbers from 0, joined by commas, each once."""
    words = text.split(",")
    if not all(word.isdecimal() for word in words):
        raise ValueError(f"needs device ids such as 0 or 0,1, got {text!r}")
    return _each_once(tuple(map(int, words)), text)


def _each_once(found: tuple[int, ...], text: str) -> tuple[int, ...]:
    if len(set(found)) != len(found):
        raise ValueError(f"needs each number once, got {text!r}")
    return found


def soc_name(text: str) -> str:
    """Parse ATC's name of a SoC, such as Ascend310P3."""
    if not re.fullmatch(r"Ascend\w+", text):
        raise ValueError(f"needs a name such as Ascend310, got {text!r}")
    return text


def board_choice(text: str) -> str:
    """Parse which board to use: auto, none, emulated or emulated:SOC."""
    kind, colon, soc = text.partition(":")
    if colon and kind == "emulated":
        return f"emulated:{soc_name(soc)}"
    return one_of("auto", "none", "emulated")(text)


def one_of(*words: str) -> Callable[[str], str]:
    """Make a parser that takes one of the words."""

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"needs one of {', '.join(words)}, got {text!r}")
        return text

    return parse
