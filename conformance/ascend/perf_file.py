"""The performance file of the inference benchmark, and the one of its pure inference.

Five lines, one a stage; rates in images per second except ``[post]``, which counts batches.
Spellings and places differ between versions (CANN 5.0.1 benchmark guide; Ascend ModelZoo READMEs
of 2021 and 2022).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

from conformance.errors import ToolError

# Spellings of the five stages, all of them seen in published files.
STAGES = {
    "e2e": "e2e",
    "data read": "read",
    "preprocess": "preprocess",
    "infer": "infer",
    "inference": "infer",
    "post": "post",
    "postprocess": "post",
}
STAGE = re.compile(rf"\[({'|'.join(sorted(STAGES, key=len, reverse=True))})\]")
NUMBER = r"\s*[:=]\s*(?P<number>[-+]?(?:\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|nan|inf))"


@dataclass(frozen=True)
class _Quantity:
    """A number of the file: how a reader calls it, and how it is spelt."""

    name: str
    spelling: str
    unit: str = ""

    def find(self, text: str) -> list[str]:
        """Return every number that stands after the spelling and before nothing that spoils it."""
        pattern = rf"{self.spelling}{NUMBER}(?:{self.unit})?(?![\w.])"
        return [match["number"] for match in re.finditer(pattern, text)]


RATE = _Quantity("throughputRate", r"(?<!Interface )\bthroughputRate")
INTERFACE_RATE = _Quantity("Interface throughputRate", "Interface throughputRate")
LATENCY = _Quantity("latency", r"\b(?:moduleL|l)an?tency")
PURE_RATE = _Quantity("ave_throughputRate", "ave_throughputRate", "samples/s")
PURE_LATENCY = _Quantity("ave_latency", "ave_lan?tency", "ms")


@dataclass(frozen=True)
class PerfFile:
    """What the performance file says; every number is finite and above 0.

    Attributes:
        e2e_fps: Images per second from the start of the tool to the end of postprocessing.
        e2e_latency_ms: That whole time.
        read_fps: Rate of reading the input.
        read_latency_ms: Time of one image there.
        preprocess_fps: Rate of preprocessing.
        preprocess_latency_ms: Time of one image there.
        infer_fps: Rate of inference as the host sees it.
        interface_fps: ``Interface throughputRate``: rate by device time alone; the figure that is
            published.
        infer_latency_ms: Module latency of inference; not the inverse of its rate.
        post_batches_per_s: Rate of postprocessing, in batches.
        post_latency_ms: Time of one batch there.
    """

    e2e_fps: float
    e2e_latency_ms: float
    read_fps: float
    read_latency_ms: float
    preprocess_fps: float
    preprocess_latency_ms: float
    infer_fps: float
    interface_fps: float
    infer_latency_ms: float
    post_batches_per_s: float
    post_latency_ms: float

    @property
    def images(self) -> float:
        """Number of images that the end-to-end figures speak of, as far as their digits go."""
        return self.e2e_fps * self.e2e_latency_ms / 1000


@dataclass(frozen=True)
class PureInference:
    """Result of pure inference on random input.

    Attributes:
        throughput_fps: Average images per second.
        latency_ms: Average time of one image.
    """

    throughput_fps: float
    latency_ms: float


def parse_perf_text(text: str, where: Mapping[str, object] | None = None) -> PerfFile:
    """Parse a performance file, or the same lines printed on standard output.

    Args:
        text: The file's text; a banner may stand first, and line breaks may be missing.
        where: File and the like, for the error.

    Raises:
        ToolError: A stage or number is missing, repeated, not a number, or not above 0.
    """
    sections = _sections(text, where)
    values: dict[str, float] = {}
    for stage in ("e2e", "read", "preprocess", "infer", "post"):
        rate = "post_batches_per_s" if stage == "post" else f"{stage}_fps"
        values[rate] = _number(RATE, sections, stage, where)
        values[f"{stage}_latency_ms"] = _number(LATENCY, sections, stage, where)
    values["interface_fps"] = _number(INTERFACE_RATE, sections, "infer", where)
    return PerfFile(**{field.name: values[field.name] for field in fields(PerfFile)})


def parse_pure_text(text: str, where: Mapping[str, object] | None = None) -> PureInference:
    """Parse the result of pure inference: the file (`` = ``) or the printed form (``: ``).

    Raises:
        ToolError: A number is missing, not a number, or not above 0.
    """
    section = {"pure inference": text}
    rate = _number(PURE_RATE, section, "pure inference", where)
    return PureInference(rate, _number(PURE_LATENCY, section, "pure inference", where))


def _sections(text: str, where: Mapping[str, object] | None) -> dict[str, str]:
    """Cut the text at its stages, wherever they stand in a line."""
    parts = STAGE.split(text)[1:]
    found: dict[str, str] = {}
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        stage = STAGES[name]
        if stage in found:
            raise unusable(f"[{name}] twice", "each stage once: one run, one file", where)
        found[stage] = body
    return found


def _number(
    quantity: _Quantity, sections: dict[str, str], stage: str, where: Mapping[str, object] | None
) -> float:
    found = quantity.find(sections.get(stage, ""))
    if len(found) != 1:
        got = "nothing" if not found else f"{len(found)} numbers"
        raise unusable(got, f"one number for {quantity.name} of [{stage}]", where)
    value = float(found[0])
    if not math.isfinite(value) or value <= 0:
        raise unusable(value, f"{quantity.name} of [{stage}] above 0", where)
    return value


def unusable(got: object, expected: str, where: Mapping[str, object] | None) -> ToolError:
    """Make the error of a performance file that is garbled or contradicts itself."""
    return ToolError(
        "the performance file cannot be used",
        got=got,
        expected=expected,
        where=where,
        next_step="run again alone on the chip; look at the tool's log beside the file",
    )
