"""Gates: which checks must be there, and which classes of evidence are accepted.

What a gate requires follows from ``gates.toml``, the models' specs and the SoC alone. It is never
computed from options or from what was collected, so that these can only leave holes in it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from conformance.check import Check
from conformance.errors import EvidenceError
from conformance.evidence.bundle import Coordinates
from conformance.evidence.gates_file import (
    CLASSES,
    GATES_FILE,
    GATES_NAME,
    Gate,
    Gates,
    Part,
    Row,
    named_gate,
    read_gates,
)
from conformance.om_key import OmKey
from conformance.spec import Figure, ModelSpec, Throughput, Variant

__all__ = [
    "CLASSES",
    "GATES_FILE",
    "GATES_NAME",
    "Gate",
    "Gates",
    "Part",
    "Requirement",
    "Row",
    "named_gate",
    "read_gates",
    "required",
]


@dataclass(frozen=True)
class Requirement:
    """One check at one place. A check meets it that agrees in every coordinate named here.

    What was found of one batch size says nothing of the model as a whole, and does not meet it.

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
        if self.unknown or ("batch" in check.coordinates and not self.row.by_batch):
            return False
        return check.id == self.id and self.coordinates.items() <= check.coordinates.items()


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
    """Return the batch sizes of a row; of ``.om`` also variant and tuning: each is one of its own.

    What a row leaves open here, any ``.om`` of that batch size would answer for.
    """
    sizes = _row_batches(row, gate, spec)
    if not row.variants:
        return [{"batch": batch} for batch in sizes]
    table = spec.throughput_of(soc)
    keys = [OmKey(batch, each) for each in _row_variants(row, spec, table) for batch in sizes]
    if gate.tuned:
        variant = _row_variants(row, spec, table)[0]
        keys += [
            OmKey(batch, variant, tuned=True)
            for batch in _tuned_batches(spec, table)
            if batch in sizes
        ]
    return [key.coordinates for key in keys]


def _row_batches(row: Row, gate: Gate, spec: ModelSpec) -> tuple[int, ...]:
    """Return the batch sizes of a row; a spec always has others than the first."""
    if isinstance(row.batches, tuple):
        return row.batches
    named = spec.batch.sizes if gate.batches == "all" else spec.batch.compared
    return named[1:] if row.batches == "others" else named if row.batches else ()


def _row_variants(row: Row, spec: ModelSpec, table: Throughput | None) -> tuple[Variant, ...]:
    """Return the variants of a row; the first is the one that is tuned."""
    if row.variants == "every":
        return spec.variants
    timed = row.variants == "timed" and table is not None
    return (table.variant,) if table and timed else spec.variants[:1]


def _tuned_batches(spec: ModelSpec, table: Throughput | None) -> tuple[int, ...]:
    """Return the batch sizes that have a tuned figure: of the SoC, of any where it has none."""
    if table is None:
        return spec.tuned_batches
    return tuple(figure.batch for figure in table.figures if figure.tuned)


def _figure_places(row: Row, gate: Gate, spec: ModelSpec, soc: str) -> list[Coordinates]:
    """Return which ``.om`` the published figures are for; where only the best counts, just one."""
    table = spec.throughput_of(soc)
    if not row.figures or table is None:
        return []
    chosen = [one for one in table.figures if row.figures == "all" or table.decides(one)]
    return [_om_of(one, table).coordinates for one in chosen if gate.tuned or not one.tuned]


def _om_of(figure: Figure, table: Throughput) -> OmKey:
    return OmKey(figure.batch, table.variant, tuned=figure.tuned)
