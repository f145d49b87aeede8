"""Draw the operating curves and write the tables of ``docs/statistics.md``.

Run ``python -m benchmarks.operating_curves`` in the project's folder; it takes some ten minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import accuracy_curves as accuracy
from benchmarks import goals, throughput_curves
from benchmarks.accuracy_curves import Chances

DOCS = Path(__file__).resolve().parent.parent / "docs"
LOSSES = np.linspace(0, 0.03, 31)
SLOWDOWNS_PCT = np.linspace(0, 15, 31)
IMAGES = (200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000)
# Okabe and Ito's colours, which readers of all kinds of sight can tell apart.
PASS_COLOUR, FAIL_COLOUR, UNDECIDED_COLOUR = "#009E73", "#D55E00", "#999999"


def _areas(axes: Axes, x: Sequence[float], chances: Sequence[Chances], title: str) -> None:
    parts = [[100 * getattr(c, name) for c in chances] for name in ("passes", "undecided", "fails")]
    colours = (PASS_COLOUR, UNDECIDED_COLOUR, FAIL_COLOUR)
    axes.stackplot(x, *parts, labels=("PASS", "INCONCLUSIVE", "FAIL"), colors=colours, alpha=0.8)
    axes.set_title(title, fontsize=9)
    axes.set(xlim=(min(x), max(x)), ylim=(0, 100))
    axes.tick_params(labelsize=8)


def _panels(rows: int, columns: int, x_label: str) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(3 * columns, 2.5 * rows + 0.5), layout="constrained")
    panels = list(np.ravel(figure.subplots(rows, columns, sharex=True, sharey=True)))
    figure.supxlabel(x_label, fontsize=10)
    figure.supylabel("probability, %", fontsize=10)
    return figure, panels


def _save(figure: Figure, panel: Axes, name: str) -> None:
    """Write a figure whole or not at all, and the same bytes each time."""
    figure.legend(*panel.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    target = DOCS / name
    part = target.with_name(f".{name}.part")
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(part, format="svg", metadata={"Date": None})
    part.replace(target)


def draw_accuracy(name: str = "paired-accuracy.svg", discordant: float = 0.03) -> None:
    """Draw PASS, INCONCLUSIVE and FAIL against the true loss for each number of images."""
    figure, panels = _panels(2, 4, "true loss, percentage points")
    for panel, images in zip(panels, IMAGES, strict=True):
        curve = [accuracy.paired(images, loss, discordant) for loss in LOSSES]
        kind = ": counted" if images == IMAGES[-1] else " images"
        _areas(panel, (100 * LOSSES).tolist(), curve, f"{images:,}{kind}")
        panel.axvline(1, color="black", linewidth=0.8)
    _save(figure, panels[0], name)


def draw_accuracy_rivals() -> None:
    """Draw the paired rule beside rules that are in use, at 3 % discordant images."""
    rivals: dict[str, Callable[[float], Chances]] = {
        "paired, 5,000 images": lambda loss: accuracy.paired(5_000, loss, 0.03),
        "limit of 10 points, 1,000 images": accuracy.fixed_limit,
        "limit of 1 point unpaired, 5,000 images": lambda loss: accuracy.fixed_limit(
            loss, images=5_000, limit=0.01
        ),
        "McNemar at 5 %, 5,000 images": lambda loss: accuracy.mcnemar(5_000, loss, 0.03),
    }
    figure, panels = _panels(1, 4, "true loss, percentage points")
    for panel, (title, rule) in zip(panels, rivals.items(), strict=True):
        _areas(panel, (100 * LOSSES).tolist(), [rule(loss) for loss in LOSSES], title)
        panel.axvline(1, color="black", linewidth=0.8)
    _save(figure, panels[0], "accuracy-rules.svg")


def draw_throughput() -> None:
    """Draw the calibrated rule above a constant limit, against the true slowdown."""
    rules = {
        "rounds": throughput_curves.in_looks,
        "one number": throughput_curves.constant_limit,
    }
    figure, panels = _panels(2, 3, "true slowdown, %")
    titled = [(rule, spread) for rule in rules for spread in goals.SPREADS_PCT]
    for panel, (rule, spread) in zip(panels, titled, strict=True):
        curve = [throughput_curves.chances(rules[rule], slow, spread) for slow in SLOWDOWNS_PCT]
        _areas(panel, SLOWDOWNS_PCT.tolist(), curve, f"{rule}, {spread:g} % spread")
        panel.axvline(5, color="black", linewidth=0.8)
    _save(figure, panels[0], "throughput.svg")


def _table(found: Iterable[goals.Goal]) -> list[str]:
    return ["| goal | bound | measured | |", "|---|---|---|---|", *(goal.row() for goal in found)]


def _rivals_table() -> list[str]:
    rows = ["| rule | no loss PASSes | 1 point PASSes | 2 points PASS |", "|---|---|---|---|"]
    rules: dict[str, Callable[[float], Chances]] = {
        "paired, 5,000 images": lambda loss: accuracy.paired(5_000, loss, 0.03),
        "paired, 1,000 images": lambda loss: accuracy.paired(1_000, loss, 0.03),
        "limit of 10 points on 1,000 images": accuracy.fixed_limit,
        "limit of 1 point unpaired, 1,000 images": lambda loss: accuracy.fixed_limit(
            loss, limit=0.01
        ),
        "limit of 1 point unpaired, 5,000 images": lambda loss: accuracy.fixed_limit(
            loss, images=5_000, limit=0.01
        ),
        "McNemar at 5 %, 5,000 images": lambda loss: accuracy.mcnemar(5_000, loss, 0.03),
    }
    for title, rule in rules.items():
        cells = " | ".join(f"{100 * rule(loss).passes:.1f} %" for loss in (0.0, 0.01, 0.02))
        rows.append(f"| {title} | {cells} |")
    return rows


def _other_figures() -> list[str]:
    rejected = ", ".join(
        f"{100 * accuracy.mcnemar(5_000, 0.005, share).fails:.0f} % at {100 * share:g} % discordant"
        for share in (0.01, 0.015, 0.03)
    )
    asymptotic = 100 * accuracy.mcnemar_by_formula(5_000, 0.005, 0.015)
    paired_points, unpaired_points = accuracy.plain_reach(1_000, 0.01)
    unshared = accuracy.in_looks(0.01, 0.03, shared=False)[10_000]
    peeking = throughput_curves.chances(throughput_curves.every_round, 5.0, 1.0, runs=goals.RUNS)
    return [
        f"- McNemar at 5 % on 5,000 images rejects an allowed loss of 0.5 point: {rejected}.",
        f"- The same by the normal formula, 1.5 % discordant: {asymptotic:.0f} %.",
        f"- 1,000 images, 1 % discordant, normal 95 % interval: ±{paired_points:.2f} points.",
        f"- The same unpaired: ±{unpaired_points:.1f} points.",
        f"- Five looks, each with the whole error, loss of exactly 1 point: {_shown(unshared)}.",
        f"- Throughput on the bound, 1 % spread, decided after every round: {_shown(peeking)}.",
        *(
            f"- Confidence sequence, looked at every 100 images up to 10,000, loss of {loss:g} "
            f"points: {_shown(accuracy.anytime(loss / 100, 0.03, runs=500))}."
            for loss in (0, 1, 2)
        ),
    ]


def _shown(chances: Chances) -> str:
    return f"PASS {100 * chances.passes:.1f} %, FAIL {100 * chances.fails:.1f} %"


def write_tables() -> None:
    """Replace the measured part of ``docs/statistics.md``."""
    target = DOCS / "statistics.md"
    begin, end = "<!-- measured: begin -->", "<!-- measured: end -->"
    before, _, rest = target.read_text("utf-8").partition(begin)
    after = rest.partition(end)[2]
    parts = [
        [*_table(goals.accuracy_goals())],
        [*_table([*goals.exact_look_goals(), *goals.look_goals()])],
        [*_table(goals.throughput_goals())],
        [*_table(goals.full_set_goals())],
        [*_table(goals.strict_control_goals())],
        [*goals.correlation_rows()],
        _rivals_table(),
        _other_figures(),
    ]
    measured = "\n\n".join("\n".join(part) for part in parts)
    made = target.with_name(".statistics.md.part")
    made.write_text(f"{before}{begin}\n\n{measured}\n\n{end}{after}", "utf-8")
    made.replace(target)


if __name__ == "__main__":
    draw_accuracy()
    draw_accuracy("paired-accuracy-1pct.svg", 0.01)
    draw_accuracy_rivals()
    draw_throughput()
    write_tables()
