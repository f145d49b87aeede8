"""What to convert: one ONNX model for one batch size, variant and SoC."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from conformance.ascend.aipp import CONFIG_NAME, aipp_config
from conformance.ascend.om_description import OmDescription
from conformance.spec import ModelSpec, Variant


@dataclass(frozen=True)
class Conversion:
    """One conversion of an ONNX model.

    Attributes:
        onnx: The model.
        name: Stem of the ``.om``, such as ``squeezenet1_1_bs16``.
        batch: Batch size.
        input_name: The model's input.
        input_shape: Channels, height, width.
        soc_version: Target, such as ``Ascend310``.
        variant: ``float32``, or ``aipp`` for uint8 images that the chip normalises.
        aipp: Text of ``aipp.config`` for that variant.
        log_level: ATC's ``--log``.
    """

    onnx: Path
    name: str
    batch: int
    input_name: str
    input_shape: tuple[int, int, int]
    soc_version: str
    variant: Variant = "float32"
    aipp: str = ""
    log_level: str = "error"

    @property
    def arguments(self) -> tuple[str, ...]:
        """ATC's arguments; every path is relative to the work folder, the same on any machine."""
        shape = ",".join(map(str, (self.batch, *self.input_shape)))
        common = (
            "--framework=5",
            f"--model={self.onnx.name}",
            "--input_format=NCHW",
            f"--input_shape={self.input_name}:{shape}",
            f"--output={self.name}",
            f"--log={self.log_level}",
            f"--soc_version={self.soc_version}",
        )
        on_chip = ("--enable_small_channel=1", f"--insert_op_conf={CONFIG_NAME}")
        return common + (on_chip if self.variant == "aipp" else ())


def conversion_of(
    spec: ModelSpec,
    onnx: Path,
    *,
    batch: int,
    soc_version: str,
    variant: Variant = "float32",
    log_level: str = "error",
) -> Conversion:
    """Return the conversion that a model's spec asks for."""
    suffix = "_aipp" if variant == "aipp" else ""
    return Conversion(
        onnx=onnx,
        name=f"{spec.name}_bs{batch}{suffix}",
        batch=batch,
        input_name=spec.export.input,
        input_shape=spec.input_shape,
        soc_version=soc_version,
        variant=variant,
        aipp=aipp_config(spec.preprocess) if variant == "aipp" else "",
        log_level=log_level,
    )


def contradictions(conversion: Conversion, found: OmDescription) -> tuple[str, ...]:
    """Name everything in which an ``.om`` is not what was asked for.

    What the description does not say is not a contradiction; the caller decides what must be said.
    The layout of an AIPP model's input is ATC's own affair, so that only its batch is compared.
    """
    shape: tuple[int, ...] = (conversion.batch, *conversion.input_shape)
    whole = conversion.variant == "float32"
    pairs: tuple[tuple[str, object, object], ...] = (
        ("soc_version", found.soc_version, conversion.soc_version),
        ("input", found.input_name, conversion.input_name),
        ("batch", found.batch, conversion.batch),
        ("input shape", found.input_shape if whole else None, shape),
    )
    return tuple(
        f"{name} is {got}, asked for was {asked}"
        for name, got, asked in pairs
        if got is not None and got != asked
    )
