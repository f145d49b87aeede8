"""What small mistakes in preparation do, and what sees them: ``python -m benchmarks.deviations``.

Each deviation is prepared for every photograph, compared with an independent preparation (as the
check ``input.digest`` does), and inferred with PyTorch.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.material import Material, gather
from benchmarks.reference_evaluation import BATCH, exported
from benchmarks.table import machine, today
from conformance.commands import exit_status
from conformance.errors import ConfigError
from conformance.imagenet.batches import InputBatch
from conformance.imagenet.dataset import LabelledImage
from conformance.imagenet.input_digest import compare_inputs
from conformance.imagenet.parallel import each_in_order, usable_cores
from conformance.metrics.topn import TopN, count_topn
from conformance.runners.onnxruntime_runner import infer_with_onnxruntime
from conformance.runners.torch_runner import infer_with_torch
from conformance.spec import Preprocess
from conformance.whole_files import write_whole

Floats = npt.NDArray[np.float32]
PAGE = Path(__file__).resolve().parents[1] / "docs" / "preprocessing.md"
_BEGIN, _END = "<!-- measured: begin -->", "<!-- measured: end -->"


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A way to prepare an image; the defaults are the correct one.

    Attributes:
        name: What it does otherwise.
        short_side: Short side after resizing, in pixels.
        long_side: How the long side becomes an integer.
        crop_offset: How the crop's offsets become integers.
        shift: Pixels by which the crop is moved to the right.
        filter: Pillow's filter.
        antialias: Whether shrinking averages over all pixels; without it, over two.
        channels: Order of the channels.
        mean: Mean to subtract, or None for the model's.
        draft: Whether the JPEG decoder may shrink the image by itself.
    """

    name: str
    short_side: int = 256
    long_side: Callable[[float], int] = int
    crop_offset: Callable[[float], int] = round
    shift: int = 0
    filter: Image.Resampling = Image.Resampling.BILINEAR
    antialias: bool = True
    channels: str = "RGB"
    mean: tuple[float, float, float] | None = None
    draft: bool = False


CORRECT = Recipe("correct")
RECIPES = (
    CORRECT,
    Recipe("crop one pixel to the right", shift=1),
    Recipe("crop offset by floor, not round", crop_offset=int),
    Recipe("long side rounded, not truncated", long_side=round),
    Recipe("bicubic", filter=Image.Resampling.BICUBIC),
    Recipe("no antialias", antialias=False),
    Recipe("short side 255", short_side=255),
    Recipe("blue first (BGR)", channels="BGR"),
    Recipe("mean 0.5 in every channel", mean=(0.5, 0.5, 0.5)),
    Recipe("JPEG draft mode", draft=True),
)


def prepare(path: Path, preprocess: Preprocess, recipe: Recipe) -> Floats:
    """Prepare one image file as the recipe says: float32, 3 x crop x crop."""
    with Image.open(path) as opened:
        if recipe.draft:
            opened.draft("RGB", (recipe.short_side, recipe.short_side))
        image = opened.convert("RGB")
    width, height = image.size
    long_side = recipe.long_side(recipe.short_side * max(image.size) / min(image.size))
    size = (recipe.short_side, long_side) if width < height else (long_side, recipe.short_side)
    resized = image.resize(size, recipe.filter) if recipe.antialias else _aliased(image, size)
    left, top = (recipe.crop_offset((side - preprocess.crop) / 2) for side in size)
    left += recipe.shift
    pixels = np.array(resized.crop((left, top, left + preprocess.crop, top + preprocess.crop)))
    order = ["RGB".index(channel) for channel in recipe.channels]
    tensor = pixels[:, :, order].transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    mean = np.array(recipe.mean or preprocess.mean, np.float32)[:, None, None]
    return (tensor - mean) / np.array(preprocess.std, np.float32)[:, None, None]


def _aliased(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Resize by interpolating between the four nearest pixels, however much it shrinks."""
    across, down = (old / new for old, new in zip(image.size, size, strict=True))
    matrix = (across, 0, 0, 0, down, 0)
    return image.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)


class Prepared:
    """Prepares chunks of images by one recipe; an object, so that it can cross processes."""

    def __init__(self, preprocess: Preprocess, number: int) -> None:
        self.preprocess = preprocess
        self.number = number

    def __call__(self, images: Sequence[LabelledImage]) -> Floats:
        """Return the inputs of some images, n x 3 x crop x crop."""
        recipe = RECIPES[self.number]
        return np.stack([prepare(image.path, self.preprocess, recipe) for image in images])


def measured(material: Material) -> Iterator[tuple[str, int, TopN]]:
    """Yield (recipe or engine, images whose input differs, Top-N) for each recipe."""
    import torch

    torch.set_num_threads(1)  # operations on one image are too small to share
    images, network = material.dataset.images, material.network()
    names, labels = material.dataset.names, material.dataset.labels
    for number, recipe in enumerate(RECIPES):
        prepare_some = Prepared(material.spec.preprocess, number)
        chunks = each_in_order(prepare_some, images, workers=usable_cores(), title=recipe.name)
        tensors = np.concatenate(list(chunks))
        fed = zip(names, tensors, strict=True)
        found = compare_inputs(images, fed, material.spec.preprocess, "float32")
        inferred = infer_with_torch(network, _batches(names, tensors), names, labels)
        yield recipe.name, len(found.differing), count_topn(inferred)
        if recipe is CORRECT:
            model = exported(network, material)
            inferred = infer_with_onnxruntime(model, _batches(names, tensors), names, labels)
            yield "correct, ONNX Runtime", len(found.differing), count_topn(inferred)


def _batches(names: tuple[str, ...], tensors: Floats) -> Iterator[InputBatch]:
    for start in range(0, len(names), BATCH):
        yield InputBatch(names[start : start + BATCH], tensors[start : start + BATCH])


def table(material: Material) -> str:
    """Measure every recipe and return the Markdown table with its heading line."""
    lines = [
        f"Measured on {today()} with {machine()}; {material.described()}.\n",
        "| preparation | inputs that `input.digest` finds | Top1..Top5 hits | Top1 change |",
        "| --- | --- | --- | --- |",
    ]
    right = None
    for name, differing, found in measured(material):
        right = right or found
        hits = ", ".join(map(str, found.hits))
        change = f"{found.hits[0] - right.hits[0]:+d}" if found is not right else ""
        lines.append(f"| {name} | {differing} of {found.images} | {hits} | {change} |")
        print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def main() -> None:
    """Parse the options, measure, and put the table into the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deviations")
    parser.add_argument("--imagenet", type=Path, metavar="DIR", help="photographs", required=True)
    parser.add_argument("--weights", type=Path, metavar="FILE", help=".pth", required=True)
    parser.add_argument("--output", type=Path, default=PAGE, metavar="FILE", help="page to update")
    given = parser.parse_args()
    before, begin, rest = given.output.read_text().partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ConfigError(
            "the page has no place for the table",
            expected=f"the lines {_BEGIN} and {_END}",
            where={"file": given.output},
            next_step="put the two lines where the table belongs",
        )
    with tempfile.TemporaryDirectory() as scratch:
        material = gather(given.imagenet, given.weights, Path(scratch), quick=False)
        text = f"{before}{begin}\n{table(material)}{end}{after}"
    write_whole(text.encode(), given.output)


if __name__ == "__main__":
    sys.exit(exit_status(main))
