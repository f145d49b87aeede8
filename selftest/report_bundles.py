"""Bundles for the tests of the report: runs that hold, fail, and lack every part in turn."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from conformance.check import (
    Check,
    SkipReason,
    Status,
    at_least,
    at_most,
    equal,
    recorded,
    skipped,
)
from conformance.evidence.bundle import (
    EVIDENCE_FILE,
    PREDICTIONS_FILE,
    Accepted,
    Board,
    Decision,
    DecisionBound,
    Digest,
    Evidence,
    EvidenceClass,
    MadeCheck,
    Outcome,
    PredictionSet,
    Waiver,
)
from conformance.evidence.bundle_files import read_evidence, write_evidence
from conformance.evidence.flip_ledger import make_ledger, write_ledger
from conformance.evidence.prediction_file import Predictions, write_predictions
from conformance.metrics.best import best_classes
from conformance.spec import load_spec

MODEL = "squeezenet1_1"
SPEC = load_spec(MODEL)
SOC = "Ascend310"
CLASSES = {"weights": "published", "images": "full", "board": "device"}
OM = {"variant": "float32", "tuned": "no"}
# Of the published figure, at each batch size; 16 is measured tuned as well.
SHARES = {1: 0.981, 4: 0.96, 8: 0.971, 16: 0.989, 32: 0.902}
NPU_SMI = "| 0       310                   | OK              | 12.8         61    |\n"


def board_checks() -> Iterator[Check]:
    """Every kind of check that a run on a board makes, all of which hold."""
    yield equal("checkpoint.loads", 0, 0, unit="tensors differ")
    yield equal("export.opset", "ai.onnx 11", "ai.onnx 11", source="Ascend ModelZoo guide of 2021")
    for batch in (1, 16):
        for scale in ("x1", "x1000"):
            place = {"batch": batch, "scale": scale}
            yield at_most("export.parity.rms", 6.1e-6 * batch, 1.2e-4, coordinates=place)
            yield at_most("export.parity.largest", 9.3e-5, 3.1e-4, coordinates=place)
    yield recorded("dataset.images", 50_000, unit="images")
    yield equal("input.digest", "all equal", "all equal")
    yield at_most("accuracy.control.top1", 0.012, 0.05, unit="points from the published figure")
    yield at_most("accuracy.batch.scores", 2.1e-6, 1.4e-5)
    for batch in SPEC.batch.sizes:
        place = {"batch": batch, **OM}
        yield equal("atc.converts", "converted", "converted", coordinates=place)
        yield at_most("agreement.scores", 0.031 + batch / 2000, 0.68, coordinates=place)
        drop = {"unit": "points below 58.178 %", "coordinates": place}
        yield at_most("accuracy.published.top1", 0.05, 1.0, **drop)
    yield at_most("agreement.batch.scores", 0.041, 1.36)
    yield from throughput_checks()


def throughput_checks() -> Iterator[Check]:
    """Throughput at every published batch size, and two comparisons with a baseline."""
    table = SPEC.throughput_of(SOC)
    assert table
    for figure in table.figures:
        fps = figure.fps * (1.004 if figure.tuned else SHARES[figure.batch])
        common: dict[str, Any] = {
            "unit": "images/s of Atlas 300I",
            "source": table.source,
            "coordinates": {
                "batch": figure.batch,
                "variant": "float32",
                "tuned": figure.tuned,
                "soc": SOC,
                "tool": "benchmark",
                "method": "dataset",
            },
        }
        if figure.gate:
            yield at_least("throughput.card", fps, 0.95 * figure.fps, **common)
            common["source"] = "baseline of 2026-10-02, run 20261002T080000Z-aaaaaa"
            yield at_least("regression.throughput.card", fps, 0.97 * figure.fps, **common)
        else:
            yield recorded("throughput.card", fps, **common)


def troubled_checks() -> Iterator[Check]:
    """The same run with a check of every bad status."""
    for check in board_checks():
        place = check.coordinates
        if check.id == "throughput.card" and place["tuned"] == "yes":
            detail = "89.10 % of the published figure\nread (disk) limits the end-to-end rate"
            yield msgspec.structs.replace(
                check,
                value=8930.0,
                status=Status.FAIL,
                detail=detail,
                hint="measure on a local disk",
            )
        elif check.id == "throughput.card" and place["batch"] == 1:
            yield msgspec.structs.replace(check, status=Status.INCONCLUSIVE, value=4380.1)
        elif check.id == "agreement.scores" and place["batch"] == 16:
            yield msgspec.structs.replace(check, status=Status.FAIL, value=0.91)
        elif check.id == "accuracy.control.top1":
            yield msgspec.structs.replace(check, status=Status.ERROR, value=0.4)
        elif check.id == "accuracy.published.top1" and place["batch"] == 16:
            yield msgspec.structs.replace(check, status=Status.FAIL, value=2.1)
        elif check.id == "agreement.batch.scores":
            yield msgspec.structs.replace(
                check,
                status=Status.BLOCKED,
                value=None,
                detail="test_om_agrees_with_pytorch failed",
            )
        else:
            yield check
    yield skipped("throughput.pure", SkipReason.NO_INFERENCE_TOOL, "ais_bench is not installed")


def made(checks: Iterator[Check] | list[Check]) -> tuple[MadeCheck, ...]:
    """Checks as a run keeps them, each with its model and test."""
    return tuple(
        MadeCheck(
            test=f"tests/test_{check.id.partition('.')[0]}.py::test_{check.id.replace('.', '_')}",
            seconds=0.5,
            check=msgspec.structs.replace(check, coordinates={"model": MODEL, **check.coordinates}),
        )
        for check in checks
    )


def evidence_of(checks: Iterator[Check] | list[Check], **changes: Any) -> Evidence:
    """Evidence of a whole run on a board, with the given checks."""
    kept = made(checks)
    tests = {entry.test: entry.check.status for entry in kept}
    facts: dict[str, Any] = {
        "run": "20261101T120000Z-abcdef",
        "started": "2026-11-01T12:00:00Z",
        "ended": "2026-11-01T13:41:07Z",
        "command": ("pytest", "--gate=release"),
        "specs": {MODEL: SPEC.sha256},
        "classes": tuple(
            EvidenceClass(part=part, value=value, facts={"driver": "24.1.0"})
            for part, value in CLASSES.items()
        ),
        "digests": {"onnx": Digest(kind="onnx_model", sha256="1" * 64, model=MODEL)},
        "versions": {"python": "3.11.7", "cann": "8.0.0", "driver": "24.1.0", "numpy": "2.4.6"},
        "board": Board(soc_version=SOC, chips=("0:0",), npu_smi_before="board/npu-smi-before.txt"),
        "checks": kept,
        "tests": tuple(
            Outcome(test=test, status=status, seconds=number * 17.3 % 411)
            for number, (test, status) in enumerate(tests.items(), start=1)
        ),
        "baseline": accepted(),
        "decision": decision(),
    }
    return Evidence(**(facts | changes))


def decision(verdict: str = "CONFORMANT", gate: str = "release", *reasons: str) -> Decision:
    """A gate's verdict."""
    return Decision(
        gate=gate,
        verdict=verdict,
        line=f"{verdict} {gate} [weights=published images=full board=device]",
        reasons=reasons,
        required=97,
        gates_sha256="0" * 64,
    )


def write_bundle(
    folder: Path, evidence: Evidence, *, images: list[str] | None = None, flips: int = 6
) -> Path:
    """Write a bundle; with the names of images also predictions, of which some differ."""
    if images:
        evidence = msgspec.structs.replace(evidence, predictions=_predict(folder, images, flips))
    if evidence.board:
        (folder / "board").mkdir(parents=True, exist_ok=True)
        (folder / "board/npu-smi-before.txt").write_text(NPU_SMI, "utf-8")
    write_evidence(folder, evidence)
    return folder


def _predict(folder: Path, names: list[str], flips: int) -> tuple[PredictionSet, ...]:
    rng = np.random.default_rng(11)
    labels = (np.arange(len(names)) * 2 % 1000).astype(np.int32)
    trusted = rng.normal(0, 2, size=(len(names), 1000)).astype(np.float32)
    trusted[np.arange(len(names)), labels] += np.where(rng.random(len(names)) < 0.72, 8.5, 4.0)
    order = np.argsort(-trusted, axis=1)
    changed = trusted + rng.normal(0, 1e-4, size=trusted.shape).astype(np.float32)
    for row in range(flips):
        first, second = order[row, :2]
        changed[row, second] = changed[row, first] + 0.01 * (row + 1)
    sides: list[tuple[str, str, dict[str, str | int], Any]] = [
        ("torch", "torch", {}, trusted),
        ("onnxruntime bs1", "onnxruntime", {"batch": 1}, trusted),
    ]
    sides += [
        (f"om bs{batch}", "om", {"batch": batch, **OM}, changed) for batch in SPEC.batch.sizes
    ]
    best = {n: best_classes(s, 20 if n == "torch" else 5) for n, _, _, s in sides}
    kept = Predictions(tuple(names), labels, best)
    write_predictions(folder / PREDICTIONS_FILE, kept)
    found = tuple(
        PredictionSet(
            name=name,
            engine=engine,
            coordinates={"model": MODEL, **place},
            images=len(names),
            hits=kept.hits(name),
        )
        for name, engine, place, _ in sides
    )
    bounds = [
        DecisionBound(model=MODEL, engine=engine, explained_gap=gap, source="made")
        for engine, gap in (("onnxruntime", 1e-4), ("om", 0.6))
    ]
    write_ledger(folder, make_ledger(kept, found, bounds))
    return found


def accepted() -> tuple[Accepted, ...]:
    """The baseline: a figure for every batch size but 32, and one that no run measures now."""
    kept = [check for check in throughput_checks() if check.id == "throughput.card"]
    figures = [(check.coordinates, check.value) for check in kept if check.value]
    figures.append(({**kept[0].coordinates, "batch": 64}, 9000.0))
    return tuple(
        Accepted(
            id="throughput.card",
            coordinates={"model": MODEL, **coordinates},
            value=1.02 * float(value or 0),
            spread_pct=0.4,
            accepted=dt.date(2026, 10, 2),
            run="20261002T080000Z-aaaaaa",
        )
        for coordinates, value in figures
        if coordinates["batch"] != 32
    )


def waiver() -> Waiver:
    """Leave to be slower, for a while."""
    return Waiver(
        id="throughput.card",
        reason="the driver of this release is slower",
        owner="release management",
        expires=dt.date(2026, 12, 31),
        coordinates={"batch": 1},
    )


def every_text(value: Any, replace: Callable[[str], str]) -> Any:
    """Replace every text of decoded evidence that the schema leaves free."""
    fixed = {
        "schema",
        "status",
        "direction",
        "sha256",
        "reason",
        "gates_sha256",
        "expires",
        "accepted",
        "specs",
    }
    if isinstance(value, str):
        return replace(value)
    if isinstance(value, list):
        return [every_text(part, replace) for part in value]
    if isinstance(value, dict):
        return {n: p if n in fixed else every_text(p, replace) for n, p in value.items()}
    return value


def rewrite(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Evidence:
    """Edit ``evidence.json`` and read what became of it."""
    path = folder / EVIDENCE_FILE
    path.write_text(json.dumps(change(json.loads(path.read_bytes()))), "utf-8")
    return read_evidence(folder)
