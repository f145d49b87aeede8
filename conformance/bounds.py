"""Bounds that decide checks: each with unit, source, method, SoC and date.

Those of a model stand in its spec, those of the suite itself in ``bounds.toml``.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from conformance.errors import SpecError
from conformance.spec import ModelSpec
from conformance.spec_tables import Provenance, Table, Text, Throughput

BOUNDS_FILE = Path(__file__).resolve().parent.parent / "bounds.toml"
SUITE = "suite"
Looser = Literal["higher", "lower"]


class SuiteBound(Table, frozen=True):
    """One bound of the suite itself, the same for every model.

    Attributes:
        key: Its name.
        value: The number.
        looser: Whether a higher or a lower number lets more pass.
        checks: What it decides.
        unit: Unit of the value.
        source: Who says so.
        method: How the number was arrived at.
        soc: The SoC it holds for, or ``any``.
        date: The day on which it was set.
    """

    key: Text
    value: float
    looser: Looser
    checks: Annotated[tuple[Text, ...], msgspec.Meta(min_length=1)]
    unit: Text
    source: Text
    method: Text
    soc: Text
    date: dt.date


class _File(Table, frozen=True):
    bounds: Annotated[tuple[SuiteBound, ...], msgspec.Meta(min_length=1)]


@dataclass(frozen=True)
class Bound:
    """A bound in force: the model it belongs to (or ``suite``), its number, and where it is from.

    A SoC, unit, source, method and date stand in ``origin``.
    """

    scope: str
    key: str
    value: float
    looser: Looser
    origin: Provenance

    @property
    def name(self) -> str:
        """Name among all bounds."""
        return f"{self.scope}/{self.key}"

    def described(self) -> str:
        """Say in one line what it is and where it comes from."""
        origin = self.origin
        return (
            f"{self.name} = {self.value:.6g} {origin.unit} [{origin.soc}, {origin.date}]: "
            f"{origin.source}; {origin.method}"
        )


def read_suite_bounds(path: Path = BOUNDS_FILE) -> dict[str, SuiteBound]:
    """Decode ``bounds.toml`` strictly.

    Raises:
        SpecError: It cannot be read, a bound stands there twice, or one lacks its unit, source,
            method, SoC or date.
    """
    try:
        found = msgspec.convert(tomllib.loads(path.read_text("utf-8")), _File, strict=True).bounds
    except (OSError, ValueError) as error:
        raise _wrong(path, error) from None
    keys = [bound.key for bound in found]
    if repeated := sorted({key for key in keys if keys.count(key) > 1}):
        raise _wrong(path, f"{', '.join(repeated)} more than once")
    return {bound.key: bound for bound in found}


def _wrong(path: Path, got: object) -> SpecError:
    return SpecError(
        "the suite's bounds cannot be read",
        got=got,
        expected="[[bounds]] with key, value, looser, checks, unit, source, method, soc and date",
        where={"file": path},
        next_step="correct the file",
    )


_suite_bounds = functools.cache(read_suite_bounds)


def suite_bound(key: str) -> float:
    """Return the value of one of the suite's own bounds.

    Raises:
        SpecError: ``bounds.toml`` is damaged, or does not hold it.
    """
    return _suite_row(key).value


def suite_source(key: str) -> str:
    """Return where one of the suite's own bounds comes from, for a check's ``source``.

    Raises:
        SpecError: ``bounds.toml`` is damaged, or does not hold it.
    """
    row = _suite_row(key)
    soc = "any SoC" if row.soc == "any" else row.soc
    return f"{row.source}; {row.method} ({soc}, {row.date})"


def _suite_row(key: str) -> SuiteBound:
    found = _suite_bounds()
    if key in found:
        return found[key]
    raise _wrong(BOUNDS_FILE, f"no bound {key!r}")


def suite_bounds() -> Iterator[Bound]:
    """Yield the suite's own bounds."""
    for row in _suite_bounds().values():
        origin = Provenance(
            keys=(row.key,), checks=row.checks, unit=row.unit, source=row.source, method=row.method,
            soc=row.soc, date=row.date,
        )  # fmt: skip
        yield Bound(SUITE, row.key, row.value, row.looser, origin)


def model_bounds(spec: ModelSpec) -> Iterator[Bound]:
    """Yield the bounds of one model, each as the number that decides.

    A throughput's is the least rate of one chip: share times figure, by the chips of the card.
    """
    for key, value, looser in _numbers(spec):
        yield Bound(spec.name, key, value, looser, spec.origin_of(key))


def _numbers(spec: ModelSpec) -> Iterator[tuple[str, float, Looser]]:
    accuracy = spec.accuracy
    yield "accuracy.top1_pct", accuracy.top1_pct, "lower"
    yield "accuracy.top5_pct", accuracy.top5_pct, "lower"
    yield "accuracy.max_drop_points", accuracy.max_drop_points, "higher"
    yield "accuracy.suspicious_gain_points", accuracy.suspicious_gain_points, "higher"
    yield "accuracy.control_points", accuracy.control_points, "higher"
    if spec.float16:
        yield "float16.epsilon", spec.float16.epsilon, "higher"
        yield "float16.decision_epsilon", spec.float16.decision_epsilon, "higher"
    for table in spec.throughput:
        yield from _rates(table)


def _rates(table: Throughput) -> Iterator[tuple[str, float, Looser]]:
    for figure in table.figures:
        if table.decides(figure):
            key = f"throughput.{table.soc}.bs{figure.batch}{'.tuned' if figure.tuned else ''}"
            yield key, table.bound_pct / 100 * figure.fps / table.chips_per_card, "lower"


def decided_ids(specs: Iterable[ModelSpec]) -> frozenset[str]:
    """Return the ids of the checks that a bound of the suite or of one of the models decides."""
    named = [row.checks for row in _suite_bounds().values()]
    named += [row.checks for spec in specs for row in spec.bounds]
    return frozenset(check_id for checks in named for check_id in checks)


def bounds_sha256(path: Path = BOUNDS_FILE) -> str:
    """Return the digest of ``bounds.toml``.

    Raises:
        SpecError: It cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise _wrong(path, error) from None
