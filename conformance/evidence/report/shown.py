"""How numbers and texts are shown: short, and unable to pretend to be something else."""

from __future__ import annotations

import datetime as dt
import math
import unicodedata

from conformance.check import Direction, Scalar, Status

MAX_TEXT = 2_000
# A shape for each status, so that nothing rests on colour alone.
SYMBOLS = {
    Status.PASS: "✓",
    Status.SKIP: "·",
    Status.INCONCLUSIVE: "?",
    Status.BLOCKED: "⊘",
    Status.FAIL: "✕",
    Status.ERROR: "!",
}
# Control, format (which holds the marks that turn text around), surrogate, private, unassigned.
_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn"}
_KEPT = "\n\t"


def visible(text: str) -> str:
    """Return a text of limited length in which every invisible character is spelt out."""
    cut = text[:MAX_TEXT]
    plain = cut if cut.isascii() and cut.isprintable() else "".join(map(_spelt, cut))
    left = len(text) - len(cut)
    return f"{plain} … ({left:,} more characters in the bundle)" if left else plain


def _spelt(character: str) -> str:
    if character in _KEPT or unicodedata.category(character) not in _INVISIBLE:
        return character
    return f"\\u{ord(character):04x}"


def number(value: Scalar, unit: str = "") -> str:
    """Return a value with its unit as a reader wants it; a digest is cut short."""
    return f"{_bare(value)} {unit}".strip()


def _bare(value: Scalar) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool) or not isinstance(value, int | float):
        text = str(value)
        return f"{text[:12]}…" if len(text) == 64 and text.isalnum() else text
    if isinstance(value, int) or not math.isfinite(value):
        return str(value) if abs(value) < 10_000 else f"{value:,}"
    return _rounded(value)


def _rounded(value: float) -> str:
    size = abs(value)
    if value == 0:
        return "0"
    if size >= 1_000_000 or size < 0.001:
        return f"{value:.3g}"
    if size >= 1_000:
        return f"{value:,.0f}" if size >= 10_000 or value % 1 == 0 else f"{value:,.1f}"
    return f"{value:.4g}"


def bound(direction: Direction, value: Scalar) -> str:
    """Return what a value must be; ``recorded`` where it is only kept."""
    signs = {Direction.AT_MOST: "≤ ", Direction.AT_LEAST: "≥ ", Direction.EQUAL: "= "}
    if direction is not Direction.RECORDED:
        return signs[direction] + _bare(value)
    return "recorded" if value is None else _bare(value)


def duration(seconds: float) -> str:
    """Return a time span, such as ``3 min 20 s``."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def elapsed(started: str, ended: str) -> float | None:
    """Return the seconds between two times in ISO 8601; None if one is something else."""
    try:
        return (
            dt.datetime.fromisoformat(ended) - dt.datetime.fromisoformat(started)
        ).total_seconds()
    except (ValueError, TypeError):
        return None


def moment(text: str) -> str:
    """Return a time in ISO 8601 as date and time in UTC; what is no time stays as it is."""
    try:
        time = dt.datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{time.day} {time:%B %Y, %H:%M} UTC"


def place(coordinates: dict[str, str | int]) -> str:
    """Return coordinates as a reader says them: ``squeezenet1_1 bs16 tuned``."""
    return " ".join(filter(None, (_word(*pair) for pair in coordinates.items())))


def _word(name: str, value: str | int) -> str:
    if name == "batch":
        return f"bs{value}"
    if name == "tuned":
        return "tuned" if value == "yes" else ""
    return str(value) if name in {"model", "soc", "scale", "tool", "variant"} else f"{name}={value}"
