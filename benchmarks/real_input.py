"""What each rule says about known deviations on real photographs.

Run ``python -m benchmarks.real_input --weights=FILE.pth --imagenet=DIR`` (a state dict of
torchvision's SqueezeNet 1.1, and a folder with ``val/`` and ``val_label.txt``). The photographs are
prepared as the suite prepares them, and its tables go into ``docs/statistics.md``; 500 of them take
about two minutes on one core. The last thing it prints is the bound as it stands in the spec.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from conformance.export.network import import_torchvision
from conformance.imagenet.deviations import CORRECT, DEVIATIONS, Deviation, deviant_steps
from conformance.metrics.agreement import MAX_EXEMPT_PCT, decide_decisions, decide_scores
from conformance.metrics.flip_rate import count_flips, decide_flip_rate
from conformance.metrics.float16_bound import (
    DECISION_FACTOR,
    SCORE_FACTOR,
    Float16Bound,
    derive_epsilon,
)
from conformance.metrics.float16_simulation import simulate
from conformance.metrics.outcomes import Outcomes
from conformance.metrics.paired import decide_paired
from conformance.metrics.scores import Scores, choices, margins
from conformance.spec import load_spec
from conformance.spec_tables import Float16
from conformance.whole_files import write_whole

SUBSETS = (200, 350, 500)
PREPROCESS = load_spec("squeezenet1_1").preprocess
BY_NAME = {deviation.name: deviation for deviation in DEVIATIONS}
PAGE = Path(__file__).resolve().parents[1] / "docs" / "statistics.md"
ABOUT_ROWS = (
    "What the rules say about known deviations of the same photographs, with the worst error or",
    "the number of confident flips in brackets. Accuracy alone sees none of them in 500 images,",
    "the scores tell each apart in 200:",
)
BEGIN, END = "<!-- photographs: begin -->", "<!-- photographs: end -->"


def _network(weights: Path) -> torch.nn.Module:
    network: torch.nn.Module = import_torchvision("models").squeezenet1_1()
    network.load_state_dict(torch.load(weights, weights_only=True))
    return network.eval()


def _inputs(folder: Path, names: list[str], deviation: Deviation) -> NDArray[np.float32]:
    files = (folder / "val" / name for name in names)
    return np.stack([deviant_steps(path, PREPROCESS, deviation).normalise for path in files])


def _scores(network: torch.nn.Module, inputs: NDArray[np.float32]) -> Scores:
    with torch.inference_mode():
        return np.concatenate(
            [network(part).numpy() for part in torch.split(torch.from_numpy(inputs), 20)]
        )


def _variants(network: torch.nn.Module, folder: Path, names: list[str]) -> dict[str, Scores]:
    inputs = _inputs(folder, names, CORRECT)
    shifted, cubic = BY_NAME["crop one pixel to the right"], BY_NAME["bicubic"]
    return {
        "float16 storage": simulate(network, inputs, pool_in_float16=False),
        "float16 storage and pool": simulate(network, inputs, pool_in_float16=True),
        "crop one pixel to the right": _scores(network, _inputs(folder, names, shifted)),
        "bicubic resize": _scores(network, _inputs(folder, names, cubic)),
    }


def bound_table(bound: Float16Bound | Float16, exempt_by_epsilon_pct: float) -> list[str]:
    """Return the Markdown table of the derived bound.

    Args:
        bound: The bound, measured here or as it stands in the spec.
        exempt_by_epsilon_pct: Share of the photographs within 2ε of a tie.
    """
    beyond = "above" if exempt_by_epsilon_pct > MAX_EXEMPT_PCT else "within"
    nearest = f"{bound.nearest_distance:.2f}"
    rows = {
        f"{bound.images} photographs, SqueezeNet 1.1, weights rounded to float16": "",
        "---": "---",
        "storage rounded after every operator, inputs and weights too: worst error, flips": (
            f"{bound.storage_error:.3f}, {bound.storage_flips}"
        ),
        "and average pool added up in float16, value after value: worst error, flips": (
            f"{bound.pool_error:.3f}, {bound.pool_flips}"
        ),
        f"ε = {SCORE_FACTOR:g} · worst, and its cap (the nearest two are {nearest} apart)": (
            f"{bound.epsilon:.3f}, {bound.cap:.3f}"
        ),
        f"images within 2ε of a tie, exempt if decisions had {SCORE_FACTOR:g} · worst too": (
            f"{exempt_by_epsilon_pct:.0f} %: {beyond} the {MAX_EXEMPT_PCT:g} % at which a decision "
            "check says nothing"
        ),
        f"images within 2 · {bound.decision_epsilon:.3f} of a tie, {DECISION_FACTOR:g} · worst": (
            f"{bound.exempt_pct:.1f} %"
        ),
    }
    return [f"| {what} | {figure} |" for what, figure in rows.items()]


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
    """Measure, put the tables into the page, and print the bound."""
    parser = argparse.ArgumentParser(description="What each rule says about known deviations.")
    parser.add_argument("--weights", type=Path, required=True, metavar="FILE")
    parser.add_argument("--imagenet", type=Path, required=True, metavar="DIR")
    given = parser.parse_args()
    lines = (given.imagenet / "val_label.txt").read_text("utf-8").split("\n")
    listed = [line.split() for line in lines if line]
    names, labels = [name for name, _ in listed], np.asarray([int(label) for _, label in listed])
    network = _network(given.weights)
    inputs = _inputs(given.imagenet, names, CORRECT)
    digest = hashlib.sha256(given.weights.read_bytes()).hexdigest()
    bound = derive_epsilon(network, inputs, names, weights_sha256=digest)
    reference = _scores(network, inputs)
    variants = _variants(network, given.imagenet, names)
    exempt_pct = 100 * float((margins(reference) <= 2 * bound.epsilon).mean())
    rows = _rows(variants, reference, names, labels, bound)
    _write([*bound_table(bound, exempt_pct), "", *ABOUT_ROWS, "", *rows])
    print(bound.as_toml())


def _write(lines: list[str]) -> None:
    """Put the tables into the page."""
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    write_whole("\n".join([f"{before}{BEGIN}", "", *lines, "", f"{END}{after}"]).encode(), PAGE)


if __name__ == "__main__":
    main()
