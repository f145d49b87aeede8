"""Joining runs on one subject: host claims from a build machine, board claims from a board."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from conformance.errors import EvidenceError
from conformance.evidence.bundle import Evidence
from conformance.evidence.gate import Gates
from conformance.evidence.om_digests import Om, checks_of_om, converted_digests, om_digests

# What must be in every run and the same: without it nothing says that the subject is one.
SUBJECT = ("weights", "onnx_model")
# Checks that are named of those that rest on one .om.
SHOWN = 4
# Versions that must agree among the runs that have them.
SHARED_VERSIONS = ("cann", "driver", "firmware", "ascend-conformance")


def demand_one_subject(runs: Sequence[Evidence], gates: Gates) -> None:
    """Refuse to join runs unless they are on one subject.

    Raises:
        EvidenceError: Runs differ in weights, ONNX model, spec, SoC, CANN, driver or in an ``.om``
            on which checks rest, one lacks the digest of what it is about, or a run is given twice.
    """
    if len({run.run for run in runs}) != len(runs):
        raise _refused("a run is given twice", [run.run for run in runs])
    for model, kind in itertools.product(gates.models, SUBJECT):
        digests = {run.run: _digest(run, model, kind) for run in runs}
        if "" in digests.values():
            raise _refused(f"a run lacks the digest of its {kind} of {model}", digests)
        _demand_equal(f"{kind} of {model}", digests)
    for model in gates.models:
        _demand_equal(f"spec of {model}", {run.run: run.specs.get(model, "") for run in runs})
    _demand_equal("SoC", {run.run: run.board.soc_version for run in runs if run.board})
    for name in SHARED_VERSIONS:
        having = {run.run: run.versions[name] for run in runs if name in run.versions}
        _demand_equal(f"version of {name}", having)
    _demand_one_om(runs, gates)


def _demand_one_om(runs: Sequence[Evidence], gates: Gates) -> None:
    """Refuse runs whose checks rest on other files of one ``.om``; a run that has none joins."""
    held = {run.run: converted_digests(run) | om_digests(run) for run in runs}
    for om in dict.fromkeys(om for digests in held.values() for om in digests):
        found = {name: digests[om] for name, digests in held.items() if om in digests}
        if len(set(found.values())) > 1:
            resting = {run.run: _resting(run, om, gates) for run in runs}
            got = {name: f"{sha256} under {resting[name]}" for name, sha256 in found.items()}
            raise _refused(f"the runs are on different subjects: om {om[1]} of {om[0]}", got)


def _resting(run: Evidence, om: Om, gates: Gates) -> str:
    """Name the checks of a run that rest on one ``.om``, as the gates declare it."""
    ids = list(dict.fromkeys(check.id for of, check in checks_of_om(run, gates) if of == om))
    more = [f"{len(ids) - SHOWN} more"] if len(ids) > SHOWN else []
    return ", ".join([*ids[:SHOWN], *more]) or "no check"


def _digest(run: Evidence, model: str, kind: str) -> str:
    found = [d.sha256 for d in run.digests.values() if (d.kind, d.model) == (kind, model)]
    return found[0] if len(found) == 1 else ""


def _demand_equal(what: str, found: dict[str, str]) -> None:
    if len(set(found.values())) > 1:
        raise _refused(f"the runs are on different subjects: {what}", found)


def _refused(what: str, got: dict[str, str] | Iterable[str]) -> EvidenceError:
    named = got.items() if isinstance(got, dict) else ((run, "") for run in got)
    return EvidenceError(
        what,
        got="; ".join(f"{run} {value}".strip() for run, value in named),
        expected="runs on the same weights, ONNX model, spec, SoC, CANN, driver and .om",
        next_step="join runs on one subject, each once, or run again",
    )
