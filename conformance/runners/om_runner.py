"""Predictions and speed of an ``.om`` on a chip, shard by shard, by either inference tool.

A shard's inputs are written, inferred in fresh folders, read back and removed, so that 50,000
images need the disk space of one shard. Each shard is one round of the speed measurement.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from conformance.ascend.dumps import DumpLayout, read_dumps
from conformance.ascend.inference import inference_limit_s
from conformance.ascend.inference_tool import InferenceRun, InferenceTool, Inputs
from conformance.ascend.timed_run import TimedRun
from conformance.ascend.work_folder import INPUTS, work_place
from conformance.errors import DumpError
from conformance.imagenet.dataset import Dataset, ImageFile
from conformance.imagenet.digests import sha256_of_files
from conformance.imagenet.info_file import bin_entries, write_info
from conformance.imagenet.input_files import shards, write_inputs
from conformance.imagenet.preflight import preflight
from conformance.imagenet.preprocess import Prepared, input_bytes
from conformance.manifests import sha256sum
from conformance.predictions import Labels, Predictions, ScoreCollector
from conformance.progress import at_most, step
from conformance.runners.unfinished import Shard, kept_on_failure
from conformance.spec import ModelSpec, Variant

# A round of the published method's kind: long enough that a chip's rate is steady within it.
SHARD_IMAGES = 2000
PREFLIGHT_NAME = "preflight.txt"
INPUT_OF: dict[Variant, Prepared] = {"float32": "float32", "aipp": "uint8"}


@dataclass
class OmRun:
    """What one ``.om`` did with all images.

    Attributes:
        predictions: Its scores.
        runs: What each shard's run claims about its speed, and what was seen of it.
        notes: Oddities of the tool that are no errors.
        slowest_stage: The stage that limits the end-to-end rate, in the last shard.
        emulated: Whether anything the tool printed or wrote bears the mark of an emulated board.
        dumps_sha256: Digest of the outputs' files, an image each: over the lines that ``sha256sum``
            prints for them in the images' order.
        performance_sha256: The same over the performance files, a shard each.
        inputs_sha256: Digest of each input's file as the tool was given it, in the images' order.
    """

    predictions: Predictions
    runs: list[TimedRun] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    slowest_stage: str = ""
    emulated: bool = False
    dumps_sha256: str = ""
    performance_sha256: str = ""
    inputs_sha256: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Job:
    """One model at one batch size, in the folder of one shard or of all timed rounds.

    Attributes:
        folder: Where inputs and outputs lie.
        om: The model.
        spec: What it must meet.
        batch: Its batch size.
        kind: What its inputs are.
    """

    folder: Path
    om: Path
    spec: ModelSpec
    batch: int
    kind: Prepared


@dataclass(frozen=True)
class OmRunner:
    """Runs models on one chip.

    Attributes:
        tool: The inference tool, on the leased chip.
        timed: Enters the chip's lease and the machine's exclusive lock.
        heavy_step: Holds the machine shared while inputs are prepared and outputs read.
        scratch: Where inputs and outputs lie for a while.
        records: Where logs and performance files are kept.
        workers: Processes that prepare inputs.
        time_factor: What the tool's time limit is multiplied by.
    """

    tool: InferenceTool
    timed: Callable[[], AbstractContextManager[None]]
    heavy_step: Callable[[], AbstractContextManager[None]]
    scratch: Path
    records: Path
    workers: int
    time_factor: float = 1.0

    def run(
        self, om: Path, spec: ModelSpec, dataset: Dataset, batch: int, variant: Variant
    ) -> OmRun:
        """Infer every image of a dataset.

        Raises:
            DatasetError: An image cannot be prepared.
            DumpError: There is not exactly one whole, fresh and finite result for each image.
            BoardError: The chip cannot be used.
            ToolError: The tool fails, or its performance file cannot be believed.
        """
        kind = INPUT_OF[variant]
        self.scratch.mkdir(parents=True, exist_ok=True)
        self.records.mkdir(parents=True, exist_ok=True)
        room = preflight(
            len(dataset), spec.preprocess, kind, self.scratch,
            workers=self.workers, most=SHARD_IMAGES,
        )  # fmt: skip
        print(room.describe(), file=sys.stderr)  # beside the progress bars
        (self.records / PREFLIGHT_NAME).write_text(f"{room.describe()}\n")
        collector = ScoreCollector(dataset.names, dataset.labels, "float32")
        dumps, figures = hashlib.sha256(), hashlib.sha256()
        found: list[InferenceRun] = []
        fed: list[str] = []
        every = list(shards(dataset.images, room.shard))
        for number, images in enumerate(self._shown(every)):
            place = Shard(number + 1, len(every), room.shard, len(dataset))
            with (
                work_place(self.scratch, "shard-", self.records) as folder,
                kept_on_failure(place, collector, folder, self.records),
            ):
                job = Job(folder, om, spec, batch, kind)
                inputs = self.prepared(job, images)
                fed += inputs.sha256
                with self.timed():
                    run = self.infer(job, inputs, len(images), job.folder / "work")
                labels = dataset.labels[collector.filled : collector.filled + len(images)]
                with self.heavy_step():
                    part = read_outputs(run, images, labels, spec.export.classes)
                    dumps.update(sha256sum(run.outputs.folder / name for name in run.outputs.names))
                collector.add(part.names, part.scores)
                figures.update(sha256sum(figures_of(run)))
                self.keep(run, f"shard{number}")
                found.append(run)
        whole = _summed(collector.finish(), found)
        whole.dumps_sha256, whole.performance_sha256 = dumps.hexdigest(), figures.hexdigest()
        whole.inputs_sha256 = fed
        return whole

    def _shown(self, every: Sequence[Sequence[ImageFile]]) -> Iterator[Sequence[ImageFile]]:
        """Yield the shards and show how many images are done."""
        count, size = sum(map(len, every)), len(every[0])
        what = f"infer {count} images on the board: {self.records.name}"
        lasts = f"{at_most(self.time_factor * inference_limit_s(size))} each {size} images"
        with step(what, total=count, lasts=lasts) as advance:
            for images in every:
                yield images
                advance(len(images))

    def prepared(self, job: Job, images: Sequence[ImageFile]) -> Inputs:
        """Write the inputs of a job, and read them back for their digests.

        Raises:
            DatasetError: An image cannot be prepared.
        """
        folder, prepare = job.folder / INPUTS, job.spec.preprocess
        folder.mkdir(mode=0o700)
        title = f"prepare the inputs of {len(images)} images"
        with self.heavy_step():
            paths = write_inputs(
                images, folder, prepare, job.kind, workers=self.workers, title=title
            )
        info, size_px = job.folder / "inputs.info", (prepare.crop, prepare.crop)
        write_info(bin_entries(paths, *size_px), info)
        digests = tuple(sha256_of_files(paths))
        return Inputs(folder, info, size_px, input_bytes(prepare, job.kind), digests)

    def infer(self, job: Job, inputs: Inputs, count: int, work: Path) -> InferenceRun:
        """Run the tool once over the inputs of ``count`` images, by whoever holds the chip.

        Raises:
            DumpError: There is not exactly one fresh result for each input.
            BoardError: The chip cannot be used.
            ToolError: The tool fails, or its figures cannot be believed.
        """
        limit_s = self.time_factor * inference_limit_s(count)
        return self.tool.infer(job.om, inputs, batch=job.batch, folder=work, limit_s=limit_s)

    def keep(self, run: InferenceRun, name: str) -> None:
        """Copy logs and figures of a run out of its folder, which is about to go."""
        for path in (run.run.stdout_path, run.run.stderr_path, *figures_of(run)):
            if path.exists():
                shutil.copyfile(path, self.records / f"{name}-{path.name}")


def figures_of(run: InferenceRun) -> list[Path]:
    """Return the performance file; some versions of ais_bench print what others put into one."""
    return [run.figures_path or run.run.stdout_path]


def read_outputs(
    run: InferenceRun, images: Sequence[ImageFile], labels: Labels, classes: int
) -> Predictions:
    """Read the scores of a run, one row an image.

    Raises:
        DumpError: There is not exactly one whole, fresh and finite result of the right width for
            each image.
    """
    found = read_dumps(
        run.outputs.folder,
        [image.name for image in images],
        labels,
        classes,
        layout=DumpLayout(run.outputs.output_number, "txt"),
        started=run.outputs.started_at,
        keep_background=True,
    )
    if found.classes != classes:  # other ports have a background class in front, ours has none
        raise DumpError(
            "outputs are wider than the exported model's",
            got=f"{found.classes} classes",
            expected=f"{classes} classes",
            where={"folder": run.outputs.folder},
            next_step="is the .om of another port, with a background class? Convert again",
        )
    return found


def _summed(predictions: Predictions, runs: Sequence[InferenceRun]) -> OmRun:
    whole = OmRun(predictions)
    for run in runs:
        whole.notes += [*run.notes, *run.run.strays]
        whole.emulated = whole.emulated or run.emulated
        whole.runs.append(run.timed)
        whole.slowest_stage = run.slowest_stage
    return whole
