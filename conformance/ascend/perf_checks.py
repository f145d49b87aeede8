"""Is a performance file plausible, and which stage limits the end-to-end rate?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from conformance.ascend.perf_file import PerfFile, unusable
from conformance.bounds import suite_bound

# Six significant digits are printed, and two clocks of one machine read a little apart.
PRINTED = suite_bound("throughput.printed")
CLOCK_TICK_S = suite_bound("throughput.clock_tick_s")


@dataclass(frozen=True)
class LimitingStage:
    """The stage that limits the end-to-end rate.

    Attributes:
        name: ``data read``, ``preprocess``, ``infer`` or ``post``.
        throughput_fps: Its rate in images per second.
        behind_pct: By how many percent it is slower than the next.
        chip_waits: Whether the chip itself would be more than twice as fast as that stage.
    """

    name: str
    throughput_fps: float
    behind_pct: float
    chip_waits: bool

    def __str__(self) -> str:
        waits = "; the chip waits for the host" if self.chip_waits else ""
        rate = f"{self.throughput_fps:.6g} images/s"
        return f"{self.name} ({rate}, {self.behind_pct:.2g} % behind the next stage{waits})"


def check_perf(
    perf: PerfFile,
    *,
    images: int,
    batch: int,
    wall_clock_s: float,
    where: Mapping[str, object] | None = None,
) -> tuple[str, ...]:
    """Refuse a performance file that contradicts itself or the run; return other oddities.

    Args:
        perf: The file.
        images: Images that were fed.
        batch: Batch size.
        wall_clock_s: How long the tool ran by our own clock.
        where: File and the like, for the error.

    Raises:
        ToolError: e2e rate x latency is not the image count; the interface is slower than
            inference as a whole, or this slower than e2e, whose time holds that of every stage; or
            the tool claims more time than it ran.
    """
    if abs(perf.images - images) > max(0.5, PRINTED * images):
        raise unusable(f"e2e rate x latency = {perf.images:.6g} images", f"{images} images", where)
    if perf.interface_fps < perf.infer_fps * (1 - PRINTED):
        got = f"Interface {perf.interface_fps:g}, infer {perf.infer_fps:g} images/s"
        raise unusable(got, "Interface throughputRate at least that of infer", where)
    if perf.e2e_latency_ms / 1000 > wall_clock_s * (1 + PRINTED) + CLOCK_TICK_S:
        got = f"e2e latency {perf.e2e_latency_ms / 1000:g} s"
        raise unusable(got, f"at most the {wall_clock_s:g} s that the tool ran", where)
    if perf.e2e_fps > perf.infer_fps * (1 + PRINTED):
        got = f"e2e {perf.e2e_fps:g}, infer {perf.infer_fps:g} images/s"
        raise unusable(got, "no more images from end to end than the chip infers", where)
    return tuple(_oddities(perf, batch, wall_clock_s))


def _oddities(perf: PerfFile, batch: int, wall_clock_s: float) -> list[str]:
    """Name identities that published files keep, mostly, and that this one does not."""
    inverse = {
        "data read": perf.read_fps * perf.read_latency_ms,
        "preprocess": perf.preprocess_fps * perf.preprocess_latency_ms,
        "post": perf.post_batches_per_s * perf.post_latency_ms,
    }
    notes = [
        f"[{name}] rate x moduleLatency is {product / 1000:.4g}, not 1"
        for name, product in inverse.items()
        if abs(product / 1000 - 1) > 0.01
    ]
    post_fps = _post_fps(perf, batch)
    if abs(post_fps / perf.infer_fps - 1) > 0.01:
        notes.append(f"[post] makes {post_fps:g} images/s, [infer] {perf.infer_fps:g}")
    if perf.e2e_latency_ms / 1000 < 0.5 * wall_clock_s:
        notes.append(f"e2e latency is {perf.e2e_latency_ms / 1000:g} s of {wall_clock_s:g} s run")
    if perf.interface_fps > 100 * perf.infer_fps:
        notes.append(f"Interface is {perf.interface_fps / perf.infer_fps:.0f} times infer")
    return notes


def _post_fps(perf: PerfFile, batch: int) -> float:
    """Turn ``[post]``'s batches per second into images: the last batch may hold fewer of them."""
    images = max(1, round(perf.images))
    return perf.post_batches_per_s * images / math.ceil(images / batch)


def limiting_stage(perf: PerfFile, batch: int) -> LimitingStage:
    """Name the slowest stage: it limits the end-to-end rate, for the stages are a pipeline."""
    rates = {
        "data read": perf.read_fps,
        "preprocess": perf.preprocess_fps,
        "infer": perf.infer_fps,
        "post": _post_fps(perf, batch),
    }
    (name, slowest), (_, next_one), *_ = sorted(rates.items(), key=lambda item: item[1])
    return LimitingStage(
        name=name,
        throughput_fps=slowest,
        behind_pct=100 * (1 - slowest / next_one),
        chip_waits=perf.interface_fps > 2 * slowest,
    )
