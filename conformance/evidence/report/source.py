"""What a report is made of: the files of one bundle, each read believing nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from conformance.errors import ConformanceError, EvidenceError
from conformance.evidence.bundle import (
    EVIDENCE_FILE,
    FLIPS_FILE,
    PREDICTIONS_FILE,
    DecisionBound,
    Evidence,
    MadeCheck,
    Outcome,
)
from conformance.evidence.bundle_files import demand_small, inside, read_evidence, read_limited
from conformance.evidence.facts import FACTS_FILE, gather
from conformance.evidence.flip_ledger import FlipLedger, read_ledger
from conformance.evidence.prediction_file import Predictions, read_predictions
from conformance.evidence.record import (
    ARTIFACTS_FILE,
    CHECKS_FILE,
    ArtifactRecord,
    CheckRecord,
    OutcomeRecord,
    read,
    read_artifacts,
)
from conformance.spec import ModelSpec, load_spec, model_names

MAX_RECORDS = 64 * 1024 * 1024
MAX_LOG = 256 * 1024
KILLED = "it was killed: there is no evidence.json, only the records that it had made"


@dataclass(frozen=True)
class Source:
    """One bundle, read.

    Attributes:
        evidence: What the run found.
        predictions: What every engine said of every image; None if there are none.
        flips: The changed decisions of every engine; None if there is no ledger.
        bounds: What the number format of each engine explains.
        specs: The specs of the run's models, as far as this checkout has the very same ones.
        artifacts: What was built, and how long that took.
        texts: What npu-smi printed, by title.
        missing: What could not be read, each in one sentence.
    """

    evidence: Evidence
    predictions: Predictions | None = None
    flips: FlipLedger | None = None
    bounds: tuple[DecisionBound, ...] = ()
    specs: dict[str, ModelSpec] = field(default_factory=dict)
    artifacts: tuple[ArtifactRecord, ...] = ()
    texts: dict[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    @property
    def models(self) -> tuple[str, ...]:
        """The models of the run."""
        named = {str(made.check.coordinates.get("model", "")) for made in self.evidence.checks}
        return tuple(sorted(set(self.evidence.specs) | (named - {""})))

    def class_of(self, part: str, model: str = "") -> str:
        """Return the class of weights, images or board; ``none`` if nothing states one."""
        stated = {found.model: found.value for found in self.evidence.classes if found.part == part}
        if found := stated.get(model) or stated.get("") or next(iter(stated.values()), ""):
            return found
        rested = (made.check.classes.get(part, "") for made in self.evidence.checks)
        return next(filter(None, rested), "none")


def read_source(folder: Path) -> Source:
    """Read a bundle; what is damaged beside ``evidence.json`` is said and left out.

    Raises:
        EvidenceError: There is neither evidence nor a record of a check, or it is damaged.
    """
    evidence = _evidence(folder)
    missing: list[str] = []
    return Source(
        evidence=evidence,
        predictions=_predictions(folder, evidence, missing),
        flips=_flips(folder, evidence, missing),
        bounds=_bounds(folder, missing),
        specs=_specs(evidence, missing),
        artifacts=_artifacts(folder, missing),
        texts=_texts(folder, evidence, missing),
        missing=tuple(missing),
    )


def _evidence(folder: Path) -> Evidence:
    if (folder / EVIDENCE_FILE).exists() or not (folder / CHECKS_FILE).exists():
        return read_evidence(folder)
    try:
        return _killed(folder)
    except (msgspec.MsgspecError, OSError) as error:
        raise EvidenceError(
            "the records of the run cannot be read",
            got=error,
            where={"file": folder / CHECKS_FILE},
            next_step="copy the bundle again, or run again",
        ) from None


def _killed(folder: Path) -> Evidence:
    """Return what a killed run leaves behind: its checks and facts, and no verdict."""
    read_limited(folder / CHECKS_FILE, MAX_RECORDS)
    records, facts = read(folder), gather(folder)
    return Evidence(
        run=folder.resolve().name,
        started="not stated",
        ended="not stated",
        interrupted=KILLED,
        classes=tuple(facts.classes.values()),
        digests=facts.digests,
        versions=facts.versions,
        board=facts.board,
        checks=tuple(
            MadeCheck(test=record.test, seconds=0.0, check=record.check)
            for record in records
            if isinstance(record, CheckRecord)
        ),
        tests=tuple(
            msgspec.convert(record, Outcome, from_attributes=True)
            for record in records
            if isinstance(record, OutcomeRecord)
        ),
        conflicts=tuple(facts.conflicts),
    )


def _predictions(folder: Path, evidence: Evidence, missing: list[str]) -> Predictions | None:
    path = folder / PREDICTIONS_FILE
    if not path.exists():
        if evidence.predictions:
            missing.append(f"{PREDICTIONS_FILE} is not in the bundle, though the evidence names it")
        return None
    try:
        return read_predictions(path)
    except EvidenceError as error:
        missing.append(f"{PREDICTIONS_FILE} cannot be read: {error.got}")
        return None


def _flips(folder: Path, evidence: Evidence, missing: list[str]) -> FlipLedger | None:
    if not (folder / FLIPS_FILE).exists():
        if evidence.predictions:
            missing.append(f"{FLIPS_FILE} is not in the bundle, though there are predictions")
        return None
    try:
        return read_ledger(folder)
    except EvidenceError as error:
        missing.append(f"{FLIPS_FILE} cannot be read: {error.got}")
        return None


def _bounds(folder: Path, missing: list[str]) -> tuple[DecisionBound, ...]:
    try:
        demand_small(folder / FACTS_FILE, MAX_RECORDS)
        return tuple(gather(folder).bounds.values())
    except (ConformanceError, OSError) as error:
        missing.append(f"{FACTS_FILE} cannot be read: {error}")
        return ()


def _specs(evidence: Evidence, missing: list[str]) -> dict[str, ModelSpec]:
    found = {}
    for model, digest in evidence.specs.items():
        spec = load_spec(model) if model in model_names() else None
        if spec is not None and spec.sha256 == digest:
            found[model] = spec
        else:
            missing.append(
                f"published figures of {model} are left out: this checkout has another spec of it "
                "than the run had"
            )
    return found


def _artifacts(folder: Path, missing: list[str]) -> tuple[ArtifactRecord, ...]:
    path = folder / ARTIFACTS_FILE
    if not path.exists():
        return ()
    try:
        read_limited(path, MAX_RECORDS)
        return tuple(read_artifacts(folder))
    except (ConformanceError, msgspec.MsgspecError) as error:
        missing.append(f"{ARTIFACTS_FILE} cannot be read: {error}")
        return ()


def _texts(folder: Path, evidence: Evidence, missing: list[str]) -> dict[str, str]:
    board, found = evidence.board, {}
    named = {"before": board.npu_smi_before, "after": board.npu_smi_after} if board else {}
    for when, name in named.items():
        if not name:
            missing.append(f"what npu-smi printed {when} the run is not in the bundle")
            continue
        try:
            content = read_limited(inside(folder, name), MAX_LOG)
        except EvidenceError as error:
            missing.append(f"what npu-smi printed {when} the run cannot be read: {error.what}")
            continue
        found[f"npu-smi {when} the run"] = content.decode(errors="replace")
    return found
