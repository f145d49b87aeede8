"""Bundles for tests, made through the same functions that the suite's fixtures call."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import numpy as np

from conformance.bounds import bounds_sha256
from conformance.check import Check
from conformance.evidence.accepted_bounds import RECORD_DIGEST, SUITE_DIGEST, read_record
from conformance.evidence.bundle import EVIDENCE_FILE, Evidence
from conformance.evidence.bundle_files import read_evidence
from conformance.evidence.facts import (
    FACTS_FILE,
    BoardFact,
    BoundFact,
    PredictionFact,
    attach,
    gather,
    record_board,
    record_class,
    record_decision_bound,
    record_digest,
    record_version,
)
from conformance.evidence.gate import GATES_FILE, Gates, Requirement, read_gates, required
from conformance.evidence.record import (
    CHECKS_FILE,
    CheckRecord,
    OutcomeRecord,
    append,
    append_lines,
    read,
)
from conformance.evidence.run_bundle import RunFacts, add_predictions, assemble, seal
from conformance.evidence.statement import write_statement
from conformance.evidence.verdict import decide
from conformance.metrics.best import REFERENCE_DEPTH, Best, best_classes
from conformance.om_key import OmKey, om_keys
from conformance.spec import load_spec
from selftest.made_checks import FLOAT32_GAP, ONNX, Answers, good_check
from selftest.report_bundles import accepted, waiver

MODEL = "squeezenet1_1"
SPECS = {MODEL: load_spec(MODEL)}
WEIGHTS = "f364aa15" + "0" * 56
MD5 = "46a44d32d2c5c07f7f66324bef4c7266"
NPU_SMI = "| 0       310                   | OK              | 12.8         61    |\n"
Alter = Callable[[Check], Check | None]
RUNS = itertools.count(1)


def relaxed_gates(folder: Path) -> Path:
    """The project's gates, but for a release that accepts a subset: 50,000 images take long."""
    text = GATES_FILE.read_text("utf-8").replace('images = ["full"]', 'images = ["full", "subset"]')
    path = folder / "gates.toml"
    path.write_text(text, "utf-8")
    return path


def make_bundle(
    folder: Path,
    gates: Gates,
    *,
    gate: str = "release",
    wanted: Callable[[Requirement], bool] = lambda _: True,
    alter: Alter = lambda check: check,
    images: int = 196,
    soc: str = "Ascend310",
    weights: str = WEIGHTS,
    board: str = "device",
    npu_smi: str = NPU_SMI,
    cann: str = "8.0.0",
    interrupted: str = "",
    fps: float = 10_000.0,
) -> Path:
    """Write the bundle of a run in which everything that is wanted of a gate holds."""
    answers = _predict(folder, images)
    for demand in required(gates, gate, SPECS, soc):
        rest: dict[str, Any] = {
            "coordinates": demand.coordinates,
            "classes": {"weights": "published"} if "weights" in demand.row.rests_on else {},
        }
        made = good_check(demand, answers, SPECS[MODEL], fps, rest)
        if not wanted(demand) or (check := alter(made)) is None:
            continue
        test = f"tests/test_made.py::test_{check.id.replace('.', '_')}[{demand.place}]"
        append(folder, CheckRecord(test, check))
        append(folder, OutcomeRecord(test, check.status, 0.5, check.detail))
    _record_facts(folder, images, weights=weights, board=board, soc=soc, npu_smi=npu_smi, cann=cann)
    run = f"20261101T1200{next(RUNS):02d}Z-abcdef"
    facts = RunFacts(
        run=run,
        started="2026-11-01T12:00:00Z",
        ended="2026-11-01T12:10:00Z",
        command=["pytest", f"--gate={gate}"],
        models=list(SPECS.values()),
        interrupted=interrupted,
        waivers=(waiver(),),
        baseline=accepted(),
    )
    evidence = assemble(folder, facts, read(folder))
    decision = decide([evidence], gates, gate, SPECS)
    seal(folder, msgspec.structs.replace(evidence, decision=decision))
    return folder


def _predict(folder: Path, images: int) -> Answers:
    """Add predictions by PyTorch, ONNX Runtime and an om of each size, as right as published."""
    rng = np.random.default_rng(7)
    accuracy = SPECS[MODEL].accuracy
    first, fifth = (round(pct * images / 100) for pct in (accuracy.top1_pct, accuracy.top5_pct))
    names = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, images + 1)]
    labels = np.arange(images) % 1000
    scores = rng.normal(size=(images, 12)).astype(np.float32)
    ids = (labels[:, np.newaxis] + np.arange(12)) % 1000
    scores[:first, 0] = 9
    scores[first:fifth, 0] = np.partition(scores[first:fifth, 1:], -3, axis=1)[:, -3] + 1e-3
    scores[fifth:, 0] = -9
    full = np.full((images, 1000), -50, np.float32)
    np.put_along_axis(full, ids, scores, axis=1)
    best = best_classes(full, REFERENCE_DEPTH)  # sorted once: all say the same

    def cut(_scores: object, depth: int) -> Best:
        return Best(best.ids[:, :depth], best.scores[:, :depth])

    sets: list[tuple[str, str, dict[str, str | int]]] = [("torch", "torch", {})]
    for engine in ("onnxruntime", "om"):
        sizes = SPECS[MODEL].batch.sizes
        sets += [(f"{engine} bs{size}", engine, {"batch": size}) for size in sizes]
    for name, engine, batch in sets:
        place: dict[str, str | int] = {"model": MODEL, **batch}
        with patch("conformance.evidence.run_bundle.best_classes", cut):
            add_predictions(
                folder, name, engine, coordinates=place, names=names, labels=labels, scores=full
            )
    return Answers(labels, best)


def _record_facts(
    folder: Path, images: int, *, weights: str, board: str, soc: str, npu_smi: str, cann: str
) -> None:
    from conformance.evidence.prediction_file import list_sha256

    names = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, images + 1)]
    listed = list_sha256(names, [number % 1000 for number in range(images)])
    digests = {"sha256": weights, "md5": MD5}
    record_class(folder, "weights", "published", digests, MODEL)
    kind = "full" if images == 50_000 else "subset"
    record_class(folder, "images", kind, {"count": str(images), "list_sha256": listed}, MODEL)
    nodes = {"device_nodes": "davinci0", "driver": "24.1.0"}
    record_class(folder, "board", board, nodes)
    record_digest(folder, f"{MODEL}/weights", "weights", weights, MODEL)
    record_digest(folder, f"{MODEL}/onnx_model", "onnx_model", ONNX, MODEL)
    record_digest(folder, f"{MODEL}/dataset", "dataset", listed, MODEL)
    record_oms(folder, *om_keys(SPECS[MODEL], None, every_variant=True))
    record_digest(folder, RECORD_DIGEST, "bounds", read_record().sha256)
    record_digest(folder, SUITE_DIGEST, "bounds", bounds_sha256())
    record_version(folder, "cann", cann)
    record_bounds(folder)
    record_board(folder, soc, ["0:0"], before=npu_smi)
    record_board(folder, soc, ["0:0"], after=npu_smi)
    attach(folder, "logs/atc-bs16.txt", "ATC run success, welcome to the next use.\n")


def record_oms(folder: Path, *keys: OmKey) -> None:
    """Record the digests of each om and of what it left behind."""
    for key in keys:
        record_digest(folder, f"om {key}", "om_model", "2" * 64, MODEL)
        record_digest(folder, f"dumps {key}", "dumps", "3" * 64, MODEL)
        record_digest(folder, f"performance {key}", "performance", "4" * 64, MODEL)


def record_bounds(folder: Path) -> None:
    """Record what float32 and float16 explain, the latter as the spec has it."""
    fixed = SPECS[MODEL].float16
    assert fixed
    record_decision_bound(folder, MODEL, "onnxruntime", FLOAT32_GAP, "made")
    record_decision_bound(folder, MODEL, "om", 2 * fixed.decision_epsilon, "made")


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Edit ``evidence.json`` alone."""
    path = folder / EVIDENCE_FILE
    data = json.loads(path.read_bytes())
    change(data)
    path.write_text(json.dumps(data), "utf-8")


def restate(folder: Path) -> None:
    """Write the statement again, as somebody would who knows the format."""
    write_statement(folder, read_evidence(folder))


def rewrite_records(folder: Path) -> None:
    """Write the records and JUnit's file again from an edited ``evidence.json``."""
    from conformance.evidence.bundle import JUNIT_FILE
    from conformance.evidence.junit import junit_xml

    evidence = read_evidence(folder)
    (folder / CHECKS_FILE).unlink()
    for made in evidence.checks:
        append(folder, CheckRecord(made.test, made.check))
    for test in evidence.tests:
        append(folder, OutcomeRecord(test.test, test.status, test.seconds, test.message))
    (folder / JUNIT_FILE).write_bytes(junit_xml(evidence))
    restate(folder)


def rewrite_facts(folder: Path, evidence: Evidence) -> None:
    """Write the facts again from an edited ``evidence.json``; bounds stay as they were."""
    bounds = gather(folder).bounds.values()
    (folder / FACTS_FILE).unlink()
    for bound in bounds:
        append_lines(folder / FACTS_FILE, BoundFact(bound=bound))
    for kept in evidence.predictions:
        append_lines(folder / FACTS_FILE, PredictionFact(found=kept, file="work/made.npz"))
    for found in evidence.classes:
        record_class(folder, found.part, found.value, found.facts, found.model)
    for name, digest in evidence.digests.items():
        record_digest(folder, name, digest.kind, digest.sha256, digest.model)
    if "cann" in evidence.versions:
        record_version(folder, "cann", evidence.versions["cann"])
    if evidence.board:
        append_lines(folder / FACTS_FILE, BoardFact(board=evidence.board))


def decide_again(folder: Path, gates: Gates) -> Evidence:
    """Compute the verdict of an edited ``evidence.json`` again and write it in."""
    evidence = read_evidence(folder)
    assert evidence.decision
    decision = decide([evidence], gates, evidence.decision.gate, SPECS)
    edit(folder, lambda data: data.update(decision=msgspec.to_builtins(decision)))
    return read_evidence(folder)


def checks_of(data: dict[str, Any], check_id: str) -> Iterable[dict[str, Any]]:
    """The checks of that id in decoded evidence, at least one."""
    found = [made["check"] for made in data["checks"] if made["check"]["id"] == check_id]
    assert found, check_id
    return found


def load_gates(folder: Path) -> Gates:
    return read_gates(relaxed_gates(folder))
