"""Drive ``benchmark.<arch>``, the inference benchmark of CANN 5 (single-dash ``-name=value``)."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from conformance.ascend.benchmark_files import info_paths, read_figures, require_one_story
from conformance.ascend.chip_guard import AfterRun, nothing_to_do
from conformance.ascend.environment import VendorEnvironment
from conformance.ascend.inference import (
    Outputs,
    inference_limit_s,
    require_good_run,
    require_inputs,
    require_outputs,
    warnings_in,
)
from conformance.ascend.inference_tool import Inputs
from conformance.ascend.marker import is_emulated
from conformance.ascend.perf_checks import check_perf, limiting_stage
from conformance.ascend.perf_file import PerfFile, PureInference, parse_perf_text, parse_pure_text
from conformance.ascend.supervisor import run
from conformance.ascend.timed_run import TimedRun, timed_dataset_run, timed_pure_run
from conformance.ascend.tool_run import Run
from conformance.ascend.work_folder import private_copy, require_empty
from conformance.errors import ToolError

TOOL = "benchmark"
# The first output of an image is number 1 here (and 0 in ais_bench).
FIRST_OUTPUT = 1
PURE_ROUNDS = range(1, 1025)


@dataclass(frozen=True)
class BenchmarkRun:
    """A run over a dataset.

    Attributes:
        run: Command, log, wall clock.
        outputs: One file an image, ``<stem>_1.txt`` or ``.bin``.
        perf: The performance file's numbers.
        timed: What it claims about its speed, and what was seen of it.
        figures_path: The file itself.
        slowest_stage: The stage that limits the end-to-end rate.
        notes: Oddities that are no errors.
        emulated: Whether anything it printed or wrote carries the mark of an emulated board.
    """

    run: Run
    outputs: Outputs
    perf: PerfFile
    timed: TimedRun
    figures_path: Path
    slowest_stage: str
    notes: tuple[str, ...]
    emulated: bool

    @property
    def rate_fps(self) -> float:
        """Rate of the chip alone, images per second."""
        return self.perf.interface_fps


@dataclass(frozen=True)
class PureBenchmarkRun:
    """A run on random input.

    Attributes:
        run: Command, log, wall clock.
        result: Its numbers.
        timed: What it claims about its speed, and what was seen of it.
        notes: Oddities that are no errors.
        emulated: Whether anything it printed or wrote carries the mark of an emulated board.
    """

    run: Run
    result: PureInference
    timed: TimedRun
    notes: tuple[str, ...]
    emulated: bool

    @property
    def rate_fps(self) -> float:
        """Rate of the chip alone, images per second."""
        return self.result.throughput_fps

    @property
    def times_ms(self) -> tuple[float, ...]:
        """Nothing: the time of each batch is only printed, with three digits."""
        return ()


@dataclass(frozen=True)
class BenchmarkTool:
    """The tool on one chip.

    Attributes:
        path: The program.
        environment: The environment of vendor tools.
        device_id: ACL id of the chip, which must be leased.
        after_run: Looks after the chip, see ``ChipGuard``.
    """

    path: Path
    environment: VendorEnvironment
    device_id: int
    after_run: AfterRun = nothing_to_do

    def infer(
        self,
        om: Path,
        inputs: Inputs,
        *,
        batch: int,
        folder: Path,
        binary: bool = False,
        limit_s: float | None = None,
    ) -> BenchmarkRun:
        """Run a model over the images of an info file.

        Args:
            om: The model, converted for this batch size.
            inputs: Their info file is used; relative paths in it start at ``folder``.
            batch: Batch size.
            folder: Empty folder to run in; everything the tool writes stays there.
            binary: Write ``.bin`` instead of ``.txt``.
            limit_s: Time limit; default scales with the number of images.

        Raises:
            DatasetError: The info file or an input is not what it must be.
            DumpError: There is not exactly one fresh result for each input.
            BoardError: The chip cannot be used.
            ToolError: The tool fails, or its performance file cannot be believed.
        """
        require_empty(folder, TOOL)
        paths = [folder / path for path in info_paths(inputs.info_file)]
        stems = require_inputs(paths, inputs.bytes_each)
        info = shutil.copyfile(inputs.info_file, folder / inputs.info_file.name)
        width_px, height_px = inputs.size_px
        result = self._run(
            private_copy(om, folder / om.name),
            folder,
            limit_s or inference_limit_s(len(stems)),
            f"-batch_size={batch}",
            f"-input_text_path=./{info.name}",
            f"-input_width={width_px}",
            f"-input_height={height_px}",
            f"-output_binary={binary}",
            "-useDvpp=False",
        )
        outputs = Outputs(
            folder=folder / f"result/dumpOutput_device{self.device_id}",
            names=tuple(f"{stem}_{FIRST_OUTPUT}.{'bin' if binary else 'txt'}" for stem in stems),
            started_at=result.started_at,
            output_number=FIRST_OUTPUT,
        )
        require_good_run(result, TOOL, outputs)
        require_outputs(outputs, result)
        return self._measured(result, outputs, batch)

    def measure_pure(
        self, om: Path, *, batch: int, loops: int, folder: Path, limit_s: float | None = None
    ) -> PureBenchmarkRun:
        """Run a model on random input, ``loops`` batches (1 to 1024): a quick, rough figure.

        Raises:
            BoardError: The chip cannot be used.
            ToolError: The tool fails, or its result cannot be read.
        """
        if loops not in PURE_ROUNDS:
            raise ToolError(
                "pure inference takes 1 to 1024 rounds", got=loops, next_step="choose fewer rounds"
            )
        require_empty(folder, TOOL)
        model = private_copy(om, folder / om.name)
        limit_s = limit_s or inference_limit_s(loops * batch)
        result = self._run(model, folder, limit_s, f"-batch_size={batch}", f"-round={loops}")
        require_good_run(result, TOOL)
        name = f"result/PureInfer_perf_of_{om.stem}_in_device_{self.device_id}.txt"
        text = read_figures(folder, [folder / name], result)[1]
        found = parse_pure_text(text, {"file": folder / name})
        require_one_story(text, [folder / name], result)
        emulated = is_emulated(result.text + text)
        timed = timed_pure_run(result, found.throughput_fps, batch, loops)
        return PureBenchmarkRun(result, found, timed, warnings_in(result.text), emulated)

    def _run(self, model: Path, folder: Path, limit_s: float, *arguments: str) -> Run:
        batch, *rest = arguments
        result = run(
            [
                self.path,
                "-model_type=vision",
                f"-device_id={self.device_id}",
                batch,
                f"-om_path={model.name}",
                *rest,
            ],
            env=self.environment.variables,
            cwd=folder,
            log=folder / "benchmark.log",
            limit_s=limit_s,
        )
        self.after_run(result)
        return result

    def _measured(self, result: Run, outputs: Outputs, batch: int) -> BenchmarkRun:
        name = f"perf_vision_batchsize_{batch}_device_{self.device_id}.txt"
        # The shipped tool writes under result/, its public relative into the current folder.
        places = [result.cwd / "result" / name, result.cwd / name]
        path, text = read_figures(result.cwd, places, result)
        where = {"file": path, "log": result.stdout_path}
        perf = parse_perf_text(text, where)
        notes = check_perf(
            perf,
            images=len(outputs.names),
            batch=batch,
            wall_clock_s=result.duration_s,
            where=where,
        )
        require_one_story(text, places, result)
        return BenchmarkRun(
            run=result,
            outputs=outputs,
            perf=perf,
            timed=timed_dataset_run(result, outputs, perf.interface_fps, batch, perf),
            figures_path=path,
            slowest_stage=str(limiting_stage(perf, batch)),
            notes=warnings_in(result.text) + notes,
            emulated=is_emulated(result.text + text),
        )
