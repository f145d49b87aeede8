"""Model specs: what each model must meet, decoded strictly from ``models/*.toml``."""

from __future__ import annotations

import difflib
import hashlib
import math
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from conformance.errors import ConfigError, SpecError

MODELS_FOLDER = Path(__file__).resolve().parent.parent / "models"

Text = Annotated[str, msgspec.Meta(min_length=1)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Percent = Annotated[float, msgspec.Meta(gt=0, le=100)]
Channels = tuple[float, float, float]
# Tool and variant names are a closed set: a misspelt one would silently select no figure.
Variant = Literal["float32", "aipp"]
InferenceTool = Literal["benchmark", "ais_bench"]


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A TOML table: no field may be unknown or changed."""


class Architecture(_Table, frozen=True):
    """The network's constructor: ``torchvision.models.<constructor>(**arguments)``."""

    library: Literal["torchvision"]
    constructor: Text
    arguments: dict[str, bool | int | float | str] = {}


class PublishedWeights(_Table, frozen=True):
    """A published weights file. Only a full digest (md5 or sha256) proves a file to be it."""

    file: Annotated[str, msgspec.Meta(pattern=r"^[\w.-]+\.pth$")]
    url: Annotated[str, msgspec.Meta(pattern=r"^https://")]
    sha256_prefix: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{8,64}$")]
    source: Text
    md5: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}$")] | None = None

    @property
    def provable(self) -> bool:
        """Whether a full digest is known, so that a file can be proved to be this one."""
        return self.md5 is not None or len(self.sha256_prefix) == 64  # hex digits of a sha256


class Export(_Table, frozen=True):
    """What the ONNX model must look like. Input N x 3 x crop x crop, output N x classes."""

    opset: Positive
    input: Text
    output: Text
    classes: Annotated[int, msgspec.Meta(ge=2)]
    operators: Annotated[tuple[Text, ...], msgspec.Meta(min_length=1)]
    source: Text


class Preprocess(_Table, frozen=True):
    """From a photograph to an input tensor: resize the short side, centre crop, normalise."""

    resize: Positive
    crop: Positive
    interpolation: Literal["bilinear"]
    mean: Channels
    std: Channels
    source: Text


class Batch(_Table, frozen=True):
    """Batch sizes: one ``.om`` each, and the two that a quick gate is content with."""

    sizes: Annotated[tuple[Positive, ...], msgspec.Meta(min_length=1)]
    compared: tuple[Positive, Positive]

    @property
    def first(self) -> int:
        """The batch size that every other one is compared with, image by image."""
        return self.compared[0]


class MeasuredAccuracy(_Table, frozen=True):
    """Accuracy that the vendor measured on one SoC."""

    soc: Text
    variant: Variant
    top1_pct: Percent
    top5_pct: Percent
    source: Text
    within_points: Annotated[float, msgspec.Meta(gt=0)] | None = None


class Accuracy(_Table, frozen=True):
    """Published accuracy on the 50,000 validation images; distances in percentage points."""

    top1_pct: Percent
    top5_pct: Percent
    max_drop_points: Annotated[float, msgspec.Meta(gt=0, lt=100)]
    suspicious_gain_points: Annotated[float, msgspec.Meta(gt=0, lt=100)]
    control_points: Annotated[float, msgspec.Meta(gt=0, lt=100)]
    source: Text
    measured: tuple[MeasuredAccuracy, ...] = ()


class Figure(_Table, frozen=True):
    """One published throughput, in images per second of the whole card."""

    batch: Positive
    fps: Annotated[float, msgspec.Meta(gt=0)]
    tuned: bool = False
    gate: bool = False


class Throughput(_Table, frozen=True):
    """Published throughput of one SoC and the method by which it was measured."""

    soc: Text
    card: Text
    chips_per_card: Positive
    tool: InferenceTool
    method: Literal["dataset", "pure"]
    variant: Variant
    cann: Text
    bound_pct: Percent
    source: Text
    figures: Annotated[tuple[Figure, ...], msgspec.Meta(min_length=1)]
    gate_best: bool = False


class Float16(_Table, frozen=True):
    """What computing in float16 may cost, derived before any board was seen.

    Attributes:
        epsilon: Largest allowed difference of any score of any image.
        decision_epsilon: A decision may differ only over a gap of at most twice it.
        storage_error: Worst error of a simulation that stores every result in float16.
        pool_error: Worst error of one that also adds up average pools in float16.
        cap: What epsilon may not exceed.
        nearest_distance: Smallest largest-score difference between two calibration images.
        exempt_pct: Share of calibration images whose decision may differ.
        storage_flips: Decisions that differ in the first simulation.
        pool_flips: Decisions that differ in the second simulation.
        images: Number of calibration images.
        inputs_sha256: Digest of names and input tensors.
        provenance: Versions and digests of everything that took part.
    """

    epsilon: Annotated[float, msgspec.Meta(gt=0)]
    decision_epsilon: Annotated[float, msgspec.Meta(gt=0)]
    storage_error: float
    pool_error: float
    cap: float
    nearest_distance: float
    exempt_pct: float
    storage_flips: int
    pool_flips: int
    images: Annotated[int, msgspec.Meta(ge=2)]
    inputs_sha256: Text
    provenance: dict[str, str]


class ModelSpec(_Table, frozen=True):
    """Everything that one model must meet."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_]*$")]
    task: Literal["imagenet_classification"]
    architecture: Architecture
    weights: Annotated[tuple[PublishedWeights, ...], msgspec.Meta(min_length=1)]
    export: Export
    preprocess: Preprocess
    batch: Batch
    accuracy: Accuracy
    throughput: tuple[Throughput, ...] = ()
    float16: Float16 | None = None

    def throughput_of(self, soc: str) -> Throughput | None:
        """Return the published throughput of a SoC, None where there is none."""
        return next((table for table in self.throughput if table.soc == soc), None)

    @property
    def tuned_batches(self) -> tuple[int, ...]:
        """Batch sizes for which a tuned model has a published figure."""
        figures = (figure for table in self.throughput for figure in table.figures)
        return tuple(sorted({figure.batch for figure in figures if figure.tuned}))

    @property
    def variants(self) -> tuple[Variant, ...]:
        """Variants of the model: as exported, and those that a published figure is for."""
        found = dict.fromkeys(table.variant for table in self.throughput)
        return tuple(dict.fromkeys(("float32", *found)))

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Shape of one input tensor: channels, height, width."""
        return (3, self.preprocess.crop, self.preprocess.crop)

    @property
    def sha256(self) -> str:
        """Digest of the whole spec."""
        return self.digest(*self.__struct_fields__)

    def digest(self, *sections: str) -> str:
        """Return the sha256 of the named sections, so that an artifact depends on no others."""
        parts = {section: msgspec.to_builtins(getattr(self, section)) for section in sections}
        return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()


def model_names(folder: Path = MODELS_FOLDER) -> tuple[str, ...]:
    """Return the names of all model specs, sorted."""
    return tuple(sorted(path.stem for path in folder.glob("*.toml")))


def load_spec(name: str, folder: Path = MODELS_FOLDER) -> ModelSpec:
    """Read the spec of one model.

    Raises:
        ConfigError: There is no spec of that name.
        SpecError: The file is not a valid spec; the error names file, key and what was expected.
    """
    known = model_names(folder)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        raise ConfigError(
            f"unknown model {name!r}",
            expected=", ".join(known) or "at least one TOML file",
            where={"folder": folder},
            next_step=f"did you mean {near[0]!r}?" if near else f"add {folder / name}.toml",
        )
    return read_spec(folder / f"{name}.toml")


def read_spec(path: Path) -> ModelSpec:
    """Decode and check one spec file.

    Raises:
        SpecError: The file cannot be read, is not TOML, or a field is missing, misspelt, of the
            wrong type or impossible.
    """
    try:
        spec = msgspec.convert(tomllib.loads(path.read_text("utf-8")), ModelSpec, strict=True)
    except msgspec.ValidationError as error:
        raise _decoding_error(path, str(error)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise SpecError(
            "model spec cannot be read",
            got=error,
            expected="a TOML file in UTF-8",
            where={"file": path},
            next_step="compare it with models/squeezenet1_1.toml",
        ) from None
    problems = (*_infinite(msgspec.to_builtins(spec)), *_impossible(spec, path.stem))
    for key, got, expected in problems:
        raise SpecError(
            "model spec is impossible",
            got=got,
            expected=expected,
            where={"file": path, "key": key},
            next_step="correct the value; each figure's source says what it must be",
        )
    return spec


def _decoding_error(path: Path, message: str) -> SpecError:
    """Turn msgspec's message into file, key and what was expected."""
    text, _, location = message.partition(" - at `$")
    key = location.strip("`").lstrip(".")
    if field := re.search(r"(?:unknown|missing required) field `(\w+)`", text):
        key = f"{key}.{field[1]}".lstrip(".")
    unknown = "unknown field" in text
    near = difflib.get_close_matches(key.rpartition(".")[2], _field_names(), n=1) if unknown else []
    return SpecError(
        "model spec is wrong",
        got="a field that does not exist" if unknown else None,
        expected=f"`{near[0]}`?" if near else text.removeprefix("Expected "),
        where={"file": path, "key": key or "(top level)"},
        next_step="compare it with models/squeezenet1_1.toml",
    )


def _field_names() -> set[str]:
    tables: list[type[msgspec.Struct]] = list(_Table.__subclasses__())
    return {name for table in tables for name in table.__struct_fields__}


def _impossible(spec: ModelSpec, stem: str) -> Iterator[tuple[str, object, str]]:
    """Yield (key, got, expected) of every field that is well-formed and cannot be true."""
    prep = spec.preprocess
    if spec.export.input == spec.export.output:
        yield "export.output", spec.export.output, "another name than export.input"
    if spec.name != stem:
        yield "name", spec.name, f"the file's own name, {stem}"
    if prep.crop > prep.resize:
        yield "preprocess.crop", prep.crop, f"at most preprocess.resize = {prep.resize}"
    if min(prep.std) <= 0:
        yield "preprocess.std", prep.std, "three numbers above 0"
    if not all(0 <= mean <= 1 for mean in prep.mean):
        yield "preprocess.mean", prep.mean, "three numbers between 0 and 1"
    yield from _impossible_figures(spec)


def _impossible_figures(spec: ModelSpec) -> Iterator[tuple[str, object, str]]:
    batch, accuracy = spec.batch, spec.accuracy
    if sorted(set(batch.sizes)) != list(batch.sizes):
        yield "batch.sizes", batch.sizes, "rising numbers without repetition"
    if not set(batch.compared) <= set(batch.sizes) or len(set(batch.compared)) != 2:
        yield "batch.compared", batch.compared, f"two of batch.sizes {batch.sizes}"
    if batch.first != batch.sizes[0]:
        yield "batch.compared", batch.compared, f"the smallest batch size first, {batch.sizes[0]}"
    if accuracy.top1_pct > accuracy.top5_pct:
        yield "accuracy.top1_pct", accuracy.top1_pct, f"at most top5_pct = {accuracy.top5_pct}"
    for number, table in enumerate(spec.throughput):
        if strange := [f.batch for f in table.figures if f.gate and f.batch not in batch.sizes]:
            yield f"throughput[{number}].figures", strange, f"gated ones among {batch.sizes}"
        keys = [(figure.batch, figure.tuned) for figure in table.figures]
        if len(set(keys)) != len(keys):
            yield f"throughput[{number}].figures", keys, "each (batch, tuned) once"


def _infinite(content: object, key: str = "") -> Iterator[tuple[str, object, str]]:
    """Yield (key, got, expected) of every NaN and infinity, which TOML can write."""
    if isinstance(content, float) and not math.isfinite(content):
        yield key, content, "a finite number"
    elif isinstance(content, dict):
        for name, part in content.items():
            yield from _infinite(part, f"{key}.{name}".lstrip("."))
    elif isinstance(content, list | tuple):
        for number, part in enumerate(content):
            yield from _infinite(part, f"{key}[{number}]")
