"""What a run of ``python -m ais_bench`` came to, over a dataset or on generated input."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from conformance.ascend.ais_bench_text import AisBenchPerf
from conformance.ascend.inference import Outputs
from conformance.ascend.timed_run import TimedRun
from conformance.ascend.tool_run import Run


@dataclass(frozen=True)
class AisBenchRun:
    """A run over a dataset.

    Attributes:
        run: Command, log, wall clock.
        outputs: One file an image, ``<stem>_0.txt``, ``.bin`` or ``.npy``.
        perf: What it measured.
        timed: What it claims about its speed, and what was seen of it.
        figures_path: Its summary, beside the outputs; None if this version wrote none.
        notes: Oddities that are no errors.
        emulated: Whether anything it printed carries the mark of an emulated board.
    """

    run: Run
    outputs: Outputs
    perf: AisBenchPerf
    timed: TimedRun
    figures_path: Path | None
    notes: tuple[str, ...]
    emulated: bool

    @property
    def rate_fps(self) -> float:
        """Rate of the chip alone, images per second."""
        return self.perf.throughput_fps

    @property
    def slowest_stage(self) -> str:
        """Nothing: ais_bench does not time its stages on the host."""
        return ""


@dataclass(frozen=True)
class PureAisBenchRun:
    """A run on generated input.

    Attributes:
        run: Command, log, wall clock.
        perf: What it measured.
        timed: What it claims about its speed, and what was seen of it.
        notes: Oddities that are no errors.
        emulated: Whether anything it printed carries the mark of an emulated board.
    """

    run: Run
    perf: AisBenchPerf
    timed: TimedRun
    notes: tuple[str, ...]
    emulated: bool

    @property
    def rate_fps(self) -> float:
        """Rate of the chip alone, images per second."""
        return self.perf.throughput_fps

    @property
    def times_ms(self) -> tuple[float, ...]:
        """Time of every batch, in order; empty where this version states none."""
        return self.perf.times_ms
