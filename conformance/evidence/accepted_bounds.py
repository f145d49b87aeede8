"""The record of accepted bounds, against which every run's bounds are compared.

``baselines/bounds.json`` belongs under version control. It only ever gets stricter: a bound that is
looser than there, or gone, needs a waiver in ``waivers.toml``, which ends on its last day. The
record's own digest finds an edit by hand; that everything was rewritten together only a review or
a signature of the evidence, which names the record's digest, can exclude.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from conformance.bounds import SUITE, Bound, bounds_sha256, model_bounds, suite_bounds
from conformance.check import Check, equal
from conformance.errors import EvidenceError
from conformance.evidence.acceptance import read_waivers
from conformance.evidence.baseline import FOLDER
from conformance.evidence.bounds_record import (
    RECORD_FILE,
    AcceptedBound,
    BoundsRecord,
    read_record,
    write_record,
)
from conformance.evidence.bundle import Evidence, Waiver
from conformance.spec import ModelSpec

__all__ = [
    "CHECK",
    "RECORD_DIGEST",
    "RECORD_FILE",
    "SUITE_DIGEST",
    "WAIVERS_NAME",
    "AcceptedBound",
    "BoundsRecord",
    "Comparison",
    "accepted_check",
    "bounds_in_force",
    "bounds_problems",
    "compare",
    "read_record",
    "tightened",
    "waivers_of",
    "write_record",
]

WAIVERS_NAME = "waivers.toml"
CHECK = "bounds.accepted"
# Names in a run's evidence of the files that its bounds come from.
RECORD_DIGEST, SUITE_DIGEST = f"{FOLDER}/bounds.json", "bounds.toml"


@dataclass(frozen=True)
class Comparison:
    """What became of a run's bounds beside the accepted ones; each text names one bound.

    Attributes:
        loosened: Looser or gone, and nobody may.
        waived: Looser or gone, with the waiver that allows it.
        waivers: Those waivers.
        unused: Expired waivers, and those that no bound needs.
        tighter: Stricter than accepted, or new: to be accepted.
    """

    loosened: list[str] = field(default_factory=list)
    waived: list[str] = field(default_factory=list)
    waivers: list[Waiver] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    tighter: list[str] = field(default_factory=list)


def bounds_in_force(specs: Iterable[ModelSpec]) -> list[Bound]:
    """Return the suite's own bounds and those of the models."""
    return [*suite_bounds(), *(bound for spec in specs for bound in model_bounds(spec))]


def waivers_of(folder: Path) -> tuple[Waiver, ...]:
    """Return the waivers of a checkout; none if it has no such file.

    Raises:
        EvidenceError: The file is damaged.
    """
    path = folder / WAIVERS_NAME
    return read_waivers(path) if path.exists() else ()


def compare(
    bounds: Sequence[Bound],
    record: BoundsRecord,
    waivers: Sequence[Waiver],
    today: dt.date,
) -> Comparison:
    """Compare bounds in force with the accepted ones of the same scopes.

    A waiver names a bound by ``id`` (``suite/parity.ratio``) and holds to the end of its last day.
    """
    found, made = {bound.name: bound for bound in bounds}, Comparison()
    scopes = {bound.scope for bound in bounds}
    for accepted in record.bounds:
        if accepted.name.partition("/")[0] in scopes:
            _compare_one(accepted, found.get(accepted.name), waivers, today, made)
    known = {accepted.name: accepted for accepted in record.bounds}
    for name, bound in found.items():
        before = known.get(name)
        if before is None:
            made.tighter.append(f"{name} = {bound.value:.6g} is new")
        elif before.allows(bound.value) and before.value != bound.value:
            made.tighter.append(f"{name}: {before.value:.6g} accepted, {bound.value:.6g} now")
    made.unused.extend(
        f"{'expired' if waiver.expires < today else 'not needed'}: {waiver.id} ({waiver.owner}, "
        f"until {waiver.expires})"
        for waiver in waivers
        if waiver.id.partition("/")[0] in scopes and waiver not in made.waivers
    )
    return made


def _compare_one(
    accepted: AcceptedBound,
    now: Bound | None,
    waivers: Sequence[Waiver],
    today: dt.date,
    made: Comparison,
) -> None:
    """Add one accepted bound to what is loosened or waived, unless it still holds."""
    same = now is not None and (now.looser, now.origin.unit) == (accepted.looser, accepted.unit)
    if now is not None and same and accepted.allows(now.value):
        return
    shown = "gone" if now is None else f"{now.value:.6g} {now.origin.unit}"
    text = f"{accepted.name}: {accepted.value:.6g} {accepted.unit} accepted, now {shown}"
    valid = [w for w in waivers if w.id == accepted.name and w.expires >= today]
    if not valid:
        made.loosened.append(text)
        return
    made.waivers.append(valid[0])
    made.waived.append(f"{text}; {valid[0].line}")


def accepted_check(made: Comparison) -> Check:
    """No bound of a model or of the suite is looser than accepted, unless a waiver allows it."""
    return equal(
        CHECK,
        len(made.loosened),
        0,
        unit="bounds looser than accepted",
        source=RECORD_DIGEST,
        detail="\n".join([*made.loosened, *made.waived, *made.unused]),
        hint=f"tighten it again, or give a reason, an owner and a last day in {WAIVERS_NAME}",
    )


def tightened(
    bounds: Sequence[Bound], record: BoundsRecord | None, models: Iterable[str], today: dt.date
) -> tuple[AcceptedBound, ...]:
    """Return what to accept: what is new or stricter; nothing that is looser, waived or not.

    Bounds of a model that has no spec any more are left out.

    Raises:
        EvidenceError: A bound is looser than accepted, or gone; the error names each.
    """
    before = record or BoundsRecord(bounds=(), sha256="0" * 64)
    if loosened := compare(bounds, before, (), today).loosened:
        raise EvidenceError(
            "bounds are looser than accepted",
            got="\n    ".join(loosened),
            expected="bounds that are as strict or stricter",
            next_step=f"tighten them again; {WAIVERS_NAME} allows a looser bound for a time, and "
            "accepts none",
        )
    known, scopes = {bound.name: bound for bound in before.bounds}, {SUITE, *models}
    return tuple(
        _kept(bound, known.get(bound.name), today) for bound in bounds if bound.scope in scopes
    )


def _kept(bound: Bound, before: AcceptedBound | None, today: dt.date) -> AcceptedBound:
    if before is not None and before.value == bound.value:
        return before
    return AcceptedBound(
        name=bound.name, value=bound.value, looser=bound.looser, unit=bound.origin.unit,
        soc=bound.origin.soc, accepted=today,
    )  # fmt: skip


def bounds_problems(evidence: Evidence, specs: Iterable[ModelSpec]) -> Iterator[str]:
    """Yield where a bundle was held to other bounds than this checkout's, or says otherwise.

    Raises:
        ConformanceError: The record or the bounds of this checkout are missing or damaged.
    """
    stated = [made.check for made in evidence.checks if made.check.id == CHECK]
    if not stated:
        return
    record, day = read_record(), dt.datetime.fromisoformat(evidence.started).date()
    for name, sha256 in ((RECORD_DIGEST, record.sha256), (SUITE_DIGEST, bounds_sha256())):
        used = evidence.digests.get(name)
        if used is not None and used.sha256 != sha256:
            yield f"{name}: the run used another than this checkout has"
    models = {spec.name: spec for spec in specs}
    for check in stated:
        spec = models.get(str(check.coordinates.get("model")))
        bounds = bounds_in_force([spec] if spec else [])
        found = len(compare(bounds, record, evidence.waivers, day).loosened)
        if check.value != found:
            yield f"{check.label}: states {check.value}, the record of this checkout gives {found}"
