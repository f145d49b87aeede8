"""Joining runs on one subject: host claims from a build machine, board claims from a board."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from conformance.errors import EvidenceError
from conformance.evidence.bundle import Evidence
from conformance.evidence.gate import Gates

# What must be in every run and the same: without it nothing says that the subject is one.
SUBJECT = ("weights", "onnx_model")
# Versions that must agree among the runs that have them.
SHARED_VERSIONS = ("cann", "driver", "firmware", "ascend-conformance")


def demand_one_subject(runs: Sequence[Evidence], gates: Gates) -> None:
    """Refuse to join runs unless they are on one subject.

    Raises:
        EvidenceError: Runs differ in weights, ONNX model, spec, SoC, CANN or driver, one lacks the
            digest of what it is about, or a run is given twice.
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
        expected="runs on the same weights, ONNX model, spec, SoC, CANN and driver",
        next_step="join runs on one subject, each once, or run again",
    )
