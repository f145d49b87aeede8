"""Throughput that cannot lie: rates, clocks, counts and file times must be possible together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from conformance.ascend.perf_checks import CLOCK_TICK_S, PRINTED
from conformance.ascend.timed_run import TimedRun
from conformance.bounds import suite_bound
from conformance.errors import ToolError

# Newer software has brought some ten percent; a wrong card factor or batch size brings 2 to 16.
PLAUSIBLE_GAIN = suite_bound("throughput.plausible_gain")
# Network file systems have clocks of their own, and coarse ones.
CLOCK_SLACK_S = suite_bound("throughput.clock_slack_s")
FILE_TICK_S = suite_bound("throughput.file_tick_s")


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
    if run.images <= 0 or not run.interface_fps > 0:
        yield f"{run.images} images at {run.interface_fps:g} fps"
        return
    if run.images / run.interface_fps > wall_s * (1 + PRINTED):
        yield f"{run.images} images at {run.interface_fps:g} fps do not fit into {wall_s:.3f} s"
    if run.infer_fps is not None and run.interface_fps < run.infer_fps * (1 - PRINTED):
        yield f"interface {run.interface_fps:g} fps is below inference {run.infer_fps:g} fps"
    if run.outputs not in (None, run.images):
        yield f"{run.outputs} outputs for {run.images} images"
    yield from _end_to_end(run, wall_s)
    yield from _file_times(run)


def _end_to_end(run: TimedRun, wall_s: float) -> Iterator[str]:
    if run.e2e_fps is None or run.e2e_latency_ms is None:
        return
    counted = run.e2e_fps * run.e2e_latency_ms / 1000
    if abs(counted - run.images) > max(PRINTED * run.images, 0.5):
        yield f"end-to-end rate times latency is {counted:.1f} images, not {run.images}"
    if run.e2e_latency_ms / 1000 > wall_s * (1 + PRINTED) + CLOCK_TICK_S:
        yield f"{run.e2e_latency_ms / 1000:.3f} s end to end took {wall_s:.3f} s by our clock"

    # The clock from end to end runs from the start of the program, so it holds every stage.
    for stage, fps in (("the interface", run.interface_fps), ("inference", run.infer_fps)):
        if fps is not None and run.e2e_fps > fps * (1 + PRINTED):
            yield f"{run.e2e_fps:g} fps end to end, and {stage} alone makes {fps:g} fps"


def _file_times(run: TimedRun) -> Iterator[str]:
    if run.first_output_s is not None and run.first_output_s < run.started_s - CLOCK_SLACK_S:
        early = run.started_s - run.first_output_s
        yield f"an output is {early:.1f} s older than the run, so it is stale"
    if run.last_output_s is not None and run.last_output_s > run.ended_s + CLOCK_SLACK_S:
        yield f"an output is {run.last_output_s - run.ended_s:.1f} s newer than the run"
    if run.first_output_s is not None and run.last_output_s is not None:
        # Both are of one clock, so that no slack is needed for another's.
        span_s, wall_s = run.last_output_s - run.first_output_s, run.ended_s - run.started_s
        if span_s > wall_s + FILE_TICK_S:
            yield f"outputs were written over {span_s:.1f} s by a run of {wall_s:.1f} s"


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
        next_step="are these figures of another batch size? Check files, chips per card and clock",
    )
