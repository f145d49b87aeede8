"""The verdict: what a gate makes of one run, or of several runs on one subject."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum

from conformance.check import Check, Direction, Status, holds, worst
from conformance.evidence.bundle import Decision, Evidence, MadeCheck
from conformance.evidence.gate import (
    CLASSES,
    Gates,
    Part,
    Requirement,
    Row,
    named_gate,
    required,
)
from conformance.spec import ModelSpec

RELEASE = "release"
UNKNOWN = "unknown"
RED = (Status.FAIL, Status.ERROR)
NOT_COMPLETE = 12

Made = tuple[Evidence, MadeCheck]


class Verdict(StrEnum):
    """What a gate says."""

    CONFORMANT = "CONFORMANT"
    NOT_CONFORMANT = "NOT CONFORMANT"
    INSUFFICIENT = "INSUFFICIENT EVIDENCE"

    @property
    def exit_status(self) -> int:
        """Exit status of a run with this verdict: 0, 10 or 11."""
        return {self.CONFORMANT: 0, self.NOT_CONFORMANT: 10}.get(self, 11)


def decide(
    runs: Sequence[Evidence], gates: Gates, gate: str, specs: Mapping[str, ModelSpec]
) -> Decision:
    """Decide what a gate makes of the evidence of one run, or of several on one subject.

    Args:
        runs: The evidence.
        gates: The gates.
        gate: Name of the gate that decides.
        specs: The spec of every released model.

    Raises:
        EvidenceError: The gate is unknown or requires nothing.
    """
    soc = next((run.board.soc_version for run in runs if run.board), "")
    demanded = required(gates, gate, specs, soc)
    made = _by_id(runs)
    failed = [f"FAIL: {check.label}" for check in _checks(runs) if check.status is Status.FAIL]
    lacking = [
        *(f"the run was interrupted: {run.interrupted}" for run in runs if run.interrupted),
        *(f"contradiction: {conflict}" for run in runs for conflict in run.conflicts),
        *_unmet(demanded, made),
        *_wrong_classes(demanded, made, runs, gates, gate),
        *_red_tests(runs),
    ]
    verdict = Verdict.CONFORMANT
    if lacking:
        verdict = Verdict.INSUFFICIENT
    if failed:
        verdict = Verdict.NOT_CONFORMANT
    return Decision(
        gate=gate,
        verdict=verdict.value,
        line=_line(verdict, gate, shown_classes(demanded, made, runs), gates),
        reasons=tuple(dict.fromkeys([*failed, *lacking, *_waived(runs)])),
        required=len(demanded),
        gates_sha256=gates.sha256,
    )


def _waived(runs: Iterable[Evidence]) -> Iterator[str]:
    """Yield what was let through by a waiver: a verdict with one always says so."""
    for run in runs:
        yield from (w.line for w in run.waivers if w.expires.isoformat() >= run.started[:10])


def _by_id(runs: Iterable[Evidence]) -> dict[str, list[Made]]:
    made: dict[str, list[Made]] = {}
    for run in runs:
        for entry in run.checks:
            made.setdefault(entry.check.id, []).append((run, entry))
    return made


def _checks(runs: Iterable[Evidence]) -> Iterator[Check]:
    return (entry.check for run in runs for entry in run.checks)


def _found(demand: Requirement, made: Mapping[str, list[Made]]) -> list[Made]:
    return [(run, entry) for run, entry in made.get(demand.id, []) if demand.is_about(entry.check)]


def _unmet(demanded: Iterable[Requirement], made: Mapping[str, list[Made]]) -> Iterator[str]:
    """Yield why requirements are not met, one line for each check and cause."""
    places: dict[str, list[str]] = {}
    for demand in demanded:
        found = [entry.check for _, entry in _found(demand, made)]
        if cause := _cause(demand, found):
            places.setdefault(f"{cause}: {demand.id}", []).append(f"[{demand.place}]")
    for what, where in places.items():
        yield f"{what} {', '.join(where)}"


def _cause(demand: Requirement, found: Sequence[Check]) -> str:
    """Return why a requirement is not met, empty if it is; the worst of repeated checks counts."""
    if not found:
        return "missing"
    if (status := worst(check.status for check in found)) is not Status.PASS:
        return status.value
    if not all(map(holds, found)):
        return "PASS against its own bound"
    return _wrong_bound(demand.row, found)


def _wrong_bound(row: Row, found: Sequence[Check]) -> str:
    """Return why checks were compared with something else than their row asks for."""
    if row.decides and any(check.direction is Direction.RECORDED for check in found):
        return "recorded without a bound"
    if row.must_be and any(check.direction != row.must_be for check in found):
        return f"compared in another way than {row.must_be}"
    if row.bound is not None and any(check.bound != row.bound for check in found):
        return f"compared with another bound than {row.bound}"
    return ""


def _wrong_classes(
    demanded: Sequence[Requirement],
    made: Mapping[str, list[Made]],
    runs: Sequence[Evidence],
    gates: Gates,
    gate: str,
) -> Iterator[str]:
    """Yield each class that the gate does not accept, and how many checks rest on it."""
    accepts = named_gate(gates, gate).accepts
    counts: dict[tuple[Part, str], int] = {}
    for part, classes in _rested_on(demanded, made):
        for found in classes - set(getattr(accepts, part)):
            counts[part, found] = counts.get((part, found), 0) + 1
    for (part, found), count in counts.items():
        yield f"wrong class: {part}={found} under {count} required checks"
    needed = {part for demand in demanded for part in demand.row.rests_on}
    for part, shown in shown_classes(demanded, made, runs).items():
        if part in needed and shown not in getattr(accepts, part) and (part, shown) not in counts:
            yield f"wrong class: {part}={shown}"


def _rested_on(
    demanded: Iterable[Requirement], made: Mapping[str, list[Made]]
) -> Iterator[tuple[Part, set[str]]]:
    """Yield, for each required check that was made, the classes of what it rests on."""
    for demand in demanded:
        for run, entry in _found(demand, made):
            for part in demand.row.rests_on:
                yield part, _classes(run, entry.check, part)


def _classes(run: Evidence, check: Check, part: Part) -> set[str]:
    """Return every class that check and run state of a part; a well-made run states one."""
    model = str(check.coordinates.get("model", ""))
    stated = _stated([run], part, (model,))
    return stated | {check.classes[part]} if part in check.classes else stated or {UNKNOWN}


def _stated(runs: Iterable[Evidence], part: Part, models: Iterable[str]) -> set[str]:
    return {
        found.value
        for run in runs
        for found in run.classes
        if found.part == part and found.model in {"", *models}
    }


def shown_classes(
    demanded: Sequence[Requirement], made: Mapping[str, list[Made]], runs: Sequence[Evidence]
) -> dict[Part, str]:
    """Return the class of each part: the one that proves least, of those the checks rest on."""
    rested: dict[Part, set[str]] = {part: set() for part in CLASSES}
    for part, classes in _rested_on(demanded, made):
        rested[part] |= classes
    models = {str(demand.coordinates["model"]) for demand in demanded}
    return {
        part: least_class(part, rested[part] or _stated(runs, part, models)) for part in CLASSES
    }


def least_class(part: Part, classes: Iterable[str]) -> str:
    """Return the class that proves least; ``none`` if there is no class."""
    order = CLASSES[part]
    rank = {name: place for place, name in enumerate(order)}
    return max(classes, key=lambda name: rank.get(name, len(order)), default="none")


def _line(verdict: Verdict, gate: str, classes: Mapping[Part, str], gates: Gates) -> str:
    shown = " ".join(f"{part}={name}" for part, name in classes.items())
    line = f"{verdict} {gate} [{shown}]"
    release = gates.gates.get(RELEASE)
    accepted = release and all(
        name in getattr(release.accepts, part) for part, name in classes.items()
    )
    return line if gate == RELEASE and accepted else f"{line} NOT RELEASE EVIDENCE"


def _red_tests(runs: Iterable[Evidence]) -> Iterator[str]:
    """Yield tests that ended badly without a check that says so, such as in a crashed worker."""
    for run in runs:
        told = {entry.test for entry in run.checks if entry.check.status in RED}
        for test in run.tests:
            if test.status in RED and test.test not in told:
                yield f"{test.status}: {test.test}"
