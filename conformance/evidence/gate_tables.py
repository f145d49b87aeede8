"""The tables of ``gates.toml``: one struct for each; its comments describe every field."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from conformance.bounds import suite_bound
from conformance.check import Scalar

Part = Literal["weights", "images", "board"]
Positive = Annotated[int, msgspec.Meta(ge=1)]
# Classes of each part, the one that proves most first.
CLASSES: dict[Part, tuple[str, ...]] = {
    "weights": ("published", "custom", "sample", "none"),
    "images": ("full", "subset", "sample", "none"),
    "board": ("device", "unverified", "emulated", "none"),
}


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A TOML table: no field may be unknown or changed."""


class Accepts(Table, frozen=True):
    """Accepted classes of each part."""

    weights: tuple[Literal["published", "custom", "sample"], ...]
    images: tuple[Literal["full", "subset", "sample"], ...]
    board: tuple[Literal["device", "unverified", "emulated", "none"], ...]


class Gate(Table, frozen=True):
    """One gate: batch sizes, whether tuned models are required, and what it accepts."""

    batches: Literal["all", "compared"]
    tuned: bool
    accepts: Accepts


class Row(Table, frozen=True):
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
