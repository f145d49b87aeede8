"""What each known deviation was measured to change: the table ``deviations.toml``."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

import msgspec

from conformance.errors import DatasetError
from conformance.imagenet.deviations import DEVIATIONS
from conformance.imagenet.steps import Step

EFFECTS_FILE = Path(__file__).with_name("deviations.toml")
Count = Annotated[int, msgspec.Meta(ge=0)]


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A TOML table: no field may be unknown."""


class Effect(_Table, frozen=True):
    """What one deviation changes.

    Attributes:
        name: The deviation.
        step: The first step that shows it.
        inputs: Images whose input differs.
        decisions: Images whose Top-1 class differs from the one given the right input.
        hits: Top-1 to Top-5 hits.
    """

    name: str
    step: Step
    inputs: Count
    decisions: Count
    hits: tuple[int, int, int, int, int]


class Effects(_Table, frozen=True):
    """The whole table, and how it was measured.

    Attributes:
        measured: Date, UTC.
        machine: Processor and versions.
        subject: Model, weights and photographs.
        images: Number of photographs.
        hits: Top-1 to Top-5 hits of the right preparation.
        effects: One for each deviation.
    """

    measured: str
    machine: str
    subject: str
    images: Annotated[int, msgspec.Meta(ge=1)]
    hits: tuple[int, int, int, int, int]
    effects: tuple[Effect, ...]

    def told(self, name: str) -> str:
        """Say of a deviation what it is called and what it was measured to change."""
        found = next(effect for effect in self.effects if effect.name == name)
        top1 = found.hits[0] - self.hits[0]
        return (
            f"like «{name}», which was measured to change {found.inputs} of {self.images} inputs, "
            f"{found.decisions} decisions and {top1:+d} Top-1 hits"
        )


def read_effects(path: Path = EFFECTS_FILE) -> Effects:
    """Read the table, which must have a row for each deviation and no other.

    Raises:
        DatasetError: It cannot be read, a field is wrong, or its rows are not the deviations.
    """
    wanted = [(deviation.name, deviation.step) for deviation in DEVIATIONS]
    try:
        found = msgspec.convert(tomllib.loads(path.read_text("utf-8")), Effects, strict=True)
    except (OSError, ValueError) as error:  # msgspec's, TOML's and Unicode's errors are ValueErrors
        raise _wrong(path, error) from None
    rows = [(effect.name, effect.step) for effect in found.effects]
    if rows != wanted:
        odd = [name for name, _ in {*rows} ^ {*wanted}] or "the same rows in another order"
        raise _wrong(path, odd)
    return found


def _wrong(path: Path, got: object) -> DatasetError:
    return DatasetError(
        "the measured deviations cannot be read",
        got=got,
        expected="a row for each deviation, in order",
        where={"file": path},
        next_step="measure them again: python -m benchmarks.deviations --imagenet=DIR "
        "--weights=FILE",
    )
