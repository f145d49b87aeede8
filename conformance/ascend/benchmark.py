"""Drive ``benchmark.<arch>``, the inference benchmark of CANN 5 (single-dash ``-name=value``)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

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
from conformance.ascend.marker import is_emulated
from conformance.ascend.perf_checks import check_perf
from conformance.ascend.perf_file import PerfFile, PureInference, parse_perf_text, parse_pure_text
from conformance.ascend.supervisor import run
from conformance.ascend.tool_run import Run
from conformance.ascend.work_folder import private_copy, require_empty
from conformance.errors import DatasetError, ToolError

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
        perf_path: The file itself.
        notes: Oddities that are no errors.
        emulated: Whether anything it printed or wrote carries the mark of an emulated board.
    """

    run: Run
    outputs: Outputs
    perf: PerfFile
    perf_path: Path
    notes: tuple[str, ...]
    emulated: bool


@dataclass(frozen=True)
class PureBenchmarkRun:
    """A run on random input.

    Attributes:
        run: Command, log, wall clock.
        result: Its numbers.
        emulated: Whether anything it printed or wrote carries the mark of an emulated board.
    """

    run: Run
    result: PureInference
    emulated: bool


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
        info_file: Path,
        *,
        batch: int,
        size: tuple[int, int],
        input_bytes: int,
        folder: Path,
        binary: bool = False,
        limit_s: float | None = None,
    ) -> BenchmarkRun:
        """Run a model over the images of an info file.

        Args:
            om: The model, converted for this batch size.
            info_file: Lines ``INDEX PATH WIDTH HEIGHT``; relative paths start at ``folder``.
            batch: Batch size.
            size: Width and height in pixels.
            input_bytes: Size of each input file.
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
        stems = require_inputs([folder / path for path in info_paths(info_file)], input_bytes)
        info = shutil.copyfile(info_file, folder / info_file.name)
        result = self._run(
            private_copy(om, folder / om.name),
            folder,
            limit_s or inference_limit_s(len(stems)),
            f"-batch_size={batch}",
            f"-input_text_path=./{info.name}",
            f"-input_width={size[0]}",
            f"-input_height={size[1]}",
            f"-output_binary={binary}",
            "-useDvpp=False",
        )
        outputs = Outputs(
            folder=folder / f"result/dumpOutput_device{self.device_id}",
            names=tuple(f"{stem}_{FIRST_OUTPUT}.{'bin' if binary else 'txt'}" for stem in stems),
            started_at=result.started_at,
        )
        require_good_run(result, TOOL, outputs)
        require_outputs(outputs, result)
        return self._measured(result, outputs, batch)

    def measure_pure(
        self, om: Path, *, batch: int, rounds: int, folder: Path, limit_s: float | None = None
    ) -> PureBenchmarkRun:
        """Run a model on random input, ``rounds`` batches (1 to 1024): a quick, rough figure.

        Raises:
            BoardError: The chip cannot be used.
            ToolError: The tool fails, or its result cannot be read.
        """
        if rounds not in PURE_ROUNDS:
            raise ToolError(
                "pure inference takes 1 to 1024 rounds", got=rounds, next_step="choose fewer rounds"
            )
        require_empty(folder, TOOL)
        model = private_copy(om, folder / om.name)
        limit_s = limit_s or inference_limit_s(rounds * batch)
        result = self._run(model, folder, limit_s, f"-batch_size={batch}", f"-round={rounds}")
        require_good_run(result, TOOL)
        name = f"result/PureInfer_perf_of_{om.stem}_in_device_{self.device_id}.txt"
        text = _read(folder, [folder / name], result)[1]
        found = parse_pure_text(text, {"file": folder / name})
        return PureBenchmarkRun(result, found, is_emulated(result.text + text))

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
        path, text = _read(result.cwd, [result.cwd / "result" / name, result.cwd / name], result)
        where = {"file": path, "log": result.stdout_path}
        perf = parse_perf_text(text, where)
        notes = check_perf(
            perf,
            images=len(outputs.names),
            batch=batch,
            wall_clock_s=result.duration_s,
            where=where,
        )
        emulated = is_emulated(result.text + text)
        return BenchmarkRun(result, outputs, perf, path, warnings_in(result.text) + notes, emulated)


def _read(folder: Path, places: list[Path], result: Run) -> tuple[Path, str]:
    """Return the first performance file of the places, and its text.

    Raises:
        ToolError: There is none, or it is from before the run; files for another batch or device
            are named.
    """
    for path in places:
        if path.is_file():
            _demand_fresh(path, result)
            return path, path.read_text("utf-8", errors="replace")
    others = sorted(str(path.relative_to(folder)) for path in folder.rglob("*erf*.txt"))
    raise ToolError(
        "the performance file is missing",
        got=f"others: {', '.join(others)}" if others else "no such file",
        expected=" or ".join(str(path) for path in places),
        where={"log": result.stdout_path},
        next_step="does the .om hold this batch size? See the log",
    )


def _demand_fresh(path: Path, result: Run) -> None:
    written_at = path.stat().st_mtime
    if written_at < result.started_at - 2:  # coarse clocks of network file systems
        raise ToolError(
            "the performance file is from before this run",
            got=f"written {result.started_at - written_at:.0f} s before it began",
            expected="a file that this run wrote",
            where={"file": path, "log": result.stdout_path},
            next_step="is the tool a wrapper that puts old results in place? See the log",
        )


def info_paths(info_file: Path) -> tuple[str, ...]:
    """Return the input paths of an info file, in its order.

    Raises:
        DatasetError: A line does not have four columns, a blank is in a path, or the index is not
            0, 1, 2 ...
    """
    return tuple(_info_paths(info_file))


def _info_paths(info_file: Path) -> Iterator[str]:
    for number, line in enumerate(info_file.read_text("utf-8").splitlines()):
        columns = line.split(" ")
        if len(columns) != 4 or columns[0] != str(number):
            raise DatasetError(
                "the info file is wrong",
                got=line,
                expected=f"{number} PATH WIDTH HEIGHT, no blank in the path",
                where={"file": info_file, "line": number + 1},
                next_step="write it again; use a --scratch= without blanks",
            )
        yield columns[1]
