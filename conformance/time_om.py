"""How fast an ``.om`` is: rounds until the published figure is met, missed or out of reach."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from conformance.ascend.host import AscendHost
from conformance.ascend.inference import inference_limit_s
from conformance.ascend.inference_tool import PureRun
from conformance.ascend.installed import ToolName
from conformance.ascend.work_folder import keep_logs, work_place
from conformance.build import Builder
from conformance.build_om import OmBuilder
from conformance.measure_om import OmMeasurement, OmMeasurer, first_reason
from conformance.metrics.round_looks import first_look_after, rounds_wanted
from conformance.metrics.rounds import (
    BLOCK_ENTRIES,
    MAX_ROUNDS,
    MIN_ROUNDS,
    abba,
    rounds_from_times,
)
from conformance.metrics.throughput import BOUND_PCT
from conformance.om_key import OmKey
from conformance.progress import at_most, step
from conformance.run_folder import logs_folder
from conformance.runners.om_facts import OmFacts, Regression
from conformance.runners.om_rounds import run_interleaved, run_rounds
from conformance.spec import ModelSpec

# Whole groups of A B B A, ten rounds a side: a spread of 1 % is then worth half a percent.
REGRESSION_ROUNDS = 10
# A chip's rate must settle within a round; the emulated clock is as steady over a few images.
ROUND_IMAGES = 2000
EMULATED_ROUND_IMAGES = 16


@dataclasses.dataclass(frozen=True)
class Target:
    """What a rate is held against, in images per second of one chip; None if it is recorded."""

    fps: float | None = None
    bound_pct: float = BOUND_PCT

    def rounds_wanted(self, rates_fps: Sequence[float], before: int = 0) -> int:
        """Return how many rounds it takes, as far as these can tell.

        Args:
            rates_fps: Rate of each round so far.
            before: How many of them were there before any could decide.
        """
        return rounds_wanted(
            rates_fps, self.fps, first_look=first_look_after(before), bound_pct=self.bound_pct
        )


def target_of(spec: ModelSpec, key: OmKey, soc: str, tool: ToolName) -> Target:
    """Return the figure that decides on one ``.om``, if it was published for this tool."""
    table = spec.throughput_of(soc)
    figure = table.figure(key.batch, tuned=key.tuned) if table else None
    if table is None or figure is None or tool != table.tool or not table.decides(figure):
        return Target()
    return Target(figure.fps / table.chips_per_card, table.bound_pct)


class OmTimer:
    """Times models on the run's chip, on first use."""

    def __init__(
        self, builder: Builder, om_builder: OmBuilder, host: AscendHost, measurer: OmMeasurer
    ) -> None:
        self._builder = builder
        self._om_builder = om_builder
        self._host = host
        self._measurer = measurer

    def timed_run(self, spec: ModelSpec, key: OmKey, soc: str) -> OmFacts:
        """Time one ``.om`` in rounds by the method of the SoC's figures, or over the dataset.

        Over the dataset each whole shard of the accuracy run is a round, and what is missing is
        made by running the first images again. Either way the first round is dropped, and the
        outputs of at least one further round are compared with the accuracy run's.

        Raises:
            NotApplicable: There is no board, no inference tool or no such model.
            ConformanceError: The tool fails, or its figures cannot be believed.
        """
        table = spec.throughput_of(soc)
        if table:
            key = dataclasses.replace(key, variant=table.variant)
        measured = self._measurer.dataset_run(spec, key, table.tool if table else "ais_bench")
        tool = measured.facts.tool
        target = target_of(spec, key, soc, tool)
        pure = table is not None and table.method == "pure" and tool == "ais_bench"

        def measure(folder: Path) -> OmFacts:
            if pure:
                return self._pure_rounds(folder, spec, key, measured, target)
            return self._dataset_rounds(folder, spec, key, measured, target)

        name = f"{spec.name}-{key}-{tool}-rounds"
        return self._builder.once(
            f"measure {name}", lambda: self._measurer.shared_facts(name, measure)
        )

    def _dataset_rounds(
        self, folder: Path, spec: ModelSpec, key: OmKey, measured: OmMeasurement, target: Target
    ) -> OmFacts:
        """Add rounds to the whole shards of the accuracy run."""
        shards = measured.facts.runs
        whole = [run for run in shards if run.images == shards[0].images]
        first, *before = [run.interface_fps for run in whole]

        def wanted(rates_fps: Sequence[float]) -> int:
            return target.rounds_wanted([*before, *rates_fps], len(before)) - len(before)

        facts = self._repeated(folder, spec, key, measured, wanted)
        return msgspec.structs.replace(
            facts,
            rates_fps=[*before, *facts.rates_fps],
            dropped_fps=[first],
            rounds_before=len(before),
        )

    def _repeated(
        self,
        folder: Path,
        spec: ModelSpec,
        key: OmKey,
        measured: OmMeasurement,
        wanted: Callable[[Sequence[float]], int],
    ) -> OmFacts:
        """Run the first images again, at least once, and add what was found to the facts."""
        facts, spoiled = measured.facts, [measured.facts.spoiled]
        count = min(facts.runs[0].images, self._round_images(key))

        def enough(rates_fps: Sequence[float]) -> bool:
            # On a chip that others use no number of rounds decides.
            return len(rates_fps) >= max(1, 0 if any(spoiled) else wanted(rates_fps))

        found = run_rounds(
            self._measurer.runner(facts.tool, self._logs(folder.name), spoiled),
            self._om_builder.om_model(spec, key).path,
            spec,
            self._builder.dataset(spec).images[:count],
            measured.predictions,
            measured.inputs,
            batch=key.batch,
            variant=key.variant,
            enough=enough,
        )
        self._host.demand_expected(found.emulated, f"{facts.tool} in {folder}")
        return msgspec.structs.replace(
            facts,
            rates_fps=found.rates_fps,
            runs=[*facts.runs, *found.runs],
            spoiled=first_reason(spoiled),
            notes=[*facts.notes, *found.notes],
            sampled=found.sampled,
            differences=found.differences,
        )

    def regression(self, spec: ModelSpec, key: OmKey, soc: str, baseline: Path) -> Regression:
        """Time a model and the one that it replaces in turn, by the tool of the SoC's figures.

        Args:
            spec: The model.
            key: Which ``.om``.
            soc: ATC's name of the chip.
            baseline: The ``.om`` that was accepted before, for this batch size.

        Raises:
            NotApplicable: There is no board, no inference tool or no such model.
            ConformanceError: The tool fails, or its figures cannot be believed.
        """
        table = spec.throughput_of(soc)
        measured = self._measurer.dataset_run(spec, key, table.tool if table else "ais_bench")
        tool, spoiled = measured.facts.tool, [measured.facts.spoiled]
        records = self._logs(f"{spec.name}-{key}-{tool}-regression")
        count = min(measured.facts.runs[0].images, self._round_images(key))
        before, now = run_interleaved(
            self._measurer.runner(tool, records, spoiled),
            (baseline, self._om_builder.om_model(spec, key).path),
            spec,
            self._builder.dataset(spec).images[:count],
            measured.predictions,
            measured.inputs,
            batch=key.batch,
            variant=key.variant,
            order=abba(2 * REGRESSION_ROUNDS),
        )
        for found, what in ((before, baseline), (now, f"{spec.name}-{key}.om")):
            self._host.demand_expected(found.emulated, f"{tool} with {what}")
        return Regression(
            tool, before.runs, now.runs, first_reason(spoiled), now.sampled, now.differences
        )

    def _logs(self, name: str) -> Path:
        return logs_folder(self._host.run_folder) / name

    def _round_images(self, key: OmKey) -> int:
        return max(EMULATED_ROUND_IMAGES, key.batch) if self._host.emulated else ROUND_IMAGES

    def _pure_rounds(
        self, folder: Path, spec: ModelSpec, key: OmKey, measured: OmMeasurement, target: Target
    ) -> OmFacts:
        """Time generated input in one run, after a round over images whose outputs are compared.

        A round of it takes the chip a fraction of a second: where a figure decides, as many as ever
        count are made at once, in place of starting the tool for each look.
        """
        facts = self._repeated(folder, spec, key, measured, lambda _: 1)
        om = self._om_builder.om_model(spec, key).path
        spoiled, notes = [facts.spoiled], list(facts.notes)
        rounds = MAX_ROUNDS if target.fps else MIN_ROUNDS
        with self._measurer.timed(spoiled):
            run = self._pure_run(folder, om, key, facts.tool, (1 + rounds) * BLOCK_ENTRIES)
        notes += run.notes
        dropped, rates = _without_first(run.times_ms, key.batch)
        if not rates:
            rates = [run.rate_fps]
            notes.append("no time of each batch: one rate for the whole run")
        return msgspec.structs.replace(
            facts,
            method="pure",
            rates_fps=rates,
            dropped_fps=dropped,
            rounds_before=len(rates) - 1,
            runs=[*facts.runs, run.timed],
            spoiled=first_reason(spoiled),
            notes=notes,
        )

    def _pure_run(self, folder: Path, om: Path, key: OmKey, tool: ToolName, loops: int) -> PureRun:
        """Run the tool once on generated input, by whoever holds the chip."""
        limit_s = self._host.config.time_limits * inference_limit_s(loops * key.batch)
        logs = self._logs(folder.name)
        shown = step(
            f"time {loops} batches of generated input: {folder.name}", lasts=at_most(limit_s)
        )
        with shown, work_place(self._host.config.scratch, "pure-", logs) as empty:
            run = self._measurer.tool(tool).measure_pure(
                om, batch=key.batch, loops=loops, folder=empty / "work", limit_s=limit_s
            )
            keep_logs(empty / "work", logs)
        self._host.demand_expected(run.emulated, f"{tool} with {om}")
        return run


def _without_first(times_ms: Sequence[float], batch: int) -> tuple[list[float], list[float]]:
    """Return the first round, which warms the chip up, and the rates of the others."""
    if not times_ms:
        return [], []
    first, *rates = rounds_from_times(times_ms, batch)
    return [first], rates
