"""``flips.json``: every image whose decision changed on its way from PyTorch to each engine.

It is made of ``predictions.npz`` and of the bounds that the run computed, so a reader can make it
again. What could not be compared is named in it: an absent engine is no engine without flips.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from conformance.check import Scalar
from conformance.errors import EvidenceError
from conformance.evidence.bundle import (
    FLIPS_FILE,
    Coordinates,
    DecisionBound,
    Evidence,
    PredictionSet,
    Text,
)
from conformance.evidence.bundle_files import read_limited, write_whole
from conformance.evidence.facts import gather
from conformance.evidence.prediction_file import Predictions
from conformance.metrics.flips import Flip, find_flips
from conformance.spec import ModelSpec

SCHEMA_ID = "ascend-conformance/flips"
SCHEMA_VERSION = 1
REFERENCE = "torch"
MAX_BYTES = 256 * 1024 * 1024


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of the ledger: what is not in the schema is refused."""


class Comparison(_Part, frozen=True):
    """The changed decisions of one engine.

    Attributes:
        candidate: Name of its set of predictions.
        reference: Name of PyTorch's.
        engine: ``onnxruntime`` or ``om``.
        coordinates: Model, batch and the like.
        explained_gap: Largest gap between two classes that its number format explains.
        source: Where that comes from.
        images: Images compared.
        flips: Those whose decision changed.
        confident: Those of them over a wider gap; None where the run computed no bound.
        listed: The flips, the widest gap first; of more than 2,000 the worst.
    """

    candidate: Text
    reference: Text
    engine: Text
    coordinates: Coordinates
    explained_gap: float | None
    source: str
    images: int
    flips: int
    confident: int | None
    listed: tuple[Flip, ...]


class FlipLedger(_Part, frozen=True, kw_only=True):
    """The changed decisions of every engine of a run, and what could not be compared."""

    schema: Text = SCHEMA_ID
    schema_version: int = SCHEMA_VERSION
    comparisons: tuple[Comparison, ...]
    lacking: tuple[str, ...] = ()


def make_ledger(
    predictions: Predictions | None,
    sets: Sequence[PredictionSet],
    bounds: Sequence[DecisionBound],
) -> FlipLedger:
    """Compare every engine's decisions with PyTorch's.

    Args:
        predictions: What each engine said of every image.
        sets: Which engine and which coordinates each set of them has.
        bounds: What the number format of each engine explains.

    Raises:
        EvidenceError: There are no predictions, or fewer than the sets name.
    """
    if predictions is None or {found.name for found in sets} != set(predictions.sets) or not sets:
        raise EvidenceError(
            "there is no flip ledger without predictions",
            got=f"predictions of {sorted(predictions.sets) if predictions else 'no engine'}",
            expected=f"those of {sorted(found.name for found in sets) or 'PyTorch and an engine'}",
            next_step="infer with PyTorch and with every engine in the same run",
        )
    models = dict.fromkeys(str(found.coordinates.get("model", "")) for found in sets)
    made, lacking = list[Comparison](), list[str]()
    for model in models:
        own = [found for found in sets if str(found.coordinates.get("model", "")) == model]
        trusted = next((found for found in own if found.engine == REFERENCE), None)
        others = [found for found in own if found.engine != REFERENCE]
        if trusted is None or not others:
            lacking.append(f"predictions of {model} by {'any engine' if trusted else 'PyTorch'}")
            continue
        made += [_compared(predictions, trusted, other, bounds) for other in others]
    return FlipLedger(comparisons=tuple(made), lacking=tuple(lacking))


def _compared(
    predictions: Predictions,
    trusted: PredictionSet,
    other: PredictionSet,
    bounds: Sequence[DecisionBound],
) -> Comparison:
    bound = next((b for b in bounds if (b.model, b.engine) == _owner(other)), None)
    found = find_flips(
        predictions.sets[trusted.name],
        predictions.sets[other.name],
        predictions.labels,
        predictions.names,
        explained=bound.explained_gap if bound else None,
    )
    return Comparison(
        candidate=other.name,
        reference=trusted.name,
        engine=other.engine,
        coordinates=other.coordinates,
        explained_gap=bound.explained_gap if bound else None,
        source=bound.source if bound else "the run computed no bound",
        images=found.images,
        flips=found.flips,
        confident=found.confident,
        listed=found.listed,
    )


def _owner(found: PredictionSet) -> tuple[str, str]:
    return str(found.coordinates.get("model", "")), found.engine


def write_ledger(folder: Path, ledger: FlipLedger) -> Path:
    """Write ``flips.json`` into a bundle, whole or not at all.

    Raises:
        EvidenceError: It cannot be written.
    """
    encoded = msgspec.json.format(msgspec.json.encode(ledger), indent=1)
    return write_whole(folder / FLIPS_FILE, encoded + b"\n")


def read_ledger(folder: Path) -> FlipLedger:
    """Read ``flips.json`` of a bundle, believing nothing.

    Raises:
        EvidenceError: It is missing, too large, damaged or of another schema.
    """
    try:
        ledger = msgspec.json.decode(read_limited(folder / FLIPS_FILE, MAX_BYTES), type=FlipLedger)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise _unusable(folder, error) from None
    if (ledger.schema, ledger.schema_version) != (SCHEMA_ID, SCHEMA_VERSION):
        raise _unusable(folder, f"{ledger.schema} {ledger.schema_version}")
    return ledger


def _unusable(folder: Path, got: object) -> EvidenceError:
    return EvidenceError(
        "the flip ledger cannot be read",
        got=got,
        expected=f"JSON of schema {SCHEMA_ID} {SCHEMA_VERSION}, whole",
        where={"file": folder / FLIPS_FILE},
        next_step="copy the bundle again; do not trust it if that does not help",
    )


def ledger_problems(
    folder: Path,
    evidence: Evidence,
    predictions: Predictions | None,
    specs: Mapping[str, ModelSpec],
) -> Iterator[str]:
    """Make the ledger again and yield everything that it states otherwise.

    Raises:
        EvidenceError: It cannot be read, or the predictions that it is made of are not there.
    """
    present = (folder / FLIPS_FILE).exists()
    if not evidence.predictions and not present:
        return
    stated, bounds = read_ledger(folder), tuple(gather(folder).bounds.values())
    yield from _bound_problems(evidence, bounds, specs)
    again = make_ledger(predictions, evidence.predictions, bounds)
    if stated.lacking != again.lacking:
        yield f"{FLIPS_FILE}: lacks {list(stated.lacking)}, the predictions {list(again.lacking)}"
    before = {found.candidate: found for found in stated.comparisons}
    now = {found.candidate: found for found in again.comparisons}
    if list(before) != list(now) or len(before) != len(stated.comparisons):
        yield f"{FLIPS_FILE}: compares {sorted(before)}, the predictions are of {sorted(now)}"
    for name in before.keys() & now.keys():
        yield from _changed(before[name], now[name])


def _bound_problems(
    evidence: Evidence, bounds: Sequence[DecisionBound], specs: Mapping[str, ModelSpec]
) -> Iterator[str]:
    """Compare what a spec fixes with what the run judged by."""
    weights = {c.model: c.value for c in evidence.classes if c.part == "weights"}
    for bound in bounds:
        spec = specs.get(bound.model)
        fixed = spec.float16 if spec and weights.get(bound.model) != "sample" else None
        if bound.engine == "om" and fixed and bound.explained_gap != 2 * fixed.decision_epsilon:
            yield (
                f"decisions of {bound.model}: judged by a gap of {bound.explained_gap:g}, its spec "
                f"explains {2 * fixed.decision_epsilon:g}"
            )


def _changed(stated: Comparison, again: Comparison) -> Iterator[str]:
    yield from _differences(f"{FLIPS_FILE}: {again.candidate}", stated, again, skip="listed")
    before = {flip.image: flip for flip in stated.listed}
    now = {flip.image: flip for flip in again.listed}
    for image in sorted(now.keys() - before.keys()):
        yield f"{FLIPS_FILE}: {again.candidate}: {image} changed its decision and is not listed"
    for image in sorted(before.keys() - now.keys()):
        yield f"{FLIPS_FILE}: {again.candidate}: {image} is listed and did not change its decision"
    for image in sorted(before.keys() & now.keys()):
        label = f"{FLIPS_FILE}: {again.candidate}: {image}"
        yield from _differences(label, before[image], now[image])
    if not before.keys() ^ now.keys() and [*before] != [*now]:
        yield f"{FLIPS_FILE}: {again.candidate}: the flips are in another order"
    if len(stated.listed) != len(before):
        yield f"{FLIPS_FILE}: {again.candidate}: an image is listed twice"


def _differences(label: str, stated: object, again: object, *, skip: str = "") -> Iterator[str]:
    before: dict[str, Scalar] = msgspec.to_builtins(stated)
    now: dict[str, Scalar] = msgspec.to_builtins(again)
    for name, value in now.items():
        if name != skip and before[name] != value:
            yield f"{label}: {name} is {before[name]}, the predictions give {value}"
