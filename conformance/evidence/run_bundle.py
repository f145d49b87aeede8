"""The end of a run: its records and facts become a bundle, sealed by a statement."""

from __future__ import annotations

import contextlib
import hashlib
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from conformance.errors import EvidenceError
from conformance.evidence.bundle import (
    JUNIT_FILE,
    PREDICTIONS_FILE,
    Accepted,
    Coordinates,
    Evidence,
    MadeCheck,
    Outcome,
    PredictionSet,
    Waiver,
)
from conformance.evidence.bundle_files import inside, write_evidence, write_whole
from conformance.evidence.facts import gather, record_predictions
from conformance.evidence.flip_ledger import REFERENCE, make_ledger, write_ledger
from conformance.evidence.junit import junit_xml
from conformance.evidence.prediction_file import (
    Predictions,
    read_predictions,
    write_predictions,
)
from conformance.evidence.record import CheckRecord, OutcomeRecord, Record
from conformance.evidence.scrub import this_machine, without_names
from conformance.evidence.statement import write_statement
from conformance.evidence.tidy import tidy
from conformance.metrics.best import DEPTH, REFERENCE_DEPTH, best_classes
from conformance.run_folder import WORK
from conformance.spec import ModelSpec

PARTS = f"{WORK}/predictions"
# Packages whose versions may change a number.
PACKAGES: tuple[str, ...] = (
    "numpy",
    "pillow",
    "torch",
    "torchvision",
    "onnx",
    "onnxruntime",
    "scipy",
)
PACKAGES += ("pytest", "pytest-xdist", "ascend-conformance")


@dataclass(frozen=True)
class RunFacts:
    """What whoever started the run knows of it.

    Attributes:
        run: Its name.
        started: Start in UTC, ISO 8601.
        ended: End.
        command: The command line, word by word.
        models: The specs of its models.
        interrupted: Why it did not come to its end; empty if it did.
        waivers: Waivers in force.
        baseline: The accepted figures that it was compared with.
    """

    run: str
    started: str
    ended: str
    command: Sequence[str]
    models: Sequence[ModelSpec]
    interrupted: str = ""
    waivers: tuple[Waiver, ...] = ()
    baseline: tuple[Accepted, ...] = ()


def add_predictions(
    folder: Path,
    name: str,
    engine: str,
    *,
    coordinates: Coordinates,
    names: Sequence[str],
    labels: npt.NDArray[np.integer[Any]],
    scores: npt.NDArray[np.floating[Any]],
) -> PredictionSet:
    """Keep what one engine said of every image, for ``predictions.npz``.

    Args:
        folder: The run's folder.
        name: Name of the set, unique in the run, such as ``om bs16``.
        engine: ``torch``, ``onnxruntime`` or ``om``.
        coordinates: Model, batch and the like, as in the checks made from these predictions.
        names: The images, each once.
        labels: Class of each image, (images,).
        scores: Finite scores, (images, classes).

    Raises:
        EvidenceError: The file cannot be written.
    """
    best = best_classes(scores, REFERENCE_DEPTH if engine == REFERENCE else DEPTH)
    kept = Predictions(without_names(names), labels.astype(np.int32), {name: best})
    found = PredictionSet(
        name=name,
        engine=engine,
        coordinates=coordinates,
        images=len(names),
        hits=kept.hits(name),
    )
    file = f"{PARTS}/{hashlib.sha256(name.encode()).hexdigest()[:16]}.npz"
    write_predictions(folder / file, kept)
    record_predictions(folder, found, file)
    return found


def assemble(folder: Path, facts: RunFacts, records: Sequence[Record]) -> Evidence:
    """Gather the records of a run and the facts that its workers learned; writes nothing.

    Raises:
        EvidenceError: The file of facts is damaged.
    """
    learned = gather(folder)
    outcomes = [record for record in records if isinstance(record, OutcomeRecord)]
    seconds = {record.test: record.seconds for record in outcomes}
    return Evidence(
        run=facts.run,
        started=facts.started,
        ended=facts.ended,
        interrupted=facts.interrupted,
        command=tuple(this_machine().record(list(facts.command))),
        specs={spec.name: spec.sha256 for spec in facts.models},
        classes=tuple(learned.classes.values()),
        digests=learned.digests,
        versions=_versions() | learned.versions,
        board=learned.board,
        checks=tuple(
            MadeCheck(test=record.test, seconds=seconds.get(record.test, 0.0), check=record.check)
            for record in records
            if isinstance(record, CheckRecord)
        ),
        tests=tuple(msgspec.convert(record, Outcome, from_attributes=True) for record in outcomes),
        predictions=tuple(kept.found for kept in learned.predictions.values()),
        waivers=facts.waivers,
        baseline=facts.baseline,
        conflicts=tuple(learned.conflicts),
    )


def seal(folder: Path, evidence: Evidence, add: Callable[[Path], object] = lambda _: None) -> None:
    """Tidy the run's folder and write the bundle's last files, with the statement as the very last.

    What else belongs to the bundle must be there before: the statement names every file.

    Args:
        folder: The run's folder.
        evidence: What the run found.
        add: Adds what is made from the evidence, such as the report.

    Raises:
        EvidenceError: A file cannot be written, predictions are of different images, or some that
            the evidence names are not there.
    """
    try:
        predictions = _join_predictions(folder)
    finally:
        tidy(folder)
    write_whole(folder / JUNIT_FILE, junit_xml(evidence))
    write_evidence(folder, evidence)
    if predictions or evidence.predictions:
        bounds = tuple(gather(folder).bounds.values())
        write_ledger(folder, make_ledger(predictions, evidence.predictions, bounds))
    add(folder)
    write_statement(folder, evidence)


def _join_predictions(folder: Path) -> Predictions | None:
    """Make one file of the predictions that the workers left; all must be of the same images."""
    kept = gather(folder).predictions
    if not kept:
        return None
    parts = [read_predictions(inside(folder, fact.file)) for fact in kept.values()]
    first = parts[0]
    if others := [part for part in parts if part.list_sha256 != first.list_sha256]:
        raise EvidenceError(
            "predictions of one run are of different images or labels",
            got=f"{len(first.names)} and {len(others[0].names)} images",
            expected="the same images in the same order",
            next_step="give every engine the whole dataset of the run",
        )
    sets = {name: best for part in parts for name, best in part.sets.items()}
    joined = Predictions(first.names, first.labels, sets)
    write_predictions(folder / PREDICTIONS_FILE, joined)
    return joined


def _versions() -> dict[str, str]:
    """Return the versions of Python, the machine's architecture, and every package installed."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
