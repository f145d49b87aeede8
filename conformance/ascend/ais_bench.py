"""Drive ``python -m ais_bench``, the inference tool of CANN 6 and later."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from conformance.ascend.ais_bench_runs import AisBenchRun, PureAisBenchRun
from conformance.ascend.ais_bench_text import (
    AisBenchPerf,
    check_formula,
    check_times,
    find_summary,
    parse_printed,
    read_summary,
    times_of,
)
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
from conformance.ascend.supervisor import run
from conformance.ascend.timed_run import timed_dataset_run, timed_pure_run
from conformance.ascend.tool_run import Run
from conformance.ascend.work_folder import (
    private_copy,
    require_empty,
    require_legal_path,
    require_private,
)

TOOL = "ais_bench"
# The first output of an image is number 0 here (and 1 in the older benchmark).
FIRST_OUTPUT = 0
PURE_NAME = "pure"
OutputFormat = Literal["TXT", "BIN", "NPY"]
INPUT_SUFFIXES = (".bin", ".BIN", ".npy", ".NPY")


@dataclass(frozen=True)
class AisBenchTool:
    """The tool on one chip.

    Attributes:
        python: The interpreter that has it.
        environment: The environment of vendor tools.
        device_id: ACL id of the chip, which must be leased.
        after_run: Looks after the chip, see ``ChipGuard``.
    """

    python: Path
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
        output_format: OutputFormat = "TXT",
        limit_s: float | None = None,
    ) -> AisBenchRun:
        """Run a model over every input file of a folder.

        Args:
            om: The model, converted for this batch size.
            inputs: Their folder is used; ais_bench takes every file in it.
            batch: Batch size.
            folder: Empty folder to run in; everything the tool writes stays there.
            output_format: Format of the outputs.
            limit_s: Time limit; default scales with the number of images.

        Raises:
            DatasetError: An input is not what it must be, or others may write the folder.
            DumpError: There is not exactly one fresh result for each input.
            BoardError: The chip cannot be used.
            ToolError: The tool fails, or its figures cannot be believed.
        """
        self._prepare(folder)
        require_private(inputs.folder)
        stems = require_inputs(input_files(inputs.folder), inputs.bytes_each)
        name = f"result_bs{batch}"
        (folder / "result").mkdir(mode=0o700)
        result = self._run(
            private_copy(om, folder / om.name),
            folder,
            limit_s or inference_limit_s(len(stems)),
            f"--batchsize={batch}",
            f"--input={inputs.folder.absolute()}",
            "--output=result",
            f"--output_dirname={name}",
            f"--outfmt={output_format}",
        )
        outputs = Outputs(
            folder=folder / "result" / name,
            names=tuple(f"{stem}_{FIRST_OUTPUT}.{output_format.lower()}" for stem in stems),
            started_at=result.started_at,
            output_number=FIRST_OUTPUT,
        )
        require_good_run(result, TOOL, outputs)
        summary_path = _moved_out(find_summary(outputs.folder), outputs.folder)
        require_outputs(outputs, result)
        return _measured(result, outputs, summary_path, batch)

    def measure_pure(
        self, om: Path, *, batch: int, loops: int, folder: Path, limit_s: float | None = None
    ) -> PureAisBenchRun:
        """Run a model on generated input, ``loops`` batches, as the published figures were made.

        ``--batchsize`` is left away: the tool then reads the batch size from the model, and says
        so, where with the flag it believes whatever it is told. Only a run that saves its output
        writes the summary with the time of every batch.

        Raises:
            BoardError: The chip cannot be used.
            ToolError: The tool fails, or its figures cannot be believed.
        """
        self._prepare(folder)
        model = private_copy(om, folder / om.name)
        limit_s = limit_s or inference_limit_s(loops * batch)
        (folder / "result").mkdir(mode=0o700)
        saving = ("--output=result", f"--output_dirname={PURE_NAME}")
        result = self._run(model, folder, limit_s, f"--loop={loops}", *saving)
        require_good_run(result, TOOL)
        summary = find_summary(folder / "result" / PURE_NAME)
        where = {"log": result.stdout_path, "summary": summary}
        perf = _with_times(result, summary)
        check_formula(perf, batch=batch, where=where)
        check_times(perf, batch=batch, batches=loops, wall_clock_s=result.duration_s, where=where)
        notes = warnings_in(result.text)
        if not perf.batch:
            notes += ("the tool does not say which batch size the model holds",)
        timed = timed_pure_run(result, perf.throughput_fps, batch, loops)
        return PureAisBenchRun(result, perf, timed, notes, is_emulated(result.text))

    def _prepare(self, folder: Path) -> None:
        require_legal_path(folder)
        require_empty(folder, TOOL)

    def _run(self, model: Path, folder: Path, limit_s: float, *arguments: str) -> Run:
        result = run(
            [
                self.python,
                "-m",
                "ais_bench",
                f"--model={model.name}",
                f"--device={self.device_id}",
                *arguments,
            ],
            env=self.environment.variables,
            cwd=folder,
            log=folder / "ais_bench.log",
            limit_s=limit_s,
        )
        self.after_run(result)
        return result


def input_files(folder: Path) -> list[Path]:
    """Return every file of a folder that ais_bench takes as an input, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix in INPUT_SUFFIXES)


def _moved_out(summary: Path | None, outputs: Path) -> Path | None:
    """Move the summary of an older version out of the outputs, where it would count as one."""
    if summary is None or summary.parent != outputs:
        return summary
    return Path(shutil.move(summary, outputs.with_name(f"{outputs.name}_summary.json")))


def _with_times(result: Run, summary: Path | None) -> AisBenchPerf:
    """Return what was printed, with the time of every batch where a summary states it."""
    perf = parse_printed(result.text, {"log": result.stdout_path, "summary": summary})
    return replace(perf, times_ms=times_of(read_summary(summary))) if summary else perf


def _measured(result: Run, outputs: Outputs, summary_path: Path | None, batch: int) -> AisBenchRun:
    where = {"log": result.stdout_path, "summary": summary_path}
    perf = _with_times(result, summary_path)
    notes = list(warnings_in(result.text))
    if summary_path is None:
        notes.append("this version wrote no summary")
    check_formula(perf, batch=batch, where=where)
    batches = math.ceil(len(outputs.names) / batch)
    if len(perf.times_ms) in (0, batches):
        check_times(perf, batch=batch, batches=batches, where=where)
    else:  # no round is cut from this list
        notes.append(f"{len(perf.times_ms)} times for {batches} batches")
    return AisBenchRun(
        run=result,
        outputs=outputs,
        perf=perf,
        timed=timed_dataset_run(result, outputs, perf.throughput_fps, batch),
        figures_path=summary_path,
        notes=tuple(notes),
        emulated=is_emulated(result.text),
    )
