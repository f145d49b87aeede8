"""Facts of one run beside its checks: classes, digests, versions, the board, predictions.

Every worker appends them as it learns them, one line each; whoever ends the run gathers them. Two
workers that learn the same thing must agree, and where they do not, the contradiction is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

from conformance.errors import EvidenceError
from conformance.evidence.bundle import (
    Board,
    DecisionBound,
    Digest,
    EvidenceClass,
    PredictionSet,
)
from conformance.evidence.bundle_files import inside, write_whole
from conformance.evidence.record import append_lines, lines
from conformance.evidence.scrub import this_machine
from conformance.run_folder import BOARD

FACTS_FILE = "facts.jsonl"
Key = TypeVar("Key")
Value = TypeVar("Value")


class _Fact(
    msgspec.Struct, frozen=True, tag_field="fact", kw_only=True, forbid_unknown_fields=True
):
    """One line of the facts: what is not in the schema is refused."""


class ClassFact(_Fact, frozen=True, tag="class"):
    """Class of the weights, the images or the board."""

    found: EvidenceClass


class DigestFact(_Fact, frozen=True, tag="digest"):
    """Digest of something that the run used."""

    name: str
    digest: Digest


class VersionFact(_Fact, frozen=True, tag="version"):
    """Version of something that the run used."""

    name: str
    version: str


class BoardFact(_Fact, frozen=True, tag="board"):
    """The board that the run used."""

    board: Board


class PredictionFact(_Fact, frozen=True, tag="predictions"):
    """Predictions of one engine, and the file in the bundle that holds them until the end."""

    found: PredictionSet
    file: str


class BoundFact(_Fact, frozen=True, tag="bound"):
    """What the number format of an engine explains."""

    bound: DecisionBound


Fact = ClassFact | DigestFact | VersionFact | BoardFact | PredictionFact | BoundFact


@dataclass
class Facts:
    """Everything that the workers of one run learned, and where they contradict each other."""

    classes: dict[tuple[str, str], EvidenceClass] = field(default_factory=dict)
    digests: dict[str, Digest] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    board: Board | None = None
    predictions: dict[str, PredictionFact] = field(default_factory=dict)
    bounds: dict[tuple[str, str], DecisionBound] = field(default_factory=dict)
    conflicts: list[str] = field(default_factory=list)


def record_class(
    folder: Path, part: str, value: str, facts: Mapping[str, str], model: str = ""
) -> None:
    """Record the class of the weights, the images or the board of a run.

    Args:
        folder: The run's folder.
        part: ``weights``, ``images`` or ``board``.
        value: The class.
        facts: What it was derived from. Weights: ``sha256``, ``md5``, ``origin``. Images:
            ``count``, ``list_sha256``. Board: ``device_nodes``, ``driver``, ``marked`` (what
            carries the emulator's mark).
        model: The model it belongs to; empty where it belongs to all.
    """
    found = EvidenceClass(part=part, value=value, model=model, facts=dict(facts))
    _append(folder, ClassFact(found=found))


def record_digest(folder: Path, name: str, kind: str, sha256: str, model: str = "") -> None:
    """Record the digest of something that a run used, under a name unique in the run.

    Kinds: ``weights``, ``onnx_model``, ``om_model``, ``dataset``, ``dumps``, ``performance``.
    """
    _append(folder, DigestFact(name=name, digest=Digest(kind=kind, sha256=sha256, model=model)))


def record_version(folder: Path, name: str, version: str) -> None:
    """Record a version: of a package, or of ``cann``, ``driver``, ``firmware``."""
    _append(folder, VersionFact(name=name, version=version))


def record_board(
    folder: Path, soc_version: str, chips: Iterable[str], *, before: str = "", after: str = ""
) -> None:
    """Record the board of a run; ``before`` and ``after`` are what npu-smi printed.

    Call it before the first use of the board, and again after the last.
    """
    board = Board(
        soc_version=soc_version,
        chips=tuple(chips),
        npu_smi_before=attach(folder, f"{BOARD}/npu-smi-before.txt", before) if before else "",
        npu_smi_after=attach(folder, f"{BOARD}/npu-smi-after.txt", after) if after else "",
    )
    _append(folder, BoardFact(board=board))


def record_predictions(folder: Path, found: PredictionSet, file: str) -> None:
    """Record where the predictions of one engine lie until the run ends."""
    _append(folder, PredictionFact(found=found, file=file))


def record_decision_bound(
    folder: Path, model: str, engine: str, explained_gap: float, source: str
) -> None:
    """Record the distance of two classes up to which an engine may choose the other one.

    It is fixed before the engine's scores are seen; the flip ledger judges by it.
    """
    bound = DecisionBound(model=model, engine=engine, explained_gap=explained_gap, source=source)
    _append(folder, BoundFact(bound=bound))


def attach(folder: Path, name: str, text: str) -> str:
    """Put a text into the bundle without names of hosts, users and serial numbers.

    Args:
        folder: The run's folder.
        name: Its name in the bundle, such as ``logs/atc-bs16.txt``.
        text: What a tool printed.

    Returns:
        The name.

    Raises:
        EvidenceError: The name leaves the bundle, or the file cannot be written.
    """
    content = this_machine().text(text).encode("utf-8", errors="replace")
    write_whole(inside(folder, name), content)
    return name


def gather(folder: Path) -> Facts:
    """Return what the workers of a run learned.

    Raises:
        EvidenceError: The file of facts is damaged.
    """
    facts = Facts()
    for number, line in enumerate(lines(folder / FACTS_FILE), start=1):
        try:
            _add(facts, msgspec.json.decode(line, type=Fact))
        except msgspec.MsgspecError as error:
            raise EvidenceError(
                "a fact of the run cannot be read",
                got=error,
                where={"file": folder / FACTS_FILE, "line": number},
                next_step="run again",
            ) from None
    return facts


def _append(folder: Path, fact: Fact) -> None:
    append_lines(folder / FACTS_FILE, fact)


def _add(facts: Facts, fact: Fact) -> None:
    match fact:
        case ClassFact(found=found):
            key = (found.part, found.model)
            _agree(facts, facts.classes, key, found, f"class of {found.part} {found.model}")
        case DigestFact(name=name, digest=digest):
            _agree(facts, facts.digests, name, digest, f"digest of {name}")
        case VersionFact(name=name, version=version):
            _agree(facts, facts.versions, name, version, f"version of {name}")
        case PredictionFact(found=found):
            _agree(facts, facts.predictions, found.name, fact, f"predictions {found.name}")
        case BoundFact(bound=bound):
            key = (bound.model, bound.engine)
            _agree(facts, facts.bounds, key, bound, f"decision bound of {' '.join(key)}")
        case BoardFact(board=board):
            facts.board = _one_board(facts, board)


def _agree(facts: Facts, known: dict[Key, Value], key: Key, value: Value, what: str) -> None:
    if known.setdefault(key, value) != value:
        facts.conflicts.append(f"{what.strip()} changed during the run")


def _one_board(facts: Facts, board: Board) -> Board:
    """Join what was recorded before and after the run; another board is a contradiction."""
    known = facts.board or board
    if (known.soc_version, known.chips) != (board.soc_version, board.chips):
        facts.conflicts.append(f"the board changed: {known} and {board}")
    return Board(
        soc_version=known.soc_version,
        chips=known.chips,
        npu_smi_before=known.npu_smi_before or board.npu_smi_before,
        npu_smi_after=board.npu_smi_after or known.npu_smi_after,
    )
