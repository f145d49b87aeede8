"""Acceptance: a conformant run becomes the baseline; a worse one needs a waiver."""

from __future__ import annotations

import datetime as dt
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from conformance.check import Status
from conformance.errors import EvidenceError
from conformance.evidence.baseline import AcceptedFigure, Baseline, is_worse, kept_figures
from conformance.evidence.bundle import Evidence, Waiver
from conformance.evidence.gate import Gates, named_gate

# A waiver buys time to find a cause; one that outlives this is a lower bound in disguise.
LONGEST_DAYS = 366


class _Waivers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    waivers: tuple[Waiver, ...] = ()


def read_waivers(path: Path, today: dt.date | None = None) -> tuple[Waiver, ...]:
    """Read waivers from a TOML file with ``[[waivers]]``: id, reason, owner, expires.

    Args:
        path: The file.
        today: The day from which the longest time counts; that of the clock in UTC if None.

    Raises:
        EvidenceError: It cannot be read, a field is missing, misspelt or blank, or a waiver would
            last longer than a year.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8"))
        waivers = msgspec.convert(table, _Waivers, strict=True).waivers
    except (OSError, ValueError) as error:
        raise EvidenceError(
            "the waivers cannot be read",
            got=error,
            expected="[[waivers]] with id, reason, owner, expires and, where needed, coordinates",
            where={"file": path},
            next_step="correct the file",
        ) from None
    last = (today or dt.datetime.now(dt.UTC).date()) + dt.timedelta(days=LONGEST_DAYS)
    if lasting := [waiver for waiver in waivers if waiver.expires > last]:
        raise EvidenceError(
            "a waiver would last too long",
            got="; ".join(f"{waiver.id} until {waiver.expires}" for waiver in lasting),
            expected=f"expires = {last} at the latest, a year from today",
            where={"file": path},
            next_step="give an earlier last day; a waiver can be renewed when it ends",
        )
    return waivers


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
        EvidenceError: The run has no figures to keep, its gate does not require them, or a figure
            is lower than before, or gone, and no waiver that has not expired allows that; names
            each.
    """
    figures = measured_figures(evidence, gates, model)
    if not figures or evidence.board is None or evidence.decision is None:
        raise EvidenceError(
            "the run has no figure that a baseline keeps",
            where={"run": evidence.run},
            next_step="accept a run that measured throughput or accuracy on a board",
        )
    _demand_covering_gate(evidence.decision.gate, figures, gates, board)
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


def measured_figures(evidence: Evidence, gates: Gates, model: str) -> tuple[AcceptedFigure, ...]:
    """Return the figures that hold in a run and that a baseline keeps."""
    held = [made for made in evidence.checks if made.check.status is Status.PASS]
    return kept_figures(held, gates, model)


def _demand_covering_gate(
    name: str, figures: Sequence[AcceptedFigure], gates: Gates, board: str
) -> None:
    """Refuse figures that the run's gate did not ask for, or of a board that it would not tell."""
    required = {check_id for row in gates.checks if name in row.gates for check_id in row.ids}
    loose = sorted({figure.id for figure in figures} - required)
    boards = named_gate(gates, name).accepts.board
    if not loose and (board != "device" or set(boards) == {board}):
        return
    covering = [
        other
        for other, gate in gates.gates.items()
        if board in gate.accepts.board and (board != "device" or set(gate.accepts.board) == {board})
    ]
    raise EvidenceError(
        "the run's gate does not cover what a baseline keeps",
        got=f"gate {name} on a board of class {board}"
        + (f", which does not require {', '.join(loose)}" if loose else ""),
        expected="a gate that requires each figure, for a device one that accepts nothing else",
        next_step="run with "
        + " or ".join(f"--gate={other}" for other in covering if other != name),
    )


def _ratcheted(
    figure: AcceptedFigure, old: Baseline | None, waivers: Sequence[Waiver]
) -> AcceptedFigure:
    """Keep the better accepted figure, and where it was measured, where noise explains the rest.

    Else a few acceptances, each within the noise, would take a baseline down without a waiver.
    """
    before = next((f for f in (old.figures if old else ()) if f.place == figure.place), None)
    if old is None or before is None or not is_worse(figure.value, before):
        return figure
    if any(_waives(waiver, figure) for waiver in waivers):
        return figure
    return msgspec.structs.replace(before, origin=old.origin_of(before))


def _lower(
    figures: Sequence[AcceptedFigure], old: Baseline, gates: Gates
) -> Iterator[tuple[AcceptedFigure, str]]:
    now = {figure.place: figure for figure in figures}
    for before in old.figures:
        found = now.get(before.place)
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


def differences(
    measured: Sequence[AcceptedFigure], new: Baseline, old: Baseline | None
) -> Iterator[str]:
    """Yield one line for each figure: before, what was measured now, and the change in percent.

    Args:
        measured: The run's figures, from :func:`measured_figures`.
        new: The baseline that becomes of them; it keeps a figure that only noise is below.
        old: The baseline before.
    """
    before = {figure.place: figure.value for figure in (old.figures if old else ())}
    kept = {figure.place: figure for figure in new.figures}
    for figure in measured:
        value = before.get(figure.place)
        if value is None:
            yield f"{figure.label}: {figure.value:g} {figure.unit} (new)"
            continue
        change = f"{100 * (figure.value / value - 1):+.2f} %" if value else "from 0"
        line = f"{figure.label}: {value:g} -> {figure.value:g} {figure.unit} ({change})"
        origin = kept[figure.place].origin
        yield f"{line}; within the noise, {value:g} of run {origin.run} stays" if origin else line
