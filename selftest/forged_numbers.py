"""Bundles whose numbers contradict their predictions, their baseline, or this checkout's bounds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from conformance.evidence.bundle import PREDICTIONS_FILE
from conformance.evidence.facts import FACTS_FILE
from conformance.evidence.gate import Gates
from conformance.evidence.prediction_file import Predictions, read_predictions, write_predictions
from selftest.forgeries import (
    Data,
    Tampering,
    add_check,
    editing,
    forging,
    rewrite_ledger,
    set_checks,
    set_class,
)
from selftest.made_bundles import MODEL, checks_of, restate


def confident_flips(folder: Path, _gates: Gates, _other: Path) -> None:
    """Let an om decide otherwise over wide gaps, where it is wrong anyway; the ledger says so."""
    held = read_predictions(folder / PREDICTIONS_FILE)
    best, clear = held.sets["om bs1"], held.sets["torch"].scores
    ids = best.ids.copy()
    wrong = (ids != held.labels[:, None]).all(axis=1) & (clear[:, 0] - clear[:, 1] > 0.2)
    for row in np.flatnonzero(wrong)[:15]:
        ids[row] = (held.labels[row] + 500 + np.arange(ids.shape[1])) % 1000
    sets = held.sets | {"om bs1": type(best)(ids, best.scores)}
    write_predictions(folder / PREDICTIONS_FILE, Predictions(held.names, held.labels, sets))
    rewrite_ledger(folder)
    restate(folder)


def swap_sets(data: Data) -> None:
    first, other = (
        next(found for found in data["predictions"] if found["name"] == name)
        for name in ("om bs1", "om bs16")
    )
    first["coordinates"], other["coordinates"] = other["coordinates"], first["coordinates"]


def loosen_gap(folder: Path, _gates: Gates, _other: Path) -> None:
    """Let float16 explain any decision, in facts and ledger alike; the weights are the sample."""
    forging(sample_weights)(folder, _gates, _other)
    path = folder / FACTS_FILE
    facts = [json.loads(line) for line in path.read_bytes().splitlines()]
    for fact in facts:
        if fact["fact"] == "bound":
            fact["bound"]["explained_gap"] = 1e6
    path.write_text("".join(json.dumps(fact) + "\n" for fact in facts))
    rewrite_ledger(folder)
    restate(folder)


def sample_weights(data: Data) -> None:
    set_class("weights", "sample")(data)
    for made in data["checks"]:
        if "weights" in made["check"].get("classes", {}):
            made["check"]["classes"]["weights"] = "sample"


def large_errors(data: Data) -> None:
    """Sample weights, for which no spec has a bound: a larger one in every check."""
    sample_weights(data)
    for made in data["checks"]:
        check = made["check"]
        group, _, claim = check["id"].rpartition(".")
        if check["id"] == "agreement.scores" or group == "agreement.rows":
            check.update(value=900.0, bound=1000.0)
        elif group == "agreement.batch" and claim == "scores":
            check.update(value=900.0, bound=2000.0)


def loosen_parity(data: Data) -> None:
    set_checks("export.parity.rms", value=1e8, bound=1e9)(data)


def loosen_both_parities(data: Data) -> None:
    set_checks("export.parity.rms", value=1e8, bound=1e9)(data)
    set_checks("export.parity.largest", value=1e8, bound=1e9)(data)


def claim_paired(data: Data) -> None:
    """Call decided what a few hundred images cannot decide."""
    place = {"model": MODEL, "batch": 1, "variant": "float32", "tuned": "no"}
    check = {
        "id": "accuracy.paired.top1", "status": "PASS", "value": "-0.50 to +0.50",
        "bound": "inside ±1", "unit": "points, 98 % interval", "coordinates": place,
    }  # fmt: skip
    add_check(data, check)


def skip_with_a_value(data: Data) -> None:
    check = {
        "id": "throughput.pure", "status": "SKIP", "value": 5, "bound": 9000,
        "direction": "at least", "coordinates": {"model": MODEL}, "reason": "no-board",
    }  # fmt: skip
    add_check(data, check)


def fail_that_holds(data: Data) -> None:
    check = {
        "id": "throughput.pure", "status": "FAIL", "value": 9000, "bound": 5,
        "direction": "at least", "coordinates": {"model": MODEL},
    }  # fmt: skip
    add_check(data, check)


def undecided_beyond_its_bound(data: Data) -> None:
    check = {
        "id": "made.claim", "status": "INCONCLUSIVE", "value": 9, "bound": 5,
        "direction": "at most", "coordinates": {"model": MODEL},
    }  # fmt: skip
    add_check(data, check)


def better_baseline(data: Data) -> None:
    """A baseline that the run does not reach, and no comparison with it."""
    card = next(checks_of(data, "throughput.card").__iter__())
    data["baseline"] = [
        {
            "id": "throughput.card", "coordinates": card["coordinates"], "value": 20000.0,
            "spread_pct": 0.1, "accepted": "2026-10-01", "run": "20261001T000000Z-abcdef",
        }
    ]  # fmt: skip


def invented_comparison(data: Data) -> None:
    check = {
        "id": "regression.throughput.card", "status": "PASS", "value": 10, "bound": 5,
        "direction": "at least", "coordinates": {"model": MODEL, "batch": 1},
    }  # fmt: skip
    add_check(data, check)


PREDICTED = "the predictions give"
# Values, and bounds that they meet, as no run of this checkout states them.
LOOSER: dict[str, dict[str, Any]] = {
    "accuracy.reference.top1": {"value": 90, "bound": 100},
    "accuracy.batch.hits": {"value": 200, "bound": 200},
    "accuracy.labels": {"value": 183, "bound": 200},
    "accuracy.classes": {"value": 1, "bound": 0},
    "accuracy.classes.largest_share": {"value": 0.1},
    "agreement.flips": {"value": 99.0, "bound": 100.0},
    "agreement.batch.hits": {"value": 9, "bound": 9},
    "agreement.scores": {"value": 900.0, "bound": 1000.0},
    "agreement.rows.partial": {"value": 1.0, "bound": 2.0},
    "accuracy.rows.partial": {"value": 1.0, "bound": 2.0},
    "accuracy.batch.scores": {"value": 1.0, "bound": 2.0},
    "export.opset": {"value": "ai.onnx 18", "bound": "ai.onnx 18"},
    "export.input": {"value": "x", "bound": "x"},
    "export.output": {"value": "x", "bound": "x"},
    "export.valid": {"value": "no", "bound": "no"},
    "export.reproducible": {"value": "5" * 64, "bound": "5" * 64},
    "atc.converts": {"value": "x", "bound": "x"},
    "atc.identity": {"value": "x", "bound": "x"},
}
FORGED_NUMBERS = [
    Tampering("flips that the checks do not count", confident_flips, PREDICTED),
    *(
        Tampering(
            f"{check_id} of more images", forging(set_checks(check_id, value=50_000)), PREDICTED
        )
        for check_id in ("om.images", "dataset.images")
    ),
    Tampering(
        "more images than were predicted",
        forging(set_class("images", "subset", count="50000")),
        "count is 50000, and the predictions are of 196",
    ),
    *(
        Tampering(
            f"{check_id} held to less", forging(set_checks(check_id, **fields)), f"{check_id} ["
        )
        for check_id, fields in LOOSER.items()
    ),
    Tampering("accuracy that is not decided", forging(claim_paired), PREDICTED),
    Tampering("sets of predictions exchanged", editing(swap_sets), "predictions: not those of"),
    Tampering("a mean error above the largest", forging(loosen_parity), "more than the largest"),
    Tampering(
        "errors of float32 that its decisions do not show",
        forging(loosen_both_parities),
        "half the gap of float32 decisions",
    ),
    Tampering("errors that do not follow from one", forging(large_errors), "one simulated error"),
    Tampering("a gap that explains everything", loosen_gap, "PASS, the predictions give INCON"),
    Tampering("a skip with a value", forging(skip_with_a_value), "SKIP, and it states a value"),
    Tampering("a failure that holds", forging(fail_that_holds), "FAIL, and its value meets"),
    Tampering(
        "an open question that is none",
        forging(undecided_beyond_its_bound),
        "INCONCLUSIVE, and its value does not meet its bound",
    ),
    Tampering("a baseline, not compared", forging(better_baseline), "missing, and the baseline"),
    Tampering("a comparison, no baseline", forging(invented_comparison), "no such figure in the"),
    Tampering(
        "hits of two classes",
        editing(lambda d: d["predictions"][-1].update(hits=[1, 2])),
        "are right, not as stated",
    ),
    Tampering(
        "a number beyond all",
        editing(set_checks("accuracy.om.top1", value=10**400)),
        "predictions give",
    ),
]
