"""Whether a row of a batch depends on anything but its own picture, on a chip: one run per ``.om``.

It belongs to one run, is shared by the run's workers, and is not timed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from filelock import FileLock

from conformance.ascend.host import AscendHost
from conformance.ascend.installed import ToolName
from conformance.ascend.locks import WAIT_S
from conformance.build import Builder
from conformance.build_om import OmBuilder
from conformance.imagenet.dataset import Dataset
from conformance.imagenet.input_digest import demand_same_inputs
from conformance.measure import share_of_cores
from conformance.measure_om import SCORES_FILE, OmMeasurer
from conformance.metrics.row_trial import RowMeasurement, RowTrial
from conformance.metrics.scores import Scores
from conformance.om_key import OmKey
from conformance.run_folder import logs_folder, work_folder
from conformance.runners.om_runner import OmRunner
from conformance.spec import ModelSpec


class RowMeasurer:
    """Runs trials of rows on the run's chip, on first use."""

    def __init__(
        self,
        builder: Builder,
        om_builder: OmBuilder,
        om_measurer: OmMeasurer,
        host: AscendHost,
        run_folder: Path,
    ) -> None:
        self._builder = builder
        self._om_builder = om_builder
        self._om_measurer = om_measurer
        self._host = host
        self._run_folder = run_folder

    def row_run(self, spec: ModelSpec, key: OmKey, preferred: ToolName) -> RowMeasurement:
        """Feed a few of the run's images again and again, in one run of the tool.

        Raises:
            NotApplicable: There is no board, no inference tool or no such model.
            ConformanceError: There are not two images, or something fails; see ``OmRunner.run``.
        """
        tool = self._host.tools.choose(preferred)
        name = f"{spec.name}-{key}-{tool}"
        return self._builder.once(f"rows {name}", lambda: self._shared(name, spec, key, tool))

    def _shared(self, name: str, spec: ModelSpec, key: OmKey, tool: ToolName) -> RowMeasurement:
        """Measure in one worker of the run and let the others read it."""
        folder = work_folder(self._run_folder) / "rows" / name
        folder.mkdir(parents=True, exist_ok=True)
        images = self._builder.dataset(spec)
        chosen = images.subset(min(key.batch, len(images)))
        trial = RowTrial(key.batch, chosen.names)
        rows = laid_out(trial, chosen)
        inputs = dict(
            zip(images.names, self._om_measurer.dataset_run(spec, key, tool).inputs, strict=True)
        )
        fed = [inputs[chosen.names[picture]] for picture in trial.rows]
        with FileLock(folder / "measured.lock"):
            if not (folder / SCORES_FILE).exists():
                scores = self._measure(folder, spec, key, tool, rows, fed)
                unfinished = folder / f"{SCORES_FILE}.unfinished"
                with unfinished.open("wb") as stream:
                    np.save(stream, scores, allow_pickle=False)
                unfinished.replace(folder / SCORES_FILE)
        return RowMeasurement(trial, np.load(folder / SCORES_FILE, allow_pickle=False))

    def _measure(
        self,
        folder: Path,
        spec: ModelSpec,
        key: OmKey,
        tool: ToolName,
        rows: Dataset,
        fed: Sequence[str],
    ) -> Scores:
        om = self._om_builder.om_model(spec, key)
        runner = OmRunner(
            tool=self._om_measurer.tool(tool),
            timed=self._untimed,
            heavy_step=self._host.locks.heavy_step,
            scratch=self._host.config.scratch,
            records=logs_folder(self._run_folder) / f"{folder.name}-rows",
            workers=share_of_cores(),
            time_factor=self._host.config.time_limits,
        )
        run = runner.run(om.path, spec, rows, key.batch, key.variant)
        self._host.demand_expected(run.emulated, f"{tool} with {om.path}")
        demand_same_inputs(rows.images, run.inputs_sha256, fed)
        return run.predictions.scores

    @contextmanager
    def _untimed(self) -> Iterator[None]:
        """Hold the chip; nothing is timed, so others may work beside."""
        locks = self._host.locks
        chip = locks.chips([self._host.device.chip.key], wait_s=WAIT_S)
        with chip, locks.heavy_step():
            yield


def laid_out(trial: RowTrial, images: Dataset) -> Dataset:
    """Return the images of a trial's rows, so named that every tool takes them in that order."""
    rows = tuple(
        dataclasses.replace(images.images[picture], name=f"row_{row:06d}.JPEG")
        for row, picture in enumerate(trial.rows)
    )
    return dataclasses.replace(images, images=rows)
