"""Timed rounds: one model run over the same images again and again, while the chip is held."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from conformance.ascend.inference_tool import Inputs
from conformance.ascend.timed_run import TimedRun
from conformance.ascend.work_folder import work_place
from conformance.errors import ConformanceError
from conformance.imagenet.dataset import ImageFile
from conformance.imagenet.input_digest import demand_same_inputs
from conformance.predictions import Predictions
from conformance.progress import Advance, at_most, step
from conformance.runners.om_runner import INPUT_OF, Job, OmRunner, read_outputs
from conformance.spec import ModelSpec, Variant

# A round lasts some ten seconds on the slowest published chip; thirty of them are five minutes.
BUDGET_S = 900.0


@dataclass
class Rounds:
    """What the rounds gave.

    Attributes:
        runs: One run of the tool each: its claims, and what was seen of it.
        sampled: Outputs that were compared with those of the accuracy run.
        differences: Images of which they are not equal: largest difference of a score.
        notes: Oddities of the first round, for the others repeat it; whatever outlived a run; and
            a budget that ran out.
        emulated: Whether anything bore the mark of an emulated board.
    """

    runs: list[TimedRun] = field(default_factory=list)
    sampled: int = 0
    differences: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    emulated: bool = False

    @property
    def rates_fps(self) -> list[float]:
        """Rate of the chip alone, images per second, one a round."""
        return [run.interface_fps for run in self.runs]


def run_rounds(
    runner: OmRunner,
    om: Path,
    spec: ModelSpec,
    images: Sequence[ImageFile],
    expected: Predictions,
    fed: Sequence[str],
    *,
    batch: int,
    variant: Variant,
    enough: Callable[[Sequence[float]], bool],
    budget_s: float = BUDGET_S,
) -> Rounds:
    """Run a model over the same images until there are enough rounds, each in a fresh folder.

    Chip and machine are held from the first round to the last, and every output is compared with
    that of the accuracy run, so that no round can be fast by leaving work out.

    Args:
        runner: Runs the tool.
        om: The model.
        spec: What it must meet.
        images: The images of each round.
        expected: The accuracy run's scores of these images and maybe more, first in it.
        fed: The sha256 of the inputs that the accuracy run was given, likewise.
        batch: Batch size.
        variant: What its inputs are.
        enough: Asked before each round with the rates so far, in images per second.
        budget_s: No further round begins after this time.

    Raises:
        DatasetError: An image cannot be prepared, or is not prepared as for the accuracy run.
        DumpError: There is not exactly one whole, fresh and finite result for each image.
        BoardError: The chip cannot be used.
        ToolError: The tool fails, or its figures cannot be believed.
    """
    found = Rounds()
    deadline_s = time.monotonic() + budget_s
    bench_of = _bench(runner, om, spec, images, expected, fed, batch, variant)
    with _shown(runner, images, at_most(budget_s)) as advance, bench_of as bench:
        while not enough(found.rates_fps):
            if time.monotonic() > deadline_s:
                found.notes.append(f"no round began after {budget_s:g} s")
                break
            bench.add_round(found, om)
            advance(1)
    return found


def run_interleaved(
    runner: OmRunner,
    oms: tuple[Path, Path],
    spec: ModelSpec,
    images: Sequence[ImageFile],
    expected: Predictions,
    fed: Sequence[str],
    *,
    batch: int,
    variant: Variant,
    order: str,
) -> tuple[Rounds, Rounds]:
    """Run two models in turn, so that whatever changes on the chip weighs on both alike.

    Each is run once before its rounds, which warms the chip up and does not count.

    Args:
        runner: Runs the tool.
        oms: The first, ``A``, and the second, ``B``.
        spec: What they must meet.
        images: The images of each round.
        expected: Scores of these images and maybe more, first in it, that both are compared with.
        fed: The sha256 of the inputs that the accuracy run was given, likewise.
        batch: Batch size.
        variant: What their inputs are.
        order: Which one each round runs, such as ``ABBA``.

    Raises:
        DatasetError: An image cannot be prepared, or is not prepared as for the accuracy run.
        DumpError: There is not exactly one whole, fresh and finite result for each image.
        BoardError: The chip cannot be used.
        ToolError: The tool fails, or its figures cannot be believed.
    """
    bench_of = _bench(runner, oms[0], spec, images, expected, fed, batch, variant)
    with _shown(runner, images, "", len(order)) as advance, bench_of as bench:
        for om in oms:
            bench.add_round(Rounds(), om)
        sides = {"A": Rounds(), "B": Rounds()}
        for side in order:
            bench.add_round(sides[side], oms["AB".index(side)])
            advance(1)
    return sides["A"], sides["B"]


def _shown(
    runner: OmRunner, images: Sequence[ImageFile], lasts: str, total: int = 0
) -> AbstractContextManager[Advance]:
    what = f"time rounds of {len(images)} images: {runner.records.name}"
    return step(what, total=total, lasts=lasts)


@dataclass
class _Bench:
    """Prepared inputs on a held chip."""

    runner: OmRunner
    job: Job
    inputs: Inputs
    images: Sequence[ImageFile]
    expected: Predictions
    count: int = 0

    def add_round(self, found: Rounds, om: Path) -> None:
        """Run a model once, compare its outputs and forget them."""
        work = self.job.folder / f"round{self.count}"
        self.count += 1
        job, images = replace(self.job, om=om), self.images
        run = self.runner.infer(job, self.inputs, len(images), work)
        labels = self.expected.labels[: len(images)]
        scores = read_outputs(run, images, labels, job.spec.export.classes).scores
        _compare(found, images, scores - self.expected.scores[: len(images)])
        self.runner.keep(run, work.name)
        found.notes += [*(run.notes if not found.runs else ()), *run.run.strays]
        found.runs.append(run.timed)
        found.emulated = found.emulated or run.emulated
        shutil.rmtree(work)


@contextmanager
def _bench(
    runner: OmRunner,
    om: Path,
    spec: ModelSpec,
    images: Sequence[ImageFile],
    expected: Predictions,
    fed: Sequence[str],
    batch: int,
    variant: Variant,
) -> Iterator[_Bench]:
    """Prepare the inputs, then hold chip and machine until the block ends."""
    _require_same(images, expected)
    runner.records.mkdir(parents=True, exist_ok=True)
    with work_place(runner.scratch, "rounds-", runner.records) as folder:
        job = Job(folder, om, spec, batch, INPUT_OF[variant])
        inputs = runner.prepared(job, images)
        demand_same_inputs(images, inputs.sha256, fed[: len(images)])
        with runner.timed():
            yield _Bench(runner, job, inputs, images, expected)


def _require_same(images: Sequence[ImageFile], expected: Predictions) -> None:
    names = tuple(image.name for image in images)
    if not names or names != expected.names[: len(names)]:
        raise ConformanceError(
            "the timed images are not those of the accuracy run",
            got=", ".join(names[:3]) or "no image",
            expected=", ".join(expected.names[:3]),
        )


def _compare(
    found: Rounds, images: Sequence[ImageFile], difference: np.typing.NDArray[np.floating]
) -> None:
    found.sampled += len(images)
    for image, largest in zip(images, np.abs(difference).max(axis=1).tolist(), strict=True):
        if largest:
            found.differences[image.name] = max(largest, found.differences.get(image.name, 0.0))
