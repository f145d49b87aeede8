"""A run against its baselines: what the end of every run on a board is compared with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from conformance.check import Check, Status, worst
from conformance.evidence.baseline import (
    Baseline,
    baseline_path,
    kept_figures,
    read_baseline,
    regression_checks,
)
from conformance.evidence.bundle import Accepted, Evidence, Waiver
from conformance.evidence.gate import read_gates
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
    evidence: Evidence, *, gates_file: Path, baselines: Path, models: Sequence[str]
) -> Compared:
    """Compare the figures of a run with what was accepted last; a run without a board has none.

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
        compared.checks += regression_checks(figures, baseline, gates)
        compared.waivers += baseline.waivers
        compared.accepted += _accepted(baseline)
        compared.notes += [waiver.line for waiver in baseline.waivers]
    return compared


def _accepted(baseline: Baseline) -> Iterator[Accepted]:
    """Yield the figures of a baseline as evidence keeps them."""
    for figure in baseline.figures:
        yield Accepted(
            id=figure.id,
            coordinates=figure.coordinates,
            value=figure.value,
            spread_pct=figure.spread_pct,
            accepted=baseline.accepted,
            run=baseline.run,
        )
