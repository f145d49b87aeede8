"""Checks: claims with a number, and what became of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, SupportsFloat, TypeGuard

import msgspec

Scalar = bool | int | float | str | None


class Status(StrEnum):
    """What became of a check, best first; the worst of several wins."""

    PASS = "PASS"  # noqa: S105 - a status, not a password
    SKIP = "SKIP"
    INCONCLUSIVE = "INCONCLUSIVE"
    BLOCKED = "BLOCKED"
    FAIL = "FAIL"
    ERROR = "ERROR"

    @property
    def rank(self) -> int:
        """Position from best (0) to worst."""
        return list(Status).index(self)


def worst(statuses: Iterable[Status]) -> Status:
    """Return the worst of the statuses; no status at all is ERROR, for nothing was measured."""
    return max(statuses, key=lambda status: status.rank, default=Status.ERROR)


class Direction(StrEnum):
    """How a value has to lie to its bound."""

    AT_MOST = "at most"
    AT_LEAST = "at least"
    EQUAL = "equal to"
    RECORDED = "recorded"


class SkipReason(StrEnum):
    """Why a check does not apply or cannot run here; machine-readable."""

    NO_BOARD = "no-board"
    NO_ATC = "no-atc"
    NO_INFERENCE_TOOL = "no-inference-tool"
    NO_WEIGHTS = "no-weights"
    NO_IMAGES = "no-images"
    NOT_PUBLISHED_WEIGHTS = "not-published-weights"
    NOT_FULL_SET = "not-full-set"
    NO_PUBLISHED_FIGURE = "no-published-figure"
    NOT_TUNED = "not-tuned"
    NOT_STATED = "not-stated"
    ONE_BATCH_SIZE = "one-batch-size"
    MISSING_PACKAGE = "missing-package"
    NO_PASSPORT = "no-passport"


class Check(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """One claim with a number.

    Attributes:
        id: Dotted name of the claim, such as ``export.opset``.
        status: What became of it.
        value: What was measured, as a built-in type; NaN and infinity as text.
        bound: What the value is compared to.
        direction: How the value has to lie to the bound.
        unit: Unit of value and bound; empty for counts and names.
        coordinates: Model, batch, variant, SoC, tool and the like.
        classes: What the check rests on: class of the weights, the images and the board.
        source: Where the bound comes from.
        detail: What a reader needs to understand a bad status: names, files, first differences.
        hint: What to do next.
        reason: For SKIP, the machine-readable reason.
    """

    id: str
    status: Status
    value: Scalar = None
    bound: Scalar = None
    direction: Direction = Direction.RECORDED
    unit: str = ""
    coordinates: dict[str, str | int] = {}
    classes: dict[str, str] = {}
    source: str = ""
    detail: str = ""
    hint: str = ""
    reason: SkipReason | None = None

    @property
    def margin(self) -> float | None:
        """Distance from the value to its bound, positive when it holds; None if not numeric."""
        if not _is_number(self.value) or not _is_number(self.bound):
            return None
        distance = float(self.bound) - float(self.value)
        signed = {Direction.AT_MOST: distance, Direction.AT_LEAST: -distance}
        return signed.get(self.direction)

    @property
    def label(self) -> str:
        """The check's id, its coordinates and classes: ``export.opset [squeezenet1_1]``."""
        named = [
            str(value) if name == "model" else f"{name}={value}"
            for name, value in self.coordinates.items()
        ]
        named += [f"{name}={value}" for name, value in self.classes.items()]
        return f"{self.id} [{' '.join(named)}]" if named else self.id

    def describe(self) -> str:
        """Render what, got, bound, margin, coordinates, detail and hint for a reader."""
        lines = [f"{self.status}: {self.label}"]
        if self.value is not None or self.bound is not None:
            lines.append(f"  got: {_shown(self.value, self.unit)}")
        if self.direction is not Direction.RECORDED:
            lines.append(f"  must be: {self.direction} {_shown(self.bound, self.unit)}")
        if self.margin is not None:
            lines.append(f"  margin: {_shown(self.margin, self.unit)}")
        texts = {name: getattr(self, name) for name in ("source", "reason", "detail", "hint")}
        lines += [
            f"  {name}: {text}".replace("\n", "\n    ") for name, text in texts.items() if text
        ]
        return "\n".join(lines)


def _is_number(value: Scalar) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Scalar, unit: str) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return f"{text} {unit}".rstrip()


def builtin(value: Any) -> Scalar:
    """Turn a value into a built-in type, so that it can cross processes and be written as JSON."""
    if isinstance(value, str):
        return str(value)  # a subclass such as numpy.str_ does not cross processes
    if hasattr(value, "item"):
        value = value.item()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)  # a member of an enumeration is no plain number
    return float(value) if isinstance(value, SupportsFloat) else str(value)


def _written(value: Scalar) -> Scalar:
    """Return what is kept of a value: JSON has no NaN or infinity, and null would hide them."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def coordinate(value: Any) -> str | int:
    """Turn a coordinate into text or a whole number; true and false become ``yes`` and ``no``."""
    made = builtin(value)
    if isinstance(made, bool):
        return "yes" if made else "no"
    return made if isinstance(made, int) else str(made)


def _compared(direction: Direction, value: Scalar, bound: Scalar) -> Status:
    # Nothing equals nothing, and proves nothing.
    if value is None or bound is None:
        return Status.ERROR
    if any(isinstance(side, float) and math.isnan(side) for side in (value, bound)):
        return Status.ERROR
    if direction is Direction.EQUAL:
        holds = value == bound and type(value) is type(bound)
    elif isinstance(value, str) or isinstance(bound, str):
        return Status.ERROR
    elif direction is Direction.AT_MOST:
        holds = value <= bound
    else:
        holds = value >= bound
    return Status.PASS if holds else Status.FAIL


def _check(direction: Direction, id: str, value: Any, bound: Any, **rest: Any) -> Check:  # noqa: A002 - a check's own word; values of any type become built-in here
    made, against = builtin(value), builtin(bound)
    coordinates: Mapping[str, Any] = rest.pop("coordinates", {})
    return Check(
        id=id,
        status=_compared(direction, made, against),
        value=_written(made),
        bound=_written(against),
        direction=direction,
        coordinates={name: coordinate(place) for name, place in coordinates.items()},
        **rest,
    )


def at_most(id: str, value: Any, bound: Any, **rest: Any) -> Check:  # noqa: A002 - see _check
    """Make the check that ``value`` is at most ``bound``.

    NaN, nothing or text on either side is ERROR.
    """
    return _check(Direction.AT_MOST, id, value, bound, **rest)


def at_least(id: str, value: Any, bound: Any, **rest: Any) -> Check:  # noqa: A002 - see _check
    """Make the check that ``value`` is at least ``bound``.

    NaN, nothing or text on either side is ERROR.
    """
    return _check(Direction.AT_LEAST, id, value, bound, **rest)


def equal(id: str, value: Any, bound: Any, **rest: Any) -> Check:  # noqa: A002 - see _check
    """Make the check that ``value`` equals ``bound`` in value and type; NaN or nothing is ERROR."""
    return _check(Direction.EQUAL, id, value, bound, **rest)


def recorded(id: str, value: Any, **rest: Any) -> Check:  # noqa: A002 - see _check
    """Make a check without a bound: the value is measured and kept, and never decides."""
    made = _check(Direction.EQUAL, id, value, value, **rest)
    return msgspec.structs.replace(made, bound=None, direction=Direction.RECORDED)


def skipped(id: str, reason: SkipReason, detail: str, **coordinates: str | int) -> Check:  # noqa: A002 - a check's own word
    """Make the record of a check that does not apply or cannot run here."""
    return Check(
        id=id,
        status=Status.SKIP,
        reason=reason,
        detail=detail,
        coordinates={name: coordinate(place) for name, place in coordinates.items()},
    )


def holds(check: Check) -> bool:
    """Compare a check's value with its bound again, whatever its status says."""
    if check.direction is Direction.RECORDED:
        return True
    return _compared(check.direction, check.value, check.bound) is Status.PASS


class CheckFailed(AssertionError):  # noqa: N818 - an outcome, not a broken program
    """A claim was measured and does not hold: the subject is wrong (status FAIL)."""


class NotApplicable(Exception):  # noqa: N818 - an outcome, not an error
    """The check does not apply or cannot run here (status SKIP)."""

    def __init__(self, reason: SkipReason, detail: str) -> None:
        super().__init__(f"[{reason}] {detail}")
        self.reason = reason
        self.detail = detail


class Inconclusive(Exception):  # noqa: N818 - an outcome, not an error
    """Measured, but too few or too noisy to say (status INCONCLUSIVE)."""


class Blocked(Exception):  # noqa: N818 - an outcome, not an error
    """Not measured because an earlier stage failed (status BLOCKED); names that first cause."""
