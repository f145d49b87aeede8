"""What one run of an inference tool claims about its speed, and what was seen of it."""

from __future__ import annotations

from dataclasses import dataclass

from conformance.ascend.inference import Outputs
from conformance.ascend.perf_file import PerfFile
from conformance.ascend.tool_run import Run


@dataclass(frozen=True, kw_only=True)
class TimedRun:
    """What one run through one chip claims and what was seen of it; None is not stated.

    Attributes:
        images: Images that were fed, generated ones too.
        interface_fps: Rate of the device alone, for one chip, images per second.
        batches: Inferences over which this rate is a mean.
        started_s: Our clock when the tool was started, seconds since the epoch.
        ended_s: Our clock when it ended.
        infer_fps: Rate of the inference stage.
        e2e_fps: Rate from reading to writing.
        e2e_latency_ms: Time of the whole run as the tool says.
        outputs: Files that lay in the output folder; None where generated input leaves none an
            image.
        first_output_s: Time of the oldest output file.
        last_output_s: Time of the newest one.
    """

    images: int
    interface_fps: float
    batches: int
    started_s: float
    ended_s: float
    infer_fps: float | None = None
    e2e_fps: float | None = None
    e2e_latency_ms: float | None = None
    outputs: int | None = None
    first_output_s: float | None = None
    last_output_s: float | None = None


def timed_dataset_run(
    run: Run, outputs: Outputs, rate_fps: float, batch: int, perf: PerfFile | None = None
) -> TimedRun:
    """Sum up a run over images, while its outputs are still there.

    Args:
        run: The tool's run.
        outputs: Its outputs, one file for each image that was given.
        rate_fps: Rate of the device alone, images per second.
        batch: Batch size.
        perf: The host's rates, where the tool states them.

    Raises:
        OSError: An output is gone.
    """
    written_s = [(outputs.folder / name).stat().st_mtime for name in outputs.names]
    return TimedRun(
        images=len(outputs.names),
        interface_fps=rate_fps,
        batches=-(-len(outputs.names) // batch),
        started_s=run.started_at,
        ended_s=run.started_at + run.duration_s,
        infer_fps=perf.infer_fps if perf else None,
        e2e_fps=perf.e2e_fps if perf else None,
        e2e_latency_ms=perf.e2e_latency_ms if perf else None,
        outputs=sum(1 for _ in outputs.folder.iterdir()),
        first_output_s=min(written_s),
        last_output_s=max(written_s),
    )


def timed_pure_run(run: Run, rate_fps: float, batch: int, loops: int) -> TimedRun:
    """Sum up a run of ``loops`` batches of generated input."""
    return TimedRun(
        images=loops * batch,
        interface_fps=rate_fps,
        batches=loops,
        started_s=run.started_at,
        ended_s=run.started_at + run.duration_s,
    )
