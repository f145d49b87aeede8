"""What is measured on a chip once per run, and shared by the run's workers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
from filelock import FileLock

from conformance.ascend.ais_bench import AisBenchTool
from conformance.ascend.benchmark import BenchmarkTool
from conformance.ascend.host import AscendHost
from conformance.ascend.inference import inference_limit_s
from conformance.ascend.inference_tool import InferenceTool
from conformance.ascend.installed import ToolName
from conformance.ascend.locks import WAIT_S
from conformance.ascend.work_folder import keep_logs, work_place
from conformance.build import Builder
from conformance.build_om import OmBuilder
from conformance.errors import ToolError
from conformance.evidence.facts import record_digest
from conformance.measure import keep_predictions, share_of_cores
from conformance.om_key import OmKey
from conformance.predictions import Predictions
from conformance.progress import at_most, step
from conformance.run_folder import logs_folder, work_folder
from conformance.runners.om_facts import OmFacts
from conformance.runners.om_runner import OmRun, OmRunner
from conformance.spec import ModelSpec

PURE_LOOPS = 50
FACTS_FILE = "facts.json"
SCORES_FILE = "scores.npy"
INPUTS_FILE = "inputs.json"


@dataclasses.dataclass(frozen=True)
class OmMeasurement:
    """Scores and speed of one ``.om``.

    Attributes:
        predictions: Its scores.
        facts: Its speed, and what else was found.
        inputs: The sha256 of each input's file as the tool was given it, in the images' order.
    """

    predictions: Predictions
    facts: OmFacts
    inputs: tuple[str, ...]


class OmMeasurer:
    """Measures models on the run's chip, on first use."""

    def __init__(
        self, builder: Builder, om_builder: OmBuilder, host: AscendHost, run_folder: Path
    ) -> None:
        self._builder = builder
        self._om_builder = om_builder
        self._host = host
        self._run_folder = run_folder
        self._folder = work_folder(run_folder) / "om"

    def dataset_run(self, spec: ModelSpec, key: OmKey, preferred: ToolName) -> OmMeasurement:
        """Infer every image of the run with one ``.om`` and return scores and speed.

        Raises:
            NotApplicable: There is no board, no inference tool or no such model.
            ConformanceError: Something fails; see ``OmRunner.run``.
        """
        tool = self._host.tools.choose(preferred)
        name = f"{spec.name}-{key}-{tool}"
        return self._builder.once(f"measure {name}", lambda: self._shared(name, spec, key, tool))

    def pure_run(self, spec: ModelSpec, key: OmKey, preferred: ToolName) -> OmFacts:
        """Time one ``.om`` on generated input, as some published figures were made.

        Raises:
            NotApplicable: There is no board, no inference tool or no such model.
            ConformanceError: The tool fails, or its figures cannot be believed.
        """
        tool = self._host.tools.choose(preferred)
        name = f"{spec.name}-{key}-{tool}-pure"

        def measure(folder: Path) -> OmFacts:
            om = self._om_builder.om_model(spec, key)
            return self._measure_pure(folder.name, key, tool, om.path, om.sha256)

        return self._builder.once(f"measure {name}", lambda: self.shared_facts(name, measure))

    def shared_facts(self, name: str, measure: Callable[[Path], OmFacts]) -> OmFacts:
        """Measure in one worker of the run, in a folder of its own, and let the others read it.

        Raises:
            ConformanceError: What measuring raises.
        """
        folder = self._folder / name
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "measured.lock"):
            if not (folder / FACTS_FILE).exists():
                _write_facts(folder, measure(folder))
        return _read_facts(folder)

    def _shared(self, name: str, spec: ModelSpec, key: OmKey, tool: ToolName) -> OmMeasurement:
        """Measure in one worker of the run and let the others read it."""
        folder = self._folder / name
        folder.mkdir(parents=True, exist_ok=True)
        dataset = self._builder.dataset(spec)
        with FileLock(folder / "measured.lock"):
            if not (folder / FACTS_FILE).exists():
                self._measure(folder, spec, key, tool)
        scores = np.load(folder / SCORES_FILE, allow_pickle=False)
        predictions = Predictions(dataset.names, scores, dataset.labels)
        inputs = msgspec.json.decode((folder / INPUTS_FILE).read_bytes(), type=tuple[str, ...])
        return OmMeasurement(predictions, _read_facts(folder), inputs)

    def _measure(self, folder: Path, spec: ModelSpec, key: OmKey, tool: ToolName) -> None:
        om = self._om_builder.om_model(spec, key)
        dataset = self._builder.dataset(spec)
        spoiled: list[str] = []
        runner = self.runner(tool, logs_folder(self._run_folder) / folder.name, spoiled)
        run = runner.run(om.path, spec, dataset, key.batch, key.variant)
        self._host.demand_expected(run.emulated, f"{tool} with {om.path}")
        np.save(folder / SCORES_FILE, run.predictions.scores, allow_pickle=False)
        (folder / INPUTS_FILE).write_bytes(msgspec.json.encode(run.inputs_sha256))
        self._record(spec, key, tool, run, om.sha256)
        _write_facts(folder, self._facts(tool, run, first_reason(spoiled), om.sha256))

    def runner(self, tool: ToolName, records: Path, spoiled: list[str]) -> OmRunner:
        """Return what runs models on the run's chip.

        Args:
            tool: The inference tool.
            records: Where logs and performance files are kept.
            spoiled: Gets what speaks against the timing, whenever the chip is held.

        Raises:
            ToolError: The tool was there when it was chosen, and is gone.
        """
        return OmRunner(
            tool=self.tool(tool),
            timed=lambda: self.timed(spoiled),
            heavy_step=self._host.locks.heavy_step,
            scratch=self._host.config.scratch,
            records=records,
            workers=share_of_cores(),
            time_factor=self._host.config.time_limits,
        )

    def _record(
        self, spec: ModelSpec, key: OmKey, tool: ToolName, run: OmRun, om_sha256: str
    ) -> None:
        """Put scores and digests into the run's evidence."""
        place = {"model": spec.name, **key.coordinates}
        for kind, what, sha256 in (
            ("om_model", f"om {key}", om_sha256),
            ("dumps", f"dumps {key} {tool}", run.dumps_sha256),
            ("performance", f"performance {key} {tool}", run.performance_sha256),
        ):
            record_digest(self._run_folder, f"{spec.name}/{what}", kind, sha256, spec.name)
        # Last: after an interrupt no predictions are there of which nobody knows the model.
        name = f"{spec.name} om {key} {tool}"
        keep_predictions(self._run_folder, name, "om", place, run.predictions)

    def _facts(self, tool: ToolName, run: OmRun, spoiled: str, om_sha256: str) -> OmFacts:
        return OmFacts(
            tool=tool,
            method="dataset",
            chip=str(self._host.device.chip),
            rates_fps=[one.interface_fps for one in run.runs],
            spoiled=spoiled,
            notes=run.notes,
            slowest_stage=run.slowest_stage,
            emulated=run.emulated,
            om_sha256=om_sha256,
            runs=run.runs,
        )

    def _measure_pure(
        self, name: str, key: OmKey, tool: ToolName, om: Path, om_sha256: str
    ) -> OmFacts:
        chosen, batch, spoiled = self.tool(tool), key.batch, list[str]()
        limit_s = self._host.config.time_limits * inference_limit_s(PURE_LOOPS * batch)
        records = logs_folder(self._run_folder) / name
        place = work_place(self._host.config.scratch, "pure-", records)
        shown = step(f"time generated input: {name}", lasts=at_most(limit_s))
        with place as empty, self.timed(spoiled), shown:
            work = empty / "work"
            timed = chosen.measure_pure(
                om, batch=batch, loops=PURE_LOOPS, folder=work, limit_s=limit_s
            )
            keep_logs(work, records)
        self._host.demand_expected(timed.emulated, f"{tool} with {om}")
        return OmFacts(
            tool=tool,
            method="pure",
            chip=str(self._host.device.chip),
            rates_fps=[timed.rate_fps],
            spoiled=first_reason(spoiled),
            notes=list(timed.notes),
            slowest_stage="",
            emulated=timed.emulated,
            om_sha256=om_sha256,
            runs=[timed.timed],
        )

    def tool(self, name: ToolName) -> InferenceTool:
        """Return the tool on the run's chip.

        Raises:
            ToolError: It was there when it was chosen, and is gone.
        """
        device, guard = self._host.device, self._host.chip.guard()
        environment, tools = self._host.environment, self._host.tools
        if name == "benchmark" and tools.benchmark:
            return BenchmarkTool(tools.benchmark, environment, device.acl_id, guard)
        if name == "ais_bench" and tools.ascend_python:
            python = tools.ascend_python.path
            return AisBenchTool(python, environment, device.acl_id, guard)
        raise ToolError("the inference tool is gone", got="nothing", expected=name)

    @contextmanager
    def timed(self, spoiled: list[str]) -> Iterator[None]:
        """Hold the chip, and the machine for ourselves: a timed run shares neither.

        Args:
            spoiled: Gets what speaks against the timing before and after, while both are held.
        """
        locks = self._host.locks
        chip = locks.chips([self._host.device.chip.key], wait_s=WAIT_S)
        with chip, locks.machine(exclusive=True, wait_s=WAIT_S):
            spoiled.append(self._host.chip.spoils_timing())
            yield
            spoiled.append(self._host.chip.spoils_timing())


def first_reason(spoiled: list[str]) -> str:
    """Return the first reason that speaks against a timing; empty if there is none."""
    return next(filter(None, spoiled), "")


def _read_facts(folder: Path) -> OmFacts:
    return msgspec.json.decode((folder / FACTS_FILE).read_bytes(), type=OmFacts)


def _write_facts(folder: Path, facts: OmFacts) -> None:
    """Write the facts last and whole: their file says that the measurement is complete."""
    unfinished = folder / f"{FACTS_FILE}.unfinished"
    unfinished.write_bytes(msgspec.json.encode(facts))
    unfinished.replace(folder / FACTS_FILE)
