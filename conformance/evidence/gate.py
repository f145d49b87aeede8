"""Gates: which checks must be there, and which classes of evidence are accepted.

What a gate requires follows from ``gates.toml``, the models' specs and the SoC alone. It is never
computed from options or from what was collected, so that these can only leave holes in it.
"""

from __future__ import annotations

import hashlib
import itertools
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from conformance.bounds import suite_bound
from conformance.check import Check, Scalar
from conformance.errors import EvidenceError
from conformance.evidence.bundle import Coordinates
from conformance.spec import Figure, ModelSpec

GATES_NAME = "gates.toml"
GATES_FILE = Path(__file__).resolve().parent.parent.parent / GATES_NAME
Part = Literal["weights", "images", "board"]
Positive = Annotated[int, msgspec.Meta(ge=1)]
# Classes of each part, the one that proves most first.
CLASSES: dict[Part, tuple[str, ...]] = {
    "weights": ("published", "custom", "sample", "none"),
    "images": ("full", "subset", "sample", "none"),
    "board": ("device", "unverified", "emulated", "none"),
}


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A TOML table: no field may be unknown or changed."""


class Accepts(_Table, frozen=True):
    """Accepted classes of each part."""

    weights: tuple[Literal["published", "custom", "sample"], ...]
    images: tuple[Literal["full", "subset", "sample"], ...]
    board: tuple[Literal["device", "unverified", "emulated", "none"], ...]


class Gate(_Table, frozen=True):
    """One gate: batch sizes, whether tuned models are required, and what it accepts."""

    batches: Literal["all", "compared"]
    tuned: bool
    accepts: Accepts


class Row(_Table, frozen=True):
    """Checks that are required alike; the comments of ``gates.toml`` describe each field."""

    ids: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    gates: tuple[str, ...]
    rests_on: tuple[Part, ...] = ()
    batches: tuple[Positive, ...] | Literal["gate", "others", ""] = ""
    scales: tuple[str, ...] = ()
    figures: Literal["gated", "all", ""] = ""
    decides: bool = True
    bound: Scalar = None
    direction: Literal["at most", "at least", "equal to", ""] = ""
    recount: Literal["torch", "onnxruntime", "om", ""] = ""
    baseline: Literal["higher", "lower", ""] = ""
    noise: str = ""

    @property
    def noise_pct(self) -> float:
        """How much worse than its baseline a figure may always be, in percent of it."""
        return suite_bound(self.noise) if self.noise else 0.0

    @property
    def must_be(self) -> str:
        """How the value has to lie to its bound; met exactly, unless a row says else."""
        return self.direction or ("equal to" if self.bound is not None else "")


class Gates(_Table, frozen=True):
    """The whole of ``gates.toml``."""

    models: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    gates: dict[str, Gate]
    checks: tuple[Row, ...]
    sha256: str = ""

    def row(self, check_id: str) -> Row | None:
        """Return the row of a check, None if no gate knows it."""
        return next((row for row in self.checks if check_id in row.ids), None)


@dataclass(frozen=True)
class Requirement:
    """One check at one place. A check meets it that agrees in every coordinate named here.

    Attributes:
        id: The check.
        coordinates: The place.
        row: What else is asked of it.
        unknown: Why the places cannot be named, so that no check meets it; else empty.
    """

    id: str
    coordinates: Coordinates
    row: Row
    unknown: str = ""

    @property
    def label(self) -> str:
        """The check's id and coordinates."""
        return f"{self.id} [{self.place}]"

    @property
    def place(self) -> str:
        """The coordinates alone, and what is not known of them."""
        named = " ".join(
            str(value) if name == "model" else f"{name}={value}"
            for name, value in self.coordinates.items()
        )
        return f"{named}, {self.unknown}" if self.unknown else named

    def is_about(self, check: Check) -> bool:
        """Whether a check is the required one, at this place."""
        if self.unknown:
            return False
        return check.id == self.id and self.coordinates.items() <= check.coordinates.items()


def read_gates(path: Path = GATES_FILE) -> Gates:
    """Decode ``gates.toml`` strictly.

    Raises:
        EvidenceError: It cannot be read, a field is missing, misspelt or of the wrong type, a gate
            is unknown, or a check stands in two rows.
    """
    try:
        content = path.read_bytes()
        gates = msgspec.convert(tomllib.loads(content.decode()), Gates, strict=True)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise _wrong(path, error) from None
    ids = [check_id for row in gates.checks for check_id in row.ids]
    if repeated := sorted({check_id for check_id in ids if ids.count(check_id) > 1}):
        raise _wrong(path, f"{', '.join(repeated)} in more than one row")
    unknown = {name for row in gates.checks for name in row.gates} - set(gates.gates)
    if unknown:
        raise _wrong(path, f"unknown gates {', '.join(sorted(unknown))}")
    return msgspec.structs.replace(gates, sha256=hashlib.sha256(content).hexdigest())


def named_gate(gates: Gates, name: str) -> Gate:
    """Return the gate of that name.

    Raises:
        EvidenceError: There is none.
    """
    if name in gates.gates:
        return gates.gates[name]
    raise EvidenceError(
        f"unknown gate {name!r}",
        expected=" or ".join(gates.gates),
        next_step=f"name one of them; {GATES_NAME} says what each requires",
    )


def required(
    gates: Gates, name: str, specs: Mapping[str, ModelSpec], soc: str = ""
) -> tuple[Requirement, ...]:
    """Return every check that a gate requires, each at its coordinates.

    Args:
        gates: The gates.
        name: The gate's name.
        specs: The spec of every model that is released.
        soc: The board's SoC, which has figures of its own; empty if no board was used. Without
            figures one requirement stands for those that would be there, and nothing meets it.

    Raises:
        EvidenceError: There is no such gate, a spec is missing, or nothing is required.
    """
    gate = named_gate(gates, name)
    if missing := [model for model in gates.models if model not in specs]:
        raise EvidenceError("a released model has no spec", got=", ".join(missing))
    found = tuple(
        Requirement(check_id, {"model": model, **place}, row, unknown)
        for model in gates.models
        for row in gates.checks
        if name in row.gates
        for unknown in [_unknown(row, specs[model], soc)]
        for check_id in row.ids
        for place in ([{}] if unknown else _places(row, gate, specs[model], soc))
    )
    if not found:
        raise EvidenceError(
            f"gate {name} requires nothing, so it would prove nothing",
            next_step=f"name it in the rows of {GATES_NAME}",
        )
    return found


def _unknown(row: Row, spec: ModelSpec, soc: str) -> str:
    """Return why the figures that a row is about cannot be named; empty if they can."""
    if not row.figures or spec.throughput_of(soc):
        return ""
    figures = "each gated figure" if row.figures == "gated" else "each figure"
    return f"{figures} of the SoC: " + (f"none is published for {soc}" if soc else "SoC unknown")


def _places(row: Row, gate: Gate, spec: ModelSpec, soc: str) -> Iterator[Coordinates]:
    axes: list[list[Coordinates]] = [
        _batch_places(row, gate, spec, soc) or [{}],
        [{"scale": scale} for scale in row.scales] or [{}],
        _figure_places(row, gate, spec, soc) or [{}],
    ]
    for parts in itertools.product(*axes):
        yield {name: value for part in parts for name, value in part.items()}


def _batch_places(row: Row, gate: Gate, spec: ModelSpec, soc: str) -> list[Coordinates]:
    """Return the batch sizes of a row; of ``.om`` also whether tuned, as the gate wants them."""
    sizes = _row_batches(row, gate, spec)
    places: list[Coordinates] = [{"batch": batch} for batch in sizes]
    if row.batches != "gate":
        return places
    table = spec.throughput_of(soc)
    figures = [figure.batch for figure in table.figures if figure.tuned] if table else None
    tuned = spec.tuned_batches if figures is None else figures
    wanted = [batch for batch in tuned if gate.tuned and batch in sizes]
    places = [{"batch": batch, "tuned": "no"} for batch in sizes]
    places += [{"batch": batch, "tuned": "yes"} for batch in wanted]
    return places


def _row_batches(row: Row, gate: Gate, spec: ModelSpec) -> tuple[int, ...]:
    """Return the batch sizes of a row; a spec always has others than the first."""
    if isinstance(row.batches, tuple):
        return row.batches
    named = spec.batch.sizes if gate.batches == "all" else spec.batch.compared
    return named[1:] if row.batches == "others" else named if row.batches else ()


def _figure_places(row: Row, gate: Gate, spec: ModelSpec, soc: str) -> list[Coordinates]:
    """Return batch and tuning of the published figures; of some SoCs only the best one decides."""
    table = spec.throughput_of(soc)
    if not row.figures or table is None:
        return []
    chosen = [one for one in table.figures if row.figures == "all" or table.decides(one)]
    return [_figure_place(figure) for figure in chosen if gate.tuned or not figure.tuned]


def _figure_place(figure: Figure) -> Coordinates:
    return {"batch": figure.batch, "tuned": "yes" if figure.tuned else "no"}


def _wrong(path: Path, got: object) -> EvidenceError:
    return EvidenceError(
        "the gates cannot be read",
        got=got,
        where={"file": path},
        next_step="correct the file; its comments describe every field",
    )
