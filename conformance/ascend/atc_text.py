"""Read what ATC prints: did it succeed, and why not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

SUCCESS = "ATC run success"
FAILURE = "ATC run failed"
# E10001, EE1001, EZ9999, EL0003 (also printed as EL003), W11001; texts follow with or without a
# process id and time between.
CODE = re.compile(r"^\s*(?P<code>[EW][A-Z0-9]\d{2,5}):\s*(?P<text>.*)$")
SOLUTION = re.compile(r"^\s*(?:Solution|Possible Cause)\s*:\s*(.*)$")
# The operator library's note on slow operators.
HARMLESS_CODES = frozenset({"W11001"})
# Python's remarks on old ways of writing inside ATC, progress dots, and what a more talkative --log
# prints below the level of an error.
HARMLESS = re.compile(
    r"(?:Import|Deprecation|Future|Syntax)Warning\b|^[.\s]*$|^\s*\[(?:DEBUG|INFO|WARNING|TRACE)\]"
)
SUSPECT = re.compile(r"\[ERROR\]|\berror\b|\bfailed\b|Traceback|No space left", re.IGNORECASE)
# The model was built, but not as it was asked for; ATC only warns.
TALKATIVE = re.compile(r"^\s*\[(?:DEBUG|INFO|TRACE)\]")
DEGRADED = re.compile(
    r"\bf(?:all|alls|alling|ell)[ -]?back\b|"
    r"\bprecision\b.*\b(?:reduced|lowered|lost|loss|degraded)\b|"
    r"\b(?:reduced|lower|loss of|degraded) precision\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class AtcMessage:
    """One coded message of ATC.

    Attributes:
        code: Such as ``E10001``, ``EZ3003`` or ``W11001``.
        text: Its first line.
        solution: What ATC suggests, empty if nothing.
    """

    code: str
    text: str
    solution: str

    @property
    def is_error(self) -> bool:
        """Whether it is an error rather than a warning."""
        return self.code.startswith("E")


def succeeded(text: str) -> bool:
    """Whether ATC says so itself: the success line, and no failure line."""
    return SUCCESS in text and FAILURE not in text


def messages(text: str) -> tuple[AtcMessage, ...]:
    """Return every coded message with the solution that follows it."""
    found: list[AtcMessage] = []
    for line in text.splitlines():
        if coded := CODE.match(line):
            found.append(AtcMessage(coded["code"], coded["text"].strip(), ""))
        elif found and not found[-1].solution and (hint := SOLUTION.match(line)):
            found[-1] = AtcMessage(found[-1].code, found[-1].text, hint[1].strip())
    return tuple(found)


def first_error(text: str) -> AtcMessage | None:
    """Return the first error message: ATC prints the cause before what follows from it."""
    return next((message for message in messages(text) if message.is_error), None)


def unclean_lines(text: str) -> tuple[str, ...]:
    """Return the lines of a successful run that speak of an error, or of a lesser model.

    W11001, ImportWarnings and progress dots are no failure; a warning with any other code is told.
    """
    return tuple(_unclean(text.splitlines()))


def _unclean(lines: list[str]) -> Iterator[str]:
    for line in lines:
        coded = CODE.match(line)
        if coded:
            told = coded["code"] not in HARMLESS_CODES
        else:
            told = bool(SUSPECT.search(line)) and not HARMLESS.search(line)
        if told or (DEGRADED.search(line) and not TALKATIVE.search(line)):
            yield line.strip()
