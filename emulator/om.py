"""The offline model file: a valid 256-byte header around a payload that no real board would run.

The header's layout is that of ``ModelFileHeader`` in the open GraphEngine sources
(``inc/framework/executor_c/types.h``); a partition table follows it.
"""

from __future__ import annotations

import json
import struct
from typing import Any, NamedTuple

from emulator.marker import MARK
from emulator.tensor import struct_format

HEADER_BYTES = 256
HEADER = struct.Struct("<4sII64sI4B32sI32sII20sB75s")
MAGIC = b"IMOD"
FORMAT_VERSION = 0x10000000
STANDARD_MODEL = 1
PARTITION = struct.Struct("<III")
MODEL_DEFINITION, WEIGHTS = 0, 1


class OmError(Exception):
    """The file is no offline model that this board can load."""


class TensorSpec(NamedTuple):
    """Name, shape and element type (a numpy name) of a model's input or output."""

    name: str
    shape: tuple[int, ...]
    dtype: str


class Aipp(NamedTuple):
    """Static image preprocessing in the chip: ``(pixel - mean) * factor`` for each channel.

    Attributes:
        mean: What is subtracted, in units of 0..255, in the model's channel order.
        factor: What the difference is multiplied with.
        swap_red_blue: Whether the first and third channel change places before.
    """

    mean: tuple[float, ...]
    factor: tuple[float, ...]
    swap_red_blue: bool = False


class OfflineModel(NamedTuple):
    """What the emulator keeps in an ``.om``.

    Attributes:
        name: The file's stem.
        soc: System on chip it was built for.
        cann: Release of CANN that built it.
        batch: Images of one inference.
        tuned: Whether a tuning bank was used.
        inputs: What a tool must feed, AIPP included.
        outputs: What the model yields.
        macs: Multiply-accumulate operations of one image.
        command: The conversion's command line.
        aipp: Preprocessing in the chip, or None.
        onnx: The ONNX model with its batch bound.
    """

    name: str
    soc: str
    cann: str
    batch: int
    tuned: bool
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    macs: int
    command: str
    aipp: Aipp | None
    onnx: bytes

    @property
    def input_bytes(self) -> int:
        """Size of the first input, all images of a batch together."""
        return tensor_bytes(self.inputs[0])


def tensor_bytes(spec: TensorSpec) -> int:
    """Size of a tensor in bytes."""
    return struct.calcsize(struct_format(spec.dtype, spec.shape))


def pack(model: OfflineModel) -> bytes:
    """Write a model as the content of an ``.om`` file."""
    definition = {
        **model._asdict(),
        "inputs": [spec._asdict() for spec in model.inputs],
        "outputs": [spec._asdict() for spec in model.outputs],
        "aipp": model.aipp and model.aipp._asdict(),
        "onnx": len(model.onnx),
    }
    payload = _partitions(json.dumps(definition, sort_keys=True).encode(), model.onnx)
    header = HEADER.pack(
        MAGIC,
        HEADER_BYTES,
        FORMAT_VERSION,
        b"",
        len(payload),
        *(0, 0, STANDARD_MODEL, 0),
        f"EMU {model.name}".encode()[:31],
        0,
        MARK.encode(),
        0,
        1,
        f"EMU {model.cann}".encode()[:19],
        0,
        b"",
    )
    return header + payload


def _partitions(definition: bytes, weights: bytes) -> bytes:
    table = struct.pack("<I", 2)
    table += PARTITION.pack(MODEL_DEFINITION, 0, len(definition))
    table += PARTITION.pack(WEIGHTS, len(definition), len(weights))
    return table + definition + weights


def unpack(content: bytes) -> OfflineModel:
    """Read the content of an ``.om`` file as the loader of a chip would.

    Like it, this looks at magic number and length alone: damaged weights are loaded all the same.

    Raises:
        OmError: Header or length are wrong, or the definition cannot be read.
    """
    payload = _checked_payload(content)
    try:
        definition, weights = _split(payload)
        fields: dict[str, Any] = json.loads(definition)
        return _from_fields(fields, weights)
    except (struct.error, ValueError, KeyError, TypeError) as error:
        raise OmError(f"the model definition cannot be read: {error}") from error


def _checked_payload(content: bytes) -> bytes:
    if len(content) < HEADER_BYTES:
        raise OmError(f"{len(content)} bytes are too few for a header")
    magic, head_size, _, _, length, *_ = HEADER.unpack(content[:HEADER_BYTES])
    payload = content[HEADER_BYTES:]
    if magic != MAGIC or head_size != HEADER_BYTES:
        raise OmError("the magic number is wrong")
    if length != len(payload):
        raise OmError(f"the header promises {length} bytes, {len(payload)} follow it")
    return payload


def _split(payload: bytes) -> tuple[bytes, bytes]:
    (count,) = struct.unpack_from("<I", payload)
    start = 4 + count * PARTITION.size
    parts = {}
    for index in range(count):
        kind, offset, size = PARTITION.unpack_from(payload, 4 + index * PARTITION.size)
        parts[kind] = payload[start + offset : start + offset + size]
    return parts[MODEL_DEFINITION], parts[WEIGHTS]


def _from_fields(fields: dict[str, Any], weights: bytes) -> OfflineModel:
    aipp = fields.pop("aipp")
    inputs, outputs = fields.pop("inputs"), fields.pop("outputs")
    fields["onnx"] = weights
    return OfflineModel(
        inputs=tuple(_tensor(row) for row in inputs),
        outputs=tuple(_tensor(row) for row in outputs),
        aipp=aipp and Aipp(tuple(aipp["mean"]), tuple(aipp["factor"]), aipp["swap_red_blue"]),
        **fields,
    )


def _tensor(row: dict[str, Any]) -> TensorSpec:
    return TensorSpec(row["name"], tuple(row["shape"]), row["dtype"])
