"""Confirm the operating curves on the emulated board: real weights, photographs, known losses.

Run ``python -m benchmarks.board_curves --weights=FILE.pth --imagenet=DIR``. The suite runs as it
does on a board, at 200, 350 and 500 images, on a sound board and on boards that change a known
share of the answers at random, other ones for each batch size. What the checks said is set beside
what the curves give, and the table goes into ``docs/statistics.md``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from benchmarks import accuracy_curves
from benchmarks.accuracy_curves import Chances
from benchmarks.table import with_part
from conformance.check import Check, Status
from conformance.commands import exit_status
from conformance.errors import ToolError
from conformance.evidence.bundle import PREDICTIONS_FILE
from conformance.evidence.bundle_files import read_evidence
from conformance.evidence.prediction_file import Predictions, read_predictions
from conformance.metrics.flip_rate import decide_flip_rate
from conformance.whole_files import write_whole

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "statistics.md"
COUNTS = (200, 350, 500)
SHARES = "0,0.03,0.1,0.25"
BATCHES = (4, 8, 16, 32)
FAULT = "answers-change-at-random"
TESTS = "(test_om_loses_no_accuracy or test_om_agrees_with_pytorch) and not aipp"
# Beyond this the curves would not describe what the board does; cells are many, so 1 in 1,000.
SURPRISE = 0.001
HEAD = (
    "| images | changed | true loss, points | paired: PASS · ? · FAIL | curves, % | covered "
    "| flip rate: PASS · ? · FAIL | curves, % |"
)


@dataclass(frozen=True)
class Setting:
    """One kind of run: so many images, with this share of the answers changed."""

    images: int
    share: float


@dataclass(frozen=True)
class Seen:
    """What the checks of one kind of run said, and what the curves give for it.

    Attributes:
        setting: The kind of run.
        loss_points: True loss: that of the changed answers, from the reference's own.
        paired: What paired Top-1 accuracy said, once for each batch size and seed.
        flips: What the flip rate said.
        covered: How many of the paired intervals hold the true loss.
        paired_chances: What the curves give for the first.
        flip_chances: What the binomial distribution gives for the second.
    """

    setting: Setting
    loss_points: float
    paired: tuple[Status, ...]
    flips: tuple[Status, ...]
    covered: int
    paired_chances: Chances
    flip_chances: Chances

    def row(self) -> str:
        """Render it as a row of a Markdown table."""
        cells = (
            f"{self.setting.images}",
            f"{100 * self.setting.share:g} %",
            f"{self.loss_points:.2f}",
            _shares(self.paired),
            _percent(self.paired_chances),
            f"{self.covered} of {len(self.paired)}",
            _shares(self.flips),
            _percent(self.flip_chances),
        )
        return f"| {' | '.join(cells)} |"

    @property
    def surprising(self) -> bool:
        """Whether a count of PASS or FAIL is one that the curves hardly ever give."""
        parts = ((self.paired, self.paired_chances), (self.flips, self.flip_chances))
        return any(
            _p_value(said.count(status), len(said), chance) < SURPRISE
            for said, chances in parts
            for status, chance in ((Status.PASS, chances.passes), (Status.FAIL, chances.fails))
        )


def _p_value(count: int, runs: int, chance: float) -> float:
    return float(stats.binomtest(count, runs, min(1.0, max(0.0, chance))).pvalue)


def _shares(said: Sequence[Status]) -> str:
    counts = Counter(said)
    return " · ".join(str(counts[s]) for s in (Status.PASS, Status.INCONCLUSIVE, Status.FAIL))


def _percent(chances: Chances) -> str:
    parts = (chances.passes, chances.undecided, chances.fails)
    return " · ".join(f"{100 * part:.0f}" for part in parts)


def measure(setting: Setting, given: argparse.Namespace, scratch: Path) -> Seen:
    """Run the suite on boards of one kind, once for each seed, and read what its checks said.

    Raises:
        ToolError: A run left no evidence, or not every check.
    """
    seeds = range(given.seeds if setting.share else 1)
    bundles = [_bundle(setting, seed, given, scratch) for seed in seeds]
    made = [m.check for bundle in bundles for m in read_evidence(bundle).checks]
    checks = [check for check in made if check.status is not Status.SKIP]
    paired = [check for check in checks if check.id == "accuracy.paired.top1"]
    flips = [check for check in checks if check.id == "agreement.flips"]
    if len(paired) != len(bundles) * len(BATCHES) or len(flips) != len(paired):
        raise ToolError(
            "a run of the suite did not make its checks",
            got=f"{len(paired)} and {len(flips)}",
            expected=f"{len(bundles) * len(BATCHES)} of each",
            where={"folder": scratch},
            next_step="run it by hand and see what it says",
        )
    found = read_predictions(bundles[0] / PREDICTIONS_FILE)
    gain, loss, change = _rates(found, setting.share)
    return Seen(
        setting=setting,
        loss_points=100 * (loss - gain),
        paired=tuple(check.status for check in paired),
        flips=tuple(check.status for check in flips),
        covered=sum(_covers(check, 100 * (gain - loss)) for check in paired),
        paired_chances=accuracy_curves.of_rates(setting.images, gain, loss),
        flip_chances=_flip_chances(setting.images, change),
    )


def _rates(found: Predictions, share: float) -> tuple[float, float, float]:
    """Return how often an image is gained, lost and changed when a share takes its second class."""
    best = next(best for name, best in found.sets.items() if name.endswith(" torch"))
    first, second = (float((best.ids[:, n] == found.labels).mean()) for n in (0, 1))
    return share * second, share * first, share


def _covers(check: Check, difference_points: float) -> bool:
    lower, _, upper = str(check.value).partition(" to ")
    return float(lower) <= difference_points <= float(upper)


def _flip_chances(images: int, share: float) -> Chances:
    """Return the chances of the flip rate's rule at a true share of changed answers."""
    counts = np.arange(images + 1)
    probability = stats.binom.pmf(counts, images, share)
    said = [decide_flip_rate(int(count), images).status for count in counts]
    passes, fails = (
        float(sum(probability[[status is wanted for status in said]]))
        for wanted in (Status.PASS, Status.FAIL)
    )
    return Chances(passes, fails)


def _bundle(setting: Setting, seed: int, given: argparse.Namespace, scratch: Path) -> Path:
    """Run the suite on a board of its own and return the bundle."""
    place = scratch / f"{setting.images}-{setting.share}-{seed}"
    board = scratch / "board"
    own = 10_000 * setting.images + 100 * round(100 * setting.share) + seed
    words = [sys.executable, "-m", "emulator", "install", str(board), f"--seed={own}"]
    fault = [f"--fault={FAULT}:share={setting.share}"] if setting.share else []
    subprocess.run([*words, *fault], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own program, an argument list
    options = [
        "-q", "-p", "no:cacheprovider", "tests/test_accuracy.py", "-k", TESTS,
        "--board=emulated", "--looks=once", f"--images={setting.images}",
        f"--batch={','.join(map(str, BATCHES))}", "--tune=off", "--inference-tool=benchmark",
        f"--weights={given.weights}", f"--imagenet={given.imagenet}",
        f"--artifacts={scratch / 'store'}", f"--evidence={place}",
    ]  # fmt: skip
    environment = {**os.environ, "CONFORMANCE_EMULATED_BOARD": str(board)}
    subprocess.run(  # noqa: S603 - our own program, an argument list
        [sys.executable, "-m", "pytest", *options],
        cwd=ROOT, env=environment, check=False, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    bundles = list(place.iterdir()) if place.exists() else []
    if len(bundles) == 1:
        return bundles[0]
    raise ToolError(
        "a run of the suite left no evidence",
        got=f"{len(bundles)} bundles",
        where={"folder": place},
        next_step=f"run it by hand: pytest {' '.join(options)}",
    )


def _rows(given: argparse.Namespace, scratch: Path) -> Iterator[Seen]:
    for images in COUNTS:
        for share in map(float, given.shares.split(",")):
            seen = measure(Setting(images, share), given, scratch)
            print(seen.row(), flush=True)
            yield seen


def _written(rows: Sequence[Seen]) -> None:
    """Put the table into the page."""
    odd = [row.row() for row in rows if row.surprising]
    intervals, covered = sum(len(row.paired) for row in rows), sum(row.covered for row in rows)
    table = [HEAD, "|---" * HEAD.count(" | ") + "|---|", *(row.row() for row in rows), ""]
    table += [
        f"{covered} of {intervals} 98 % intervals hold the true loss.",
        f"{len(odd)} of {len(rows)} rows are ones that the curves hardly ever give ({SURPRISE:g}).",
    ]
    text = with_part(PAGE.read_text("utf-8"), "board", "\n".join(["", *table]))
    write_whole(text.encode(), PAGE)


def main() -> None:
    """Parse the options, run everything, and put the table into the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.board_curves")
    parser.add_argument("--weights", type=Path, metavar="FILE", required=True)
    parser.add_argument("--imagenet", type=Path, metavar="DIR", required=True)
    parser.add_argument("--seeds", type=int, metavar="N", default=2, help="boards of each kind")
    parser.add_argument(
        "--shares", metavar="S,…", default=SHARES, help="of changed answers (default: %(default)s)"
    )
    parser.add_argument("--scratch", type=Path, metavar="DIR", help="where files go; default: /tmp")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.scratch) as scratch:
        _written(list(_rows(given, Path(scratch))))


if __name__ == "__main__":
    sys.exit(exit_status(main))
