"""A run's comparison with its baseline, made again from the figures that the bundle states."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.check import Check
from conformance.evidence.baseline import (
    REGRESSION,
    AcceptedFigure,
    Baseline,
    figure_key,
    kept_figures,
)
from conformance.evidence.bundle import Accepted, Evidence
from conformance.evidence.gate import Gates
from conformance.evidence.regression import regression_checks

Place = tuple[str, str]


def regression_problems(evidence: Evidence, gates: Gates) -> Iterator[str]:
    """Yield every regression check that is missing, extra or states something else.

    A figure that is in the baseline and was measured is compared, whatever came of it.
    """
    stated = [m.check for m in evidence.checks if m.check.id.startswith(REGRESSION)]
    again = list(_checks(evidence, gates))
    wanted = {_place(check): check for check in again}
    found = {_place(check): check for check in stated}
    for place in wanted.keys() - found.keys():
        yield f"{wanted[place].label}: missing, and the baseline has such a figure"
    for place in found.keys() - wanted.keys():
        yield f"{found[place].label}: there is no such figure in the baseline, or none measured"
    for place in found.keys() & wanted.keys():
        before, now = (_said(side[place]) for side in (found, wanted))
        if before != now:
            yield f"{wanted[place].label}: states {before}, the baseline gives {now}"
    if len(stated) != len(found):
        yield f"{REGRESSION}*: a figure is compared twice"


def _checks(evidence: Evidence, gates: Gates) -> Iterator[Check]:
    """Compare every model's figures with those of the baseline that the bundle states."""
    for model in dict.fromkeys(
        str(kept.coordinates.get("model", "")) for kept in evidence.baseline
    ):
        own = [kept for kept in evidence.baseline if kept.coordinates.get("model") == model]
        figures = kept_figures(evidence.checks, gates, model)
        for kept in own:
            yield from regression_checks(figures, _baseline(kept, gates), gates)


def _baseline(kept: Accepted, gates: Gates) -> Baseline:
    """Return a baseline of one figure."""
    row = gates.row(kept.id)
    figure = AcceptedFigure(
        id=kept.id,
        coordinates=kept.coordinates,
        value=kept.value,
        unit="",
        test="",
        better="lower" if row and row.baseline == "lower" else "higher",
        spread_pct=kept.spread_pct,
    )
    return Baseline(
        model=str(kept.coordinates.get("model", "")), board="device", soc_version="",
        run=kept.run, accepted=kept.accepted, verdict="", versions={}, figures=(figure,),
    )  # fmt: skip


def _place(check: Check) -> Place:
    return check.id, figure_key(check.coordinates)


def _said(check: Check) -> str:
    return f"{check.status}: {check.value}, {check.direction} {check.bound}, {check.source}"
