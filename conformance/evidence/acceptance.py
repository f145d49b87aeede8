"""Acceptance: a conformant run becomes the baseline; a worse one needs a waiver."""

from __future__ import annotations

import datetime as dt
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from conformance.check import Status
from conformance.errors import EvidenceError
from conformance.evidence.baseline import (
    AcceptedFigure,
    Baseline,
    figure_key,
    is_worse,
    kept_figures,
)
from conformance.evidence.bundle import Evidence, Waiver
from conformance.evidence.gate import Gates


class _Waivers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    waivers: tuple[Waiver, ...] = ()


def read_waivers(path: Path) -> tuple[Waiver, ...]:
    """Read waivers from a TOML file with ``[[waivers]]``: id, reason, owner, expires.

    Raises:
        EvidenceError: It cannot be read, or a field is missing or misspelt.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8"))
        return msgspec.convert(table, _Waivers, strict=True).waivers
    except (OSError, ValueError) as error:
        raise EvidenceError(
            "the waivers cannot be read",
            got=error,
            expected="[[waivers]] with id, reason, owner, expires and, where needed, coordinates",
            where={"file": path},
            next_step="correct the file",
        ) from None


def accepted_baseline(
    evidence: Evidence,
    gates: Gates,
    old: Baseline | None,
    *,
    model: str,
    board: str,
    waivers: Sequence[Waiver],
    today: dt.date,
) -> Baseline:
    """Make the new baseline of a conformant run.

    Raises:
        EvidenceError: The run has no figures to keep, or a figure is lower than before, or gone,
            and no waiver that has not expired allows that; names each.
    """
    held = [made for made in evidence.checks if made.check.status is Status.PASS]
    figures = kept_figures(held, gates, model)
    if not figures or evidence.board is None or evidence.decision is None:
        raise EvidenceError(
            "the run has no figure that a baseline keeps",
            where={"run": evidence.run},
            next_step="accept a run that measured throughput or accuracy on a board",
        )
    valid = [waiver for waiver in waivers if waiver.expires >= today]
    lower = list(_lower(figures, old, gates)) if old else []
    used = [waiver for waiver in valid if any(_waives(waiver, figure) for figure, _ in lower)]
    unwaived = [text for figure, text in lower if not any(_waives(w, figure) for w in used)]
    if unwaived:
        raise EvidenceError(
            "the run is worse than the accepted baseline",
            got="\n    ".join(unwaived),
            next_step="find the cause, or give --waivers=FILE with reason, owner and expiry",
        )
    kept = [w for w in (old.waivers if old else ()) if w.expires >= today and w not in used]
    return Baseline(
        model=model,
        board="device" if board == "device" else "emulated",
        soc_version=evidence.board.soc_version,
        run=evidence.run,
        accepted=today,
        verdict=evidence.decision.line,
        versions=evidence.versions,
        figures=tuple(_ratcheted(figure, old, used) for figure in figures),
        waivers=(*kept, *used),
    )


def _ratcheted(
    figure: AcceptedFigure, old: Baseline | None, waivers: Sequence[Waiver]
) -> AcceptedFigure:
    """Keep the better accepted value where noise explains the difference.

    Else a few acceptances, each within the noise, would take a baseline down without a waiver.
    """
    place = (figure.id, figure_key(figure.coordinates))
    before = next(
        (f for f in (old.figures if old else ()) if (f.id, figure_key(f.coordinates)) == place),
        None,
    )
    if before is None or not is_worse(figure.value, before):
        return figure
    waived = any(_waives(waiver, figure) for waiver in waivers)
    return figure if waived else msgspec.structs.replace(figure, value=before.value)


def _lower(
    figures: Sequence[AcceptedFigure], old: Baseline, gates: Gates
) -> Iterator[tuple[AcceptedFigure, str]]:
    now = {(figure.id, figure_key(figure.coordinates)): figure for figure in figures}
    for before in old.figures:
        found = now.get((before.id, figure_key(before.coordinates)))
        if found is None:
            yield before, f"{before.label}: {before.value:g} before, not measured now"
            continue
        row = gates.row(before.id)
        # The new run's own spread is no excuse here: noise would ratchet the baseline down.
        if is_worse(found.value, before) and is_worse(
            found.value,
            msgspec.structs.replace(before, value=before.bound(row.noise_pct if row else 0.0)),
        ):
            yield before, f"{before.label}: {before.value:g} before, {found.value:g} now"


def _waives(waiver: Waiver, figure: AcceptedFigure) -> bool:
    return waiver.id == figure.id and waiver.coordinates.items() <= figure.coordinates.items()


def differences(figures: Sequence[AcceptedFigure], old: Baseline | None) -> Iterator[str]:
    """Yield one line for each figure: before, now and the change in percent."""
    before = {(f.id, figure_key(f.coordinates)): f.value for f in (old.figures if old else ())}
    for figure in figures:
        value = before.get((figure.id, figure_key(figure.coordinates)))
        if value is None:
            yield f"{figure.label}: {figure.value:g} {figure.unit} (new)"
        else:
            change = f"{100 * (figure.value / value - 1):+.2f} %" if value else "from 0"
            yield f"{figure.label}: {value:g} -> {figure.value:g} {figure.unit} ({change})"
