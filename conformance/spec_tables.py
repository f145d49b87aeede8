"""The tables of a model spec: one struct for each section of ``models/*.toml``."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

import msgspec

Text = Annotated[str, msgspec.Meta(min_length=1)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Percent = Annotated[float, msgspec.Meta(gt=0, le=100)]
Channels = tuple[float, float, float]
# Tool and variant names are a closed set: a misspelt one would silently select no figure.
Variant = Literal["float32", "aipp"]
InferenceTool = Literal["benchmark", "ais_bench"]


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A TOML table: no field may be unknown or changed."""


class Architecture(Table, frozen=True):
    """The network's constructor: ``torchvision.models.<constructor>(**arguments)``."""

    library: Literal["torchvision"]
    constructor: Text
    arguments: dict[str, bool | int | float | str] = {}


class PublishedWeights(Table, frozen=True):
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


class Export(Table, frozen=True):
    """What the ONNX model must look like. Input N x 3 x crop x crop, output N x classes."""

    opset: Positive
    input: Text
    output: Text
    classes: Annotated[int, msgspec.Meta(ge=2)]
    operators: Annotated[tuple[Text, ...], msgspec.Meta(min_length=1)]
    source: Text


class Preprocess(Table, frozen=True):
    """From a photograph to an input tensor: resize the short side, centre crop, normalise."""

    resize: Positive
    crop: Positive
    interpolation: Literal["bilinear"]
    mean: Channels
    std: Channels
    source: Text


class Batch(Table, frozen=True):
    """Batch sizes: one ``.om`` each, and the two that a quick gate is content with."""

    sizes: Annotated[tuple[Positive, ...], msgspec.Meta(min_length=1)]
    compared: tuple[Positive, Positive]

    @property
    def first(self) -> int:
        """The batch size that every other one is compared with, image by image."""
        return self.compared[0]


class MeasuredAccuracy(Table, frozen=True):
    """Accuracy that the vendor measured on one SoC."""

    soc: Text
    variant: Variant
    top1_pct: Percent
    top5_pct: Percent
    source: Text
    within_points: Annotated[float, msgspec.Meta(gt=0)] | None = None


class Accuracy(Table, frozen=True):
    """Published accuracy on the 50,000 validation images; distances in percentage points."""

    top1_pct: Percent
    top5_pct: Percent
    max_drop_points: Annotated[float, msgspec.Meta(gt=0, lt=100)]
    suspicious_gain_points: Annotated[float, msgspec.Meta(gt=0, lt=100)]
    control_points: Annotated[float, msgspec.Meta(gt=0, lt=100)]
    source: Text
    measured: tuple[MeasuredAccuracy, ...] = ()


class Figure(Table, frozen=True):
    """One published throughput, in images per second of the whole card."""

    batch: Positive
    fps: Annotated[float, msgspec.Meta(gt=0)]
    tuned: bool = False
    gate: bool = False


class Throughput(Table, frozen=True):
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

    def figure(self, batch: int, *, tuned: bool) -> Figure | None:
        """Return the figure of one batch size; None if there is none."""
        wanted = (batch, tuned)
        return next((one for one in self.figures if (one.batch, one.tuned) == wanted), None)

    def decides(self, figure: Figure) -> bool:
        """Whether a figure is held to its bound; the others are recorded."""
        best = max(self.figures, key=lambda one: one.fps)
        return figure.gate or (self.gate_best and figure is best)


class Float16(Table, frozen=True):
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


class Provenance(Table, frozen=True):
    """Where bounds come from.

    Attributes:
        keys: The bounds, such as ``accuracy.max_drop_points`` or ``throughput.Ascend310``.
        checks: The checks that they decide.
        unit: Unit of the values.
        source: Who says so.
        method: How the numbers were arrived at.
        soc: The SoC they hold for, or ``any``.
        date: The day on which they were set for this suite.
    """

    keys: Annotated[tuple[Text, ...], msgspec.Meta(min_length=1)]
    checks: Annotated[tuple[Text, ...], msgspec.Meta(min_length=1)]
    unit: Text
    source: Text
    method: Text
    soc: Text
    date: dt.date
