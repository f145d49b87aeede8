"""What small mistakes in preparation do, and what sees them: ``python -m benchmarks.deviations``.

Each deviation is prepared for every photograph, compared with an independent preparation (as the
check ``input.digest`` does), and inferred with PyTorch. The figures go into the table that the
suite reads, ``conformance/imagenet/deviations.toml``, and into ``docs/preprocessing.md``.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.material import Material, gather
from benchmarks.reference_evaluation import BATCH, exported
from benchmarks.table import machine, today, with_part
from conformance.commands import exit_status
from conformance.errors import ConfigError
from conformance.imagenet.batches import InputBatch
from conformance.imagenet.dataset import LabelledImage
from conformance.imagenet.deviations import CORRECT, DEVIATIONS, Deviation, deviant_steps
from conformance.imagenet.effects import EFFECTS_FILE, Effect, Effects
from conformance.imagenet.input_digest import compare_inputs
from conformance.imagenet.parallel import each_in_order, usable_cores
from conformance.metrics.flip_rate import count_flips
from conformance.metrics.topn import count_topn
from conformance.predictions import Predictions
from conformance.runners.onnxruntime_runner import infer_with_onnxruntime
from conformance.runners.torch_runner import infer_with_torch
from conformance.spec import Preprocess
from conformance.whole_files import write_whole

Floats = npt.NDArray[np.float32]
PAGE = Path(__file__).resolve().parents[1] / "docs" / "preprocessing.md"
ALL = (CORRECT, *DEVIATIONS)


class Prepared:
    """Prepares chunks of images by one deviation; an object, so that it can cross processes."""

    def __init__(self, preprocess: Preprocess, number: int) -> None:
        self.preprocess = preprocess
        self.number = number

    def __call__(self, images: Sequence[LabelledImage]) -> Floats:
        """Return the inputs of some images, n x 3 x crop x crop."""
        deviation = ALL[self.number]
        made = [deviant_steps(image.path, self.preprocess, deviation) for image in images]
        return np.stack([steps.normalise for steps in made])


def measure(material: Material) -> Effects:
    """Measure what each deviation changes.

    Raises:
        ConfigError: The right preparation is not what ``input.digest`` takes for right, or ONNX
            Runtime decides otherwise than PyTorch, so that no change could be counted.
    """
    import torch

    torch.set_num_threads(1)  # operations on one image are too small to share
    right = _right(material)
    effects = []
    for deviation in DEVIATIONS:
        effect = _effect(material, deviation, right)
        effects.append(effect)
        print(effect.name, effect.inputs, effect.decisions, effect.hits, flush=True)
    return Effects(
        measured=today(),
        machine=machine(),
        subject=material.described(),
        images=len(material.dataset),
        hits=_hits(right.found),
        effects=tuple(effects),
    )


@dataclasses.dataclass(frozen=True)
class Right:
    """The right inputs, and what PyTorch makes of them."""

    tensors: Floats
    found: Predictions


def _right(material: Material) -> Right:
    """Prepare and infer rightly, which torchvision and ONNX Runtime must confirm."""
    tensors = _inputs(material, CORRECT)
    names, labels = material.dataset.names, material.dataset.labels
    fed = zip(names, tensors, strict=True)
    images, preprocess = material.dataset.images, material.spec.preprocess
    differing = compare_inputs(images, fed, preprocess, "float32").differing
    _demand_none("right inputs", len(differing))
    found = _inferred(material, tensors)
    model = exported(material.network(), material)
    other = infer_with_onnxruntime(model, _batches(names, tensors), names, labels)
    flips = count_flips(found.scores, other.scores, names)
    _demand_none("decisions by ONNX Runtime", flips)
    return Right(tensors, found)


def _inputs(material: Material, deviation: Deviation) -> Floats:
    prepare = Prepared(material.spec.preprocess, ALL.index(deviation))
    images = material.dataset.images
    chunks = each_in_order(prepare, images, workers=usable_cores(), title=deviation.name)
    return np.concatenate(list(chunks))


def _inferred(material: Material, tensors: Floats) -> Predictions:
    names, labels = material.dataset.names, material.dataset.labels
    return infer_with_torch(material.network(), _batches(names, tensors), names, labels)


def _effect(material: Material, deviation: Deviation, right: Right) -> Effect:
    tensors = _inputs(material, deviation)
    found = _inferred(material, tensors)
    pairs = zip(right.tensors, tensors, strict=True)
    return Effect(
        name=deviation.name,
        step=deviation.step,
        inputs=sum(one.tobytes() != other.tobytes() for one, other in pairs),
        decisions=count_flips(right.found.scores, found.scores, right.found.names),
        hits=_hits(found),
    )


def _hits(found: Predictions) -> tuple[int, int, int, int, int]:
    top1, top2, top3, top4, top5 = count_topn(found).hits
    return top1, top2, top3, top4, top5


def _demand_none(what: str, count: int) -> None:
    if count:
        raise ConfigError(
            f"{what} differ, so the effect of a deviation cannot be told",
            got=count,
            expected=0,
            next_step="run the claims first: pytest tests/test_accuracy.py",
        )


def _batches(names: tuple[str, ...], tensors: Floats) -> Iterator[InputBatch]:
    for start in range(0, len(names), BATCH):
        yield InputBatch(names[start : start + BATCH], tensors[start : start + BATCH])


def as_toml(found: Effects) -> str:
    """Return the table as the suite reads it."""
    lines = [
        "# What each known deviation in preparation changes; written by",
        "# python -m benchmarks.deviations --imagenet=DIR --weights=FILE",
        f'measured = "{found.measured}"',
        f'machine = "{found.machine}"',
        f'subject = "{found.subject}"',
        f"images = {found.images}",
        f"hits = {list(found.hits)}",
    ]
    for effect in found.effects:
        lines += [
            "",
            "[[effects]]",
            f'name = "{effect.name}"',
            f'step = "{effect.step}"',
            f"inputs = {effect.inputs}",
            f"decisions = {effect.decisions}",
            f"hits = {list(effect.hits)}",
        ]
    return "\n".join(lines) + "\n"


def table(found: Effects) -> str:
    """Return the same as Markdown, with its heading line."""
    columns = (
        "preparation",
        "first step that differs",
        "inputs changed",
        "decisions changed",
        "Top1..Top5 hits",
        "Top1 change",
    )
    hits = ", ".join(map(str, found.hits))
    lines = [
        f"Measured on {found.measured} with {found.machine}; {found.subject}.\n",
        f"| {' | '.join(columns)} |",
        f"|{' --- |' * len(columns)}",
        f"| correct; PyTorch, and ONNX Runtime alike | | 0 of {found.images} | 0 | {hits} | |",
    ]
    lines += [
        f"| {effect.name} | {effect.step} | {effect.inputs} of {found.images} "
        f"| {effect.decisions} | {', '.join(map(str, effect.hits))} "
        f"| {effect.hits[0] - found.hits[0]:+d} |"
        for effect in found.effects
    ]
    return "\n".join(lines) + "\n"


def with_table(page: str, found: Effects) -> str:
    """Return a page with the table between its two marks.

    Raises:
        ConfigError: The page has no such marks.
    """
    return with_part(page, "measured", table(found))


def main() -> None:
    """Parse the options, measure, and write both tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deviations")
    parser.add_argument("--imagenet", type=Path, metavar="DIR", help="photographs", required=True)
    parser.add_argument("--weights", type=Path, metavar="FILE", help=".pth", required=True)
    parser.add_argument("--output", type=Path, default=PAGE, metavar="FILE", help="page to update")
    parser.add_argument(
        "--toml", type=Path, default=EFFECTS_FILE, metavar="FILE", help="table to write"
    )
    given = parser.parse_args()
    page = given.output.read_text("utf-8")
    with_table(page, Effects(measured="", machine="", subject="", images=1, hits=(0,) * 5,
                             effects=()))  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        found = measure(gather(given.imagenet, given.weights, Path(scratch), quick=False))
    write_whole(as_toml(found).encode(), given.toml)
    write_whole(with_table(page, found).encode(), given.output)


if __name__ == "__main__":
    sys.exit(exit_status(main))
