"""``flips.json``: made of the predictions, made again by verification, and silent about nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from conformance.errors import EvidenceError
from conformance.evidence.bundle import FLIPS_FILE, PREDICTIONS_FILE, DecisionBound
from conformance.evidence.bundle_files import read_evidence
from conformance.evidence.facts import FACTS_FILE, BoundFact, gather
from conformance.evidence.flip_ledger import (
    FlipLedger,
    make_ledger,
    read_ledger,
    write_ledger,
)
from conformance.evidence.gate import read_gates
from conformance.evidence.prediction_file import read_predictions
from conformance.evidence.record import append_lines, read
from conformance.evidence.report.joined import joined
from conformance.evidence.report.source import read_source
from conformance.evidence.run_bundle import RunFacts, add_predictions, assemble, seal
from conformance.evidence.verify import verify
from conformance.metrics.flips import Verdict
from conformance.om_key import OmKey
from selftest.made_bundles import MODEL, SPECS, record_bounds, record_oms, restate
from selftest.report_bundles import decision

IMAGES = 40
ENGINES = ("torch", "onnxruntime", "om")
Edit = Callable[[dict[str, Any]], object]


def sealed(folder: Path, engines: tuple[str, ...] = ENGINES, *, bounds: bool = True) -> Path:
    """A bundle in which the ``.om`` changed two near-ties, and at batch 16 a clear decision too."""
    random = np.random.default_rng(5)
    scores = random.normal(0, 0.5, (IMAGES, 1000)).astype(np.float32)
    scores[np.arange(IMAGES), np.arange(IMAGES)] = 12
    scores[:2, 500] = 11.9
    near = scores.copy()
    near[:2, 500] = 12.1
    far = near.copy()
    far[7, 600] = 20
    sides = {"torch": [(0, scores)], "onnxruntime": [(1, scores)], "om": [(1, near), (16, far)]}
    names = [f"{number:02d}.JPEG" for number in range(IMAGES)]
    for engine in engines:
        for batch, said in sides[engine]:
            place: dict[str, str | int] = {"model": MODEL} | ({"batch": batch} if batch else {})
            name = f"{engine} bs{batch}" if batch else engine
            add_predictions(
                folder, name, engine, coordinates=place, names=names, labels=np.arange(IMAGES),
                scores=said,
            )  # fmt: skip
    if bounds:
        record_bounds(folder)
    if "om" in engines:
        record_oms(folder, OmKey(1), OmKey(16))
    facts = RunFacts(
        "run", "2026-11-01T12:00:00Z", "2026-11-01T12:10:00Z", ("pytest",), [*SPECS.values()]
    )
    seal(folder, assemble(folder, facts, read(folder)))
    return folder


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return sealed(tmp_path)


def problems(folder: Path) -> tuple[str, ...]:
    return verify(folder, read_gates(), SPECS).problems


def test_every_engine_is_compared_with_pytorch(bundle: Path) -> None:
    ledger = read_ledger(bundle)
    assert {c.candidate: (c.images, c.flips, c.confident) for c in ledger.comparisons} == {
        "onnxruntime bs1": (IMAGES, 0, 0),
        "om bs1": (IMAGES, 2, 0),
        "om bs16": (IMAGES, 3, 1),
    }
    *_, largest = ledger.comparisons
    assert largest.coordinates == {"model": MODEL, "batch": 16}
    worst, *rest = largest.listed
    assert (worst.image, worst.label, worst.verdict) == ("07.JPEG", 7, Verdict.CONFIDENT)
    assert (worst.reference[0].class_id, worst.reference[0].score) == (7, 12)
    assert (worst.candidate[0].class_id, worst.candidate[0].score) == (600, 20)
    assert {(flip.image, flip.verdict) for flip in rest} == {
        ("00.JPEG", Verdict.NEAR_TIE),
        ("01.JPEG", Verdict.NEAR_TIE),
    }
    assert problems(bundle) == ()


def set_flip(**fields: object) -> Edit:
    return lambda data: data["comparisons"][2]["listed"][0].update(fields)


def set_comparison(**fields: object) -> Edit:
    return lambda data: data["comparisons"][2].update(fields)


EDITS: dict[str, tuple[Edit, str]] = {
    "verdict": (set_flip(verdict="near-tie"), "07.JPEG: verdict is near-tie, the predictions give"),
    "margin": (set_flip(margin=0.1), "07.JPEG: margin is 0.1, the predictions give"),
    "label": (set_flip(label=600), "07.JPEG: label is 600, the predictions give 7"),
    "list": (set_flip(candidate=[]), "07.JPEG: candidate is (), the predictions give"),
    "image": (set_flip(image="08.JPEG"), "08.JPEG is listed and did not change its decision"),
    "dropped": (
        lambda data: data["comparisons"][2]["listed"].pop(0),
        "om bs16: 07.JPEG changed its decision and is not listed",
    ),
    "twice": (
        lambda data: data["comparisons"][1]["listed"].append(data["comparisons"][1]["listed"][0]),
        "om bs1: an image is listed twice",
    ),
    "order": (lambda data: data["comparisons"][2]["listed"].reverse(), "in another order"),
    "images": (set_comparison(images=50_000), "om bs16: images is 50000, the predictions give 40"),
    "flips": (set_comparison(flips=0), "om bs16: flips is 0, the predictions give 3"),
    "confident": (set_comparison(confident=0), "confident is 0, the predictions give 1"),
    "bound": (set_comparison(explained_gap=99.0), "explained_gap is 99.0, the predictions give"),
    "engine gone": (lambda data: data["comparisons"].pop(), "the predictions are of"),
    "lacking": (lambda data: data.update(lacking=["an engine"]), "lacks ['an engine']"),
    "schema": (lambda data: data.update(schema_version=2), "the flip ledger cannot be read"),
    "unknown": (lambda data: data.update(note=""), "the flip ledger cannot be read"),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_is_named_though_every_digest_fits(bundle: Path, name: str) -> None:
    change, told = EDITS[name]
    data = json.loads((bundle / FLIPS_FILE).read_bytes())
    change(data)
    (bundle / FLIPS_FILE).write_text(json.dumps(data), "utf-8")
    assert any(FLIPS_FILE in problem and "changed" in problem for problem in problems(bundle))
    restate(bundle)
    assert any(told in problem for problem in problems(bundle)), problems(bundle)


def test_a_wider_bound_than_the_specs_is_named(bundle: Path) -> None:
    evidence, wider = read_evidence(bundle), 99.0
    lines = (bundle / FACTS_FILE).read_bytes().splitlines()
    (bundle / FACTS_FILE).write_bytes(
        b"".join(line + b"\n" for line in lines if b'"fact":"bound"' not in line)
    )
    bound = DecisionBound(model=MODEL, engine="om", explained_gap=wider, source="made")
    append_lines(bundle / FACTS_FILE, BoundFact(bound=bound))
    predictions = read_predictions(bundle / PREDICTIONS_FILE)
    write_ledger(bundle, make_ledger(predictions, evidence.predictions, [bound]))
    restate(bundle)
    assert any("judged by a gap of 99, its spec explains 0.64" in p for p in problems(bundle))


def test_a_bundle_without_its_ledger_is_named(bundle: Path) -> None:
    (bundle / FLIPS_FILE).unlink()
    restate(bundle)
    assert any(f"{FLIPS_FILE} of the bundle cannot be read" in p for p in problems(bundle))


def test_absent_predictions_are_an_error_and_no_empty_ledger(bundle: Path) -> None:
    sets = read_evidence(bundle).predictions
    with pytest.raises(EvidenceError, match="no flip ledger without predictions"):
        make_ledger(None, sets, ())
    with pytest.raises(EvidenceError, match="no flip ledger without predictions"):
        make_ledger(read_predictions(bundle / PREDICTIONS_FILE), sets[:-1], ())
    (bundle / PREDICTIONS_FILE).unlink()
    restate(bundle)
    assert any("no flip ledger without predictions" in problem for problem in problems(bundle))


@pytest.mark.parametrize(
    ("engines", "lacking"),
    [(("onnxruntime", "om"), "by PyTorch"), (("torch",), "by any engine")],
)
def test_an_engine_that_is_absent_is_said_to_lack(
    tmp_path: Path, engines: tuple[str, ...], lacking: str
) -> None:
    ledger = read_ledger(sealed(tmp_path, engines))
    assert ledger == FlipLedger(comparisons=(), lacking=(f"predictions of {MODEL} {lacking}",))
    assert problems(tmp_path) == ()


def test_runs_on_host_and_board_are_compared_in_their_joint_report(tmp_path: Path) -> None:
    host, board = sealed(tmp_path / "host", ("torch",)), sealed(tmp_path / "board", ("om",))
    whole = joined([read_source(host), read_source(board)], decision())
    assert whole.flips
    assert {c.candidate: (c.flips, c.confident) for c in whole.flips.comparisons} == {
        "om bs1": (2, 0),
        "om bs16": (3, 1),
    }
    (board / PREDICTIONS_FILE).unlink()
    assert joined([read_source(host), read_source(board)], decision()).flips is None


def test_without_a_bound_nothing_is_excused(tmp_path: Path) -> None:
    *_, compared = read_ledger(sealed(tmp_path, bounds=False)).comparisons
    assert (compared.confident, compared.flips) == (None, 3)
    assert {flip.verdict for flip in compared.listed} == {Verdict.NOT_JUDGED}


def test_two_workers_that_disagree_about_a_bound_are_a_conflict(tmp_path: Path) -> None:
    for gap in (0.5, 0.6):
        bound = DecisionBound(model=MODEL, engine="om", explained_gap=gap, source="made")
        append_lines(tmp_path / FACTS_FILE, BoundFact(bound=bound))
    assert gather(tmp_path).conflicts == [f"decision bound of {MODEL} om changed during the run"]


def test_the_ledger_is_plain_json(bundle: Path) -> None:
    data = msgspec.json.decode((bundle / FLIPS_FILE).read_bytes())
    assert (data["schema"], data["schema_version"]) == ("ascend-conformance/flips", 1)
    assert data["comparisons"][2]["listed"][0]["candidate"][0] == {"class_id": 600, "score": 20}
