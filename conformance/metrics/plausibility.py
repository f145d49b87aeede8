"""Throughput that cannot lie: rates, clocks, counts and file times must be possible together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from conformance.bounds import suite_bound
from conformance.errors import ToolError

# Performance files print six significant digits.
PRINTED = 1e-4
# Newer software has brought some ten percent; a wrong card factor or batch size brings 2 to 16.
PLAUSIBLE_GAIN = suite_bound("throughput.plausible_gain")
CLOCK_SLACK_S = 2.0


@dataclass(frozen=True)
class TimedRun:
    """What one run of a dataset through one chip claims and what was seen of it.

    Attributes:
        images: Images that were fed.
        outputs: Output files that were found.
        interface_fps: Rate of the device alone, for one chip.
        infer_fps: Rate of the inference stage.
        e2e_fps: Rate from reading to writing.
        e2e_latency_ms: Time of the whole run as the tool says.
        started_s: Our clock when the tool was started, seconds since the epoch.
        ended_s: Our clock when it ended.
        first_output_s: Time of the oldest output file.
        last_output_s: Time of the newest one.
    """

    images: int
    outputs: int
    interface_fps: float
    infer_fps: float
    e2e_fps: float
    e2e_latency_ms: float
    started_s: float
    ended_s: float
    first_output_s: float
    last_output_s: float


def require_possible(run: TimedRun) -> None:
    """Check that everything a run claims can be true at once.

    Raises:
        ToolError: Something cannot be; the error names every contradiction.
    """
    found = list(_contradictions(run))
    if found:
        raise ToolError(
            "the performance figures contradict each other",
            got="; ".join(found),
            expected="rates, clock, outputs and file times of one run",
            next_step="empty the output folder, see that the chip is idle, and measure again",
        )


def _contradictions(run: TimedRun) -> Iterator[str]:
    wall_s = run.ended_s - run.started_s
    counted = run.e2e_fps * run.e2e_latency_ms / 1000
    if run.images <= 0 or min(run.interface_fps, run.infer_fps, run.e2e_fps) <= 0:
        yield f"{run.images} images at {run.interface_fps:g} fps"
        return
    if abs(counted - run.images) > max(PRINTED * run.images, 0.5):
        yield f"end-to-end rate times latency is {counted:.1f} images, not {run.images}"
    if run.interface_fps < run.infer_fps * (1 - PRINTED):
        yield f"interface {run.interface_fps:g} fps is below inference {run.infer_fps:g} fps"
    if run.e2e_latency_ms / 1000 > wall_s * (1 + PRINTED):
        yield f"{run.e2e_latency_ms / 1000:.3f} s end to end took {wall_s:.3f} s by our clock"
    if run.images / run.interface_fps > wall_s * (1 + PRINTED):
        yield f"{run.images} images at {run.interface_fps:g} fps do not fit into {wall_s:.3f} s"
    if run.outputs != run.images:
        yield f"{run.outputs} outputs for {run.images} images"
    yield from _file_times(run)


def _file_times(run: TimedRun) -> Iterator[str]:
    if run.first_output_s < run.started_s - CLOCK_SLACK_S:
        early = run.started_s - run.first_output_s
        yield f"an output is {early:.1f} s older than the run, so it is stale"
    if run.last_output_s > run.ended_s + CLOCK_SLACK_S:
        yield f"an output is {run.last_output_s - run.ended_s:.1f} s newer than the run"


def require_plausible_rate(
    fps: float, known_fps: Sequence[float], *, gain: float = PLAUSIBLE_GAIN
) -> None:
    """Check that a rate is not far above every rate known for this SoC and method.

    Args:
        fps: Measured rate, of a card or a chip as the known ones are.
        known_fps: Published figures and earlier runs; empty when none is known.
        gain: Largest factor by which software may have become faster.

    Raises:
        ToolError: The rate is not plausible: a wrong factor, batch size or clock.
    """
    if not known_fps or fps <= gain * max(known_fps):
        return
    raise ToolError(
        "the rate is higher than anything known makes plausible",
        got=f"{fps:g} fps",
        expected=f"at most {gain * max(known_fps):g} fps, {gain:g} times the highest known rate",
        next_step="check chips per card, the batch size given to the tool, and the clock",
    )
