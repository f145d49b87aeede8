"""A run against its baselines: what the end of every run on a board is compared with."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from conformance.check import Check, Status, at_least, at_most, worst
from conformance.evidence.baseline import (
    REGRESSION,
    AcceptedFigure,
    Baseline,
    baseline_path,
    kept_figures,
    read_baseline,
)
from conformance.evidence.bundle import Accepted, Evidence, Waiver
from conformance.evidence.gate import Gates, read_gates
from conformance.evidence.record import CheckRecord, OutcomeRecord, Record
from conformance.evidence.verdict import least_class

# The name under which these checks stand among the tests.
COMPARISON = "baselines::comparison"
BOARDS = ("device", "emulated")


@dataclass
class Compared:
    """What came of the comparison: checks, waivers, accepted figures, and what there is to say."""

    checks: list[Check] = field(default_factory=list)
    waivers: list[Waiver] = field(default_factory=list)
    accepted: list[Accepted] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def records(self) -> list[Record]:
        """The checks as records of one test; none if there was nothing to compare."""
        if not self.checks:
            return []
        status = worst(check.status for check in self.checks)
        bad = [check.describe() for check in self.checks if check.status is not Status.PASS]
        outcome = OutcomeRecord(COMPARISON, status, 0.0, "\n".join(bad))
        return [*(CheckRecord(COMPARISON, check) for check in self.checks), outcome]


def compare_with_baselines(
    evidence: Evidence,
    *,
    gates_file: Path,
    baselines: Path,
    models: Sequence[str],
    options: Sequence[str] = (),
) -> Compared:
    """Compare the figures of a run with what was accepted last; a run without a board has none.

    Args:
        evidence: The run.
        gates_file: What says which figures a baseline keeps.
        baselines: The folder of baselines.
        models: The models of the run.
        options: The run's options, for the command that measures a figure again.

    Raises:
        EvidenceError: The gates or a baseline are damaged.
    """
    compared = Compared()
    board = least_class("board", (c.value for c in evidence.classes if c.part == "board"))
    if evidence.board is None or board not in BOARDS:
        return compared
    gates = read_gates(gates_file)
    for model in models:
        figures = kept_figures(evidence.checks, gates, model)
        path = baseline_path(baselines, board, evidence.board.soc_version, model)
        baseline = read_baseline(path)
        if baseline is None:
            compared.notes.append(f"no baseline for {path.relative_to(baselines).with_suffix('')}")
            continue
        compared.checks += regression_checks(figures, baseline, gates, options)
        compared.waivers += baseline.waivers
        compared.accepted += _accepted(baseline)
        compared.notes += [waiver.line for waiver in baseline.waivers]
    return compared


def _accepted(baseline: Baseline) -> Iterator[Accepted]:
    """Yield the figures of a baseline as evidence keeps them."""
    for figure in baseline.figures:
        origin = baseline.origin_of(figure)
        yield Accepted(
            id=figure.id,
            coordinates=figure.coordinates,
            value=figure.value,
            spread_pct=figure.spread_pct,
            accepted=origin.accepted,
            run=origin.run,
        )


def regression_checks(
    figures: Sequence[AcceptedFigure],
    baseline: Baseline,
    gates: Gates,
    options: Sequence[str] = (),
) -> list[Check]:
    """Compare a run's figures with the baseline, each within its noise.

    Args:
        figures: The run's, from :func:`kept_figures`.
        baseline: The accepted ones.
        gates: They say how much noise a figure has.
        options: The run's options, without which the command would measure something else.

    Returns:
        One check for each figure that is in both, with the command that measures it again.
    """
    now = {figure.place: figure for figure in figures}
    return [
        _regression_check(now[old.place], old, baseline, gates, options)
        for old in baseline.figures
        if old.place in now
    ]


def _regression_check(
    new: AcceptedFigure,
    old: AcceptedFigure,
    baseline: Baseline,
    gates: Gates,
    options: Sequence[str],
) -> Check:
    row, origin = gates.row(old.id), baseline.origin_of(old)
    make = at_least if old.better == "higher" else at_most
    return make(
        REGRESSION + old.id,
        new.value,
        old.bound(row.noise_pct if row else 0.0, new.spread_pct),
        unit=new.unit,
        coordinates=new.coordinates,
        source=f"baseline of {origin.accepted}, run {origin.run}: {old.value:g}, "
        f"spread {old.spread_pct:.2g} %, now {new.spread_pct:.2g} %",
        hint=f"measure again: {shlex.join(['pytest', new.test, *options])}",
    )
