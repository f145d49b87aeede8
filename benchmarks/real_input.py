"""What each rule says about known deviations on real photographs.

Run ``python -m benchmarks.real_input --weights=FILE.pth --imagenet=DIR`` (a state dict of
torchvision's SqueezeNet 1.1, and a folder with ``val/`` and ``val_label.txt``). It prints the
figures of ``docs/statistics.md``; 500 photographs take about two minutes on one core.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from conformance.export.network import import_torchvision
from conformance.metrics.agreement import decide_decisions, decide_scores
from conformance.metrics.flip_rate import count_flips, decide_flip_rate
from conformance.metrics.float16_bound import Float16Bound, derive_epsilon
from conformance.metrics.float16_simulation import simulate
from conformance.metrics.outcomes import Outcomes
from conformance.metrics.paired import decide_paired
from conformance.metrics.scores import Scores, choices

SUBSETS = (200, 350, 500)
SIDE, CROP = 256, 224
MEAN, STD = np.asarray([0.485, 0.456, 0.406]), np.asarray([0.229, 0.224, 0.225])

Prepare = Callable[[Image.Image], NDArray[np.float32]]


def _prepare(resample: Image.Resampling, pixels_right: int = 0) -> Prepare:
    """Return a preparation: resize the short side, crop the centre (or beside it), normalise."""

    def prepare(photograph: Image.Image) -> NDArray[np.float32]:
        width, height = photograph.size
        short = min(width, height)
        size = (width * SIDE // short, height * SIDE // short)
        resized = photograph.resize(size, resample)
        left = round((size[0] - CROP) / 2) + pixels_right
        top = round((size[1] - CROP) / 2)
        pixels = np.asarray(resized.crop((left, top, left + CROP, top + CROP)), np.float64) / 255
        return np.asarray(((pixels - MEAN) / STD).transpose(2, 0, 1), np.float32)

    return prepare


def _network(weights: Path) -> torch.nn.Module:
    network: torch.nn.Module = import_torchvision("models").squeezenet1_1()
    network.load_state_dict(torch.load(weights, weights_only=True))
    return network.eval()


def _inputs(folder: Path, names: list[str], prepare: Prepare) -> NDArray[np.float32]:
    made = []
    for name in names:
        with Image.open(folder / "val" / name) as photograph:
            made.append(prepare(photograph.convert("RGB")))
    return np.stack(made)


def _scores(network: torch.nn.Module, inputs: NDArray[np.float32]) -> Scores:
    with torch.inference_mode():
        return np.concatenate(
            [network(part).numpy() for part in torch.split(torch.from_numpy(inputs), 20)]
        )


def _variants(network: torch.nn.Module, folder: Path, names: list[str]) -> dict[str, Scores]:
    bilinear, bicubic = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC
    inputs = _inputs(folder, names, _prepare(bilinear))
    shifted, cubic = _prepare(bilinear, 1), _prepare(bicubic)
    return {
        "float16 storage": simulate(network, inputs, pool_in_float16=False),
        "float16 storage and pool": simulate(network, inputs, pool_in_float16=True),
        "crop one pixel to the right": _scores(network, _inputs(folder, names, shifted)),
        "bicubic resize": _scores(network, _inputs(folder, names, cubic)),
    }


def _rows(
    variants: Mapping[str, Scores],
    reference: Scores,
    names: list[str],
    labels: NDArray[np.int64],
    bound: Float16Bound,
) -> list[str]:
    rows = [
        "| deviation | images | flips | flip rate | scores | decisions | accuracy, points |",
        "|---|---|---|---|---|---|---|",
    ]
    for title, scores in variants.items():
        for count in (count for count in SUBSETS if count <= len(names)):
            trusted, tested, named = reference[:count], scores[:count], names[:count]
            flips = count_flips(trusted, tested, named)
            right = [choices(side) == labels[:count] for side in (trusted, tested)]
            paired = decide_paired(Outcomes(tuple(named), right[0], right[1]))
            close = decide_scores(trusted, tested, named, epsilon=bound.epsilon)
            same = decide_decisions(trusted, tested, named, epsilon=bound.decision_epsilon)
            rows.append(
                f"| {title} | {count} | {flips} | {decide_flip_rate(flips, count).status} | "
                f"{close.status} ({close.largest_error:.3f}) | {same.status} "
                f"({len(same.confident)}) | {paired.status} ({paired.paired_points.lower:+.1f} to "
                f"{paired.paired_points.upper:+.1f}) |"
            )
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What each rule says about known deviations.")
    parser.add_argument("--weights", type=Path, required=True, metavar="FILE")
    parser.add_argument("--imagenet", type=Path, required=True, metavar="DIR")
    given = parser.parse_args()
    lines = (given.imagenet / "val_label.txt").read_text("utf-8").split("\n")
    listed = [line.split() for line in lines if line]
    names, labels = [name for name, _ in listed], np.asarray([int(label) for _, label in listed])
    network = _network(given.weights)
    inputs = _inputs(given.imagenet, names, _prepare(Image.Resampling.BILINEAR))
    digest = hashlib.sha256(given.weights.read_bytes()).hexdigest()
    bound = derive_epsilon(network, inputs, names, weights_sha256=digest)
    reference = _scores(network, inputs)
    variants = _variants(network, given.imagenet, names)
    print(bound.as_toml())
    print("\n".join(_rows(variants, reference, names, labels, bound)))


if __name__ == "__main__":
    main()
