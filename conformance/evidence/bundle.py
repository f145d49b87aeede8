"""``evidence.json``: everything that one run found, in one versioned schema."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

import msgspec

from conformance.check import Check, Status

SCHEMA_VERSION = 1
SCHEMA_ID = "ascend-conformance/evidence"
EVIDENCE_FILE = "evidence.json"
PREDICTIONS_FILE = "predictions.npz"
FLIPS_FILE = "flips.json"
JUNIT_FILE = "junit.xml"
STATEMENT_FILE = "statement.json"
REPORT_FILE = "report.html"

Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, msgspec.Meta(min_length=1)]
# What somebody wrote who answers for it: it says something, so blanks and dots alone are none.
Statement = Annotated[str, msgspec.Meta(pattern=r"\w")]
Coordinates = dict[str, str | int]


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of the evidence: what is not in the schema is refused."""


class EvidenceClass(_Part, frozen=True):
    """Class of the weights, the images or the board, and the facts it was derived from.

    Attributes:
        part: ``weights``, ``images`` or ``board``.
        value: The class, such as ``published``.
        model: The model it belongs to; empty where it belongs to all.
        facts: What the class was derived from, such as the digests of the weights.
    """

    part: Text
    value: Text
    model: str = ""
    facts: dict[str, str] = {}


class Digest(_Part, frozen=True):
    """A file or a list that the run used; it need not be in the bundle.

    Attributes:
        kind: ``weights``, ``onnx_model``, ``om_model``, ``dataset``, ``dumps``, ``performance``,
            ``bounds``.
        sha256: Its digest, in hexadecimal.
        model: The model it belongs to; empty where it belongs to all.
    """

    kind: Text
    sha256: Sha256
    model: str = ""


class Board(_Part, frozen=True):
    """The board that the run used; files are names inside the bundle, empty where there are none.

    Attributes:
        soc_version: Such as ``Ascend310``.
        chips: The chips used, each by its NPU and chip id.
        npu_smi_before: What npu-smi printed before the run.
        npu_smi_after: What it printed after the run.
    """

    soc_version: Text
    chips: tuple[str, ...] = ()
    npu_smi_before: str = ""
    npu_smi_after: str = ""


class MadeCheck(_Part, frozen=True):
    """A check, the test that made it and how long that test took, in seconds."""

    test: Text
    seconds: float
    check: Check


class Outcome(_Part, frozen=True):
    """What became of one test."""

    test: Text
    status: Status
    seconds: float
    message: str = ""


class PredictionSet(_Part, frozen=True):
    """What one engine said of every image; the classes and scores are in ``predictions.npz``.

    Attributes:
        name: Prefix of its arrays there.
        engine: ``torch``, ``onnxruntime`` or ``om``.
        coordinates: Model, batch and the like.
        images: Number of images.
        hits: Images whose label is among the N best classes, for N from 1 to 5.
    """

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._=-]*$")]
    engine: Text
    coordinates: Coordinates
    images: Annotated[int, msgspec.Meta(ge=1)]
    hits: tuple[int, ...]


class DecisionBound(_Part, frozen=True):
    """Up to which distance of two classes an engine may choose the other one.

    Attributes:
        model: The model.
        engine: ``onnxruntime`` or ``om``.
        explained_gap: That distance, in the reference's scores.
        source: Where it comes from.
    """

    model: Text
    engine: Text
    explained_gap: Annotated[float, msgspec.Meta(ge=0)]
    source: Text


class Decision(_Part, frozen=True):
    """What a gate made of the run.

    Attributes:
        gate: The gate's name.
        verdict: ``CONFORMANT``, ``NOT CONFORMANT`` or ``INSUFFICIENT EVIDENCE``.
        line: The verdict with its classes, as it is printed.
        reasons: Why it is not conformant, each in one line, and every waiver that it rests on.
        required: How many checks, each at its coordinates, the gate requires.
        gates_sha256: Digest of the gates file that was used.
    """

    gate: Text
    verdict: Text
    line: Text
    reasons: tuple[str, ...]
    required: int
    gates_sha256: Sha256


class Waiver(_Part, frozen=True):
    """Leave for a lower figure or a looser bound: why, who answers for it, and its last day."""

    id: Text
    reason: Statement
    owner: Statement
    expires: dt.date
    coordinates: Coordinates = {}

    @property
    def line(self) -> str:
        """What it allows, until when, why, and who answers for it."""
        return f"waived until {self.expires}: {self.id}, {self.reason} ({self.owner})"


class Accepted(_Part, frozen=True):
    """A figure of the baseline that the run was compared with.

    Attributes:
        id: The check.
        coordinates: Its place.
        value: The figure.
        spread_pct: Spread of a round in percent of it.
        accepted: When it was accepted.
        run: The run that it comes from.
    """

    id: Text
    coordinates: Coordinates
    value: float
    spread_pct: float
    accepted: dt.date
    run: Text


class Evidence(_Part, frozen=True, kw_only=True):
    """Everything that one run found.

    Attributes:
        schema: Which schema this is.
        schema_version: Its version.
        run: The run's name, unique.
        started: Start of the run in UTC, ISO 8601.
        ended: Its end.
        interrupted: Why the run did not come to its end; empty if it did.
        command: The command line, word by word.
        specs: The sha256 of each model's spec, by model.
        classes: Classes of weights, images and board, with the facts they were derived from.
        digests: Everything that was used, by name.
        versions: Of Python, packages, CANN, driver, firmware.
        board: The board, if one was used.
        checks: Every check, in the order in which they arrived.
        tests: Every test.
        predictions: What is in ``predictions.npz``.
        waivers: Waivers of looser bounds, and those with which this board's baselines were
            accepted.
        baseline: The accepted figures that the run was compared with; none without a baseline.
        conflicts: What contradicts itself within the run, such as two digests of one file.
        decision: The gate's verdict, if the run had a gate.
    """

    schema: Text = SCHEMA_ID
    schema_version: int = SCHEMA_VERSION
    run: Text
    started: Text
    ended: Text
    interrupted: str = ""
    command: tuple[str, ...] = ()
    specs: dict[str, Sha256] = {}
    classes: tuple[EvidenceClass, ...] = ()
    digests: dict[str, Digest] = {}
    versions: dict[str, str] = {}
    board: Board | None = None
    checks: tuple[MadeCheck, ...] = ()
    tests: tuple[Outcome, ...] = ()
    predictions: tuple[PredictionSet, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    baseline: tuple[Accepted, ...] = ()
    conflicts: tuple[str, ...] = ()
    decision: Decision | None = None


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of ``evidence.json``."""
    schema = msgspec.json.schema(Evidence)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"{SCHEMA_ID}/{SCHEMA_VERSION}",
        "title": "Evidence of one run of the conformance suite",
        **schema,
    }
