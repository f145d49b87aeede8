"""What every inference tool offers, whichever it is: callers need not know which one they have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from conformance.ascend.inference import Outputs
from conformance.ascend.timed_run import TimedRun
from conformance.ascend.tool_run import Run


@dataclass(frozen=True)
class Inputs:
    """The prepared inputs of one run.

    Attributes:
        folder: One ``.bin`` an image and nothing else; ``ais_bench`` takes all of it.
        info_file: Lines ``INDEX PATH WIDTH HEIGHT`` that name the same files; ``benchmark`` takes
            these.
        size_px: Width and height of an image.
        bytes_each: Size of each file: 602,112 for float32 3 x 224 x 224, 150,528 for uint8.
        sha256: Digest of each file as it lies on the disk, in the images' order.
    """

    folder: Path
    info_file: Path
    size_px: tuple[int, int]
    bytes_each: int
    sha256: tuple[str, ...] = ()


class InferenceRun(Protocol):
    """What a run over prepared inputs gave; every file of it was checked."""

    @property
    def run(self) -> Run:
        """Command, log, wall clock."""

    @property
    def outputs(self) -> Outputs:
        """One fresh file an image."""

    @property
    def rate_fps(self) -> float:
        """Rate of the chip alone, images per second."""

    @property
    def timed(self) -> TimedRun:
        """What it claims about its speed, and what was seen of it."""

    @property
    def slowest_stage(self) -> str:
        """The stage that limits the end-to-end rate; empty where the tool does not tell."""

    @property
    def figures_path(self) -> Path | None:
        """The file with the tool's figures; None where this version writes none."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Oddities that are no errors."""

    @property
    def emulated(self) -> bool:
        """Whether anything it printed or wrote carries the mark of an emulated board."""


class PureRun(Protocol):
    """What a run on generated input gave."""

    @property
    def rate_fps(self) -> float:
        """Rate of the chip alone, images per second."""

    @property
    def timed(self) -> TimedRun:
        """What it claims about its speed, and what was seen of it."""

    @property
    def times_ms(self) -> tuple[float, ...]:
        """Time of every batch, in order; empty where the tool states none."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Oddities that are no errors."""

    @property
    def emulated(self) -> bool:
        """Whether anything it printed or wrote carries the mark of an emulated board."""


class InferenceTool(Protocol):
    """An inference tool on one leased chip."""

    def infer(
        self, om: Path, inputs: Inputs, *, batch: int, folder: Path, limit_s: float | None = None
    ) -> InferenceRun:
        """Run a model over every input.

        Args:
            om: The model, converted for this batch size.
            inputs: What to infer.
            batch: Batch size.
            folder: Empty folder to run in; everything the tool writes stays there.
            limit_s: Time limit; default scales with the number of images.

        Raises:
            DatasetError: An input is not what it must be.
            DumpError: There is not exactly one fresh result for each input.
            BoardError: The chip cannot be used.
            ToolError: The tool fails, or its figures cannot be believed.
        """

    def measure_pure(
        self, om: Path, *, batch: int, loops: int, folder: Path, limit_s: float | None = None
    ) -> PureRun:
        """Run a model on generated input, ``loops`` batches.

        Raises:
            BoardError: The chip cannot be used.
            ToolError: The tool fails, or its figures cannot be read.
        """
