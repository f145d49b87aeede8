"""``gates.toml``: the gates, and the checks that they ask for."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from conformance.bounds import suite_bound
from conformance.check import Scalar
from conformance.errors import EvidenceError

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
    variants: Literal["every", "exported", "timed", ""] = ""
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
    def by_batch(self) -> bool:
        """Whether it asks for batch sizes one by one, and not for the model as a whole."""
        return bool(self.batches or self.figures)

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
        """Return the first row of a check, None if no gate knows it."""
        return next((row for row in self.checks if check_id in row.ids), None)


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
    stated = [(check_id, row.by_batch) for row in gates.checks for check_id in row.ids]
    if repeated := sorted(
        {check_id for check_id, by in stated if stated.count((check_id, by)) > 1}
    ):
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


def _wrong(path: Path, got: object) -> EvidenceError:
    return EvidenceError(
        "the gates cannot be read",
        got=got,
        where={"file": path},
        next_step="correct the file; its comments describe every field",
    )
