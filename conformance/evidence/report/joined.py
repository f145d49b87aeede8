"""Several runs on one subject as one report: claims about the host, and those about the board."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from conformance.evidence.bundle import (
    Decision,
    DecisionBound,
    Evidence,
    EvidenceClass,
    MadeCheck,
    PredictionSet,
)
from conformance.evidence.flip_ledger import FlipLedger, make_ledger
from conformance.evidence.gate import CLASSES
from conformance.evidence.joint_accuracy import joint_accuracy, made_jointly
from conformance.evidence.prediction_file import Predictions
from conformance.evidence.report.source import Source
from conformance.evidence.verdict import least_class
from conformance.spec import ModelSpec

AND = " and "


def joined(sources: Sequence[Source], decision: Decision) -> Source:
    """Return what a report shows of several runs as one.

    Args:
        sources: The runs, at least one; that they are on one subject is known.
        decision: What a gate makes of all of them.
    """
    kept = _comparable(sources)
    specs = {model: spec for source in sources for model, spec in source.specs.items()}
    checks = _joint(sources, specs)
    left = [s.evidence.run for s in sources if all(s is not each for each in kept)]
    evidence = _evidence(
        [s.evidence for s in sources], [s.evidence for s in kept], checks, decision
    )
    predictions, bounds = _predictions(kept), tuple(_bounds(kept))
    return Source(
        evidence=evidence,
        predictions=predictions,
        flips=_flips(predictions, evidence, bounds),
        bounds=bounds,
        specs=specs,
        artifacts=tuple(record for source in sources for record in source.artifacts),
        texts={
            f"{title}, {source.evidence.run}": text
            for source in sources
            for title, text in source.texts.items()
        },
        missing=(
            *(f"{s.evidence.run}: {what}" for s in sources for what in s.missing),
            *(f"predictions of {run} are left out: they are of other images" for run in left),
        ),
    )


def _joint(sources: Sequence[Source], specs: Mapping[str, ModelSpec]) -> tuple[MadeCheck, ...]:
    """Return what holds of all runs together, of the models whose specs are those of the runs."""
    if any(model not in specs for source in sources for model in source.evidence.specs):
        return ()
    return made_jointly(joint_accuracy([(s.evidence, s.predictions) for s in sources], specs))


def _comparable(sources: Sequence[Source]) -> list[Source]:
    """Return the runs whose predictions can stand side by side: those of the last one's images."""
    held = [source for source in sources if source.predictions]
    if not held or held[-1].predictions is None:
        return list(sources)
    wanted = held[-1].predictions.list_sha256
    return [s for s in sources if s.predictions is None or s.predictions.list_sha256 == wanted]


def _predictions(sources: Sequence[Source]) -> Predictions | None:
    held = [source.predictions for source in sources if source.predictions]
    if not held:
        return None
    sets = {name: best for predictions in held for name, best in predictions.sets.items()}
    return Predictions(held[-1].names, held[-1].labels, sets)


def _bounds(sources: Sequence[Source]) -> Iterator[DecisionBound]:
    """Yield the bound of each engine once; of two the narrower."""
    every = sorted((b for s in sources for b in s.bounds), key=lambda b: -b.explained_gap)
    yield from {(bound.model, bound.engine): bound for bound in every}.values()


def _flips(
    predictions: Predictions | None, evidence: Evidence, bounds: Sequence[DecisionBound]
) -> FlipLedger | None:
    """Compare the decisions of all runs; None where a run's predictions could not be read."""
    held = set(predictions.sets) if predictions else set()
    if not held or held != {found.name for found in evidence.predictions}:
        return None
    return make_ledger(predictions, evidence.predictions, bounds)


def _evidence(
    runs: Sequence[Evidence],
    counted: Sequence[Evidence],
    joint: Sequence[MadeCheck],
    decision: Decision,
) -> Evidence:
    last = runs[-1]
    return msgspec.structs.replace(
        next((run for run in reversed(runs) if run.board), last),
        run=AND.join(run.run for run in runs),
        started=min(run.started for run in runs),
        ended=max(run.ended for run in runs),
        interrupted=AND.join(f"{run.run}: {run.interrupted}" for run in runs if run.interrupted),
        command=tuple(itertools.chain(*((*run.command, AND.strip()) for run in runs)))[:-1],
        specs={model: digest for run in runs for model, digest in run.specs.items()},
        classes=tuple(_classes(runs)),
        digests={name: digest for run in runs for name, digest in run.digests.items()},
        versions={name: version for run in runs for name, version in run.versions.items()},
        checks=(*(made for run in runs for made in run.checks), *joint),
        tests=tuple(test for run in runs for test in run.tests),
        predictions=tuple(_sets(counted)),
        waivers=tuple({repr(waiver): waiver for run in runs for waiver in run.waivers}.values()),
        baseline=tuple({repr(kept): kept for run in runs for kept in run.baseline}.values()),
        conflicts=tuple(f"{run.run}: {conflict}" for run in runs for conflict in run.conflicts),
        decision=decision,
    )


def _classes(runs: Sequence[Evidence]) -> Iterator[EvidenceClass]:
    """Yield one class for each part: the one that proves least, of the runs that used the part."""
    stated = [found for run in runs for found in run.classes]
    for part in CLASSES:
        for model in dict.fromkeys(found.model for found in stated if found.part == part):
            same = [found for found in stated if (found.part, found.model) == (part, model)]
            used = [found for found in same if found.value != "none"] or same
            least = least_class(part, (found.value for found in used))
            yield next(found for found in used if found.value == least)


def _sets(runs: Sequence[Evidence]) -> Iterator[PredictionSet]:
    """Yield each set of predictions once; of one name the last, as its scores are."""
    yield from {found.name: found for run in runs for found in run.predictions}.values()
