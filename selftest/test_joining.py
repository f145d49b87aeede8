"""Runs that are joined rest on the same files, and what holds of them together decides."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from conformance.__main__ import main
from conformance.errors import EvidenceError
from conformance.evidence.bundle import PREDICTIONS_FILE, Evidence, MadeCheck
from conformance.evidence.bundle_files import read_evidence
from conformance.evidence.gate import Gates, Requirement
from conformance.evidence.joining import demand_one_subject
from conformance.evidence.prediction_file import Predictions, read_predictions, write_predictions
from conformance.evidence.verify import Verified
from conformance.metrics.best import Best
from selftest.forgeries import forging
from selftest.made_bundles import MODEL, load_gates, make_bundle, relaxed_gates


@pytest.fixture(scope="module")
def gates(tmp_path_factory: pytest.TempPathFactory) -> Gates:
    return load_gates(tmp_path_factory.mktemp("gates"))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, gates: Gates) -> Evidence:
    return read_evidence(make_bundle(tmp_path_factory.mktemp("good"), gates))


def of_throughput(demand: Requirement) -> bool:
    return demand.id.startswith("throughput.")


def of_the_rest(demand: Requirement) -> bool:
    return not of_throughput(demand)


def test_throughput_of_one_om_is_not_joined_with_accuracy_of_another(
    tmp_path: Path, gates: Gates, capsys: pytest.CaptureFixture[str]
) -> None:
    fast = make_bundle(tmp_path / "fast", gates, wanted=of_throughput)
    right = make_bundle(tmp_path / "right", gates, wanted=of_the_rest)
    words = ["verdict", f"--gates={relaxed_gates(tmp_path)}", str(fast), str(right)]
    assert main(words) == 0
    forging(lambda data: data["digests"]["om bs16"].update(sha256="7" * 64))(fast, gates, right)
    assert main(words) == 2
    said = capsys.readouterr().err
    assert f"the runs are on different subjects: om bs16 of {MODEL}" in said
    assert f"{'7' * 64} under throughput." in said
    assert f"{'2' * 64} under atc.converts" in said


def renamed(made: MadeCheck, sha256: str) -> MadeCheck:
    """The check of a conversion, with the digest of the file that it made."""
    return msgspec.structs.replace(made, check=msgspec.structs.replace(made.check, detail=sha256))


def test_an_om_that_was_only_converted_is_the_one_that_is_measured(
    good: Evidence, gates: Gates
) -> None:
    """A build machine measures none; the check of the conversion names the file."""
    converted = [made for made in good.checks if made.check.id == "atc.converts"]
    host = msgspec.structs.replace(
        good,
        run="another",
        checks=tuple(renamed(made, "7" * 64) for made in converted),
        digests={name: d for name, d in good.digests.items() if d.kind != "om_model"},
    )
    with pytest.raises(EvidenceError, match=f"om bs1 of {MODEL}"):
        demand_one_subject([good, host], gates)
    same = tuple(renamed(made, "2" * 64) for made in converted)
    demand_one_subject([good, msgspec.structs.replace(host, checks=same)], gates)


def decide_otherwise(folder: Path, images: slice) -> None:
    """Let an ``.om`` be wrong about some images, in predictions that nobody has verified."""
    held = read_predictions(folder / PREDICTIONS_FILE)
    best = held.sets["om bs16"]
    ids = best.ids.copy()
    ids[images] = (held.labels[images, np.newaxis] + 500 + np.arange(ids.shape[1])) % 1000
    sets = held.sets | {"om bs16": Best(ids, best.scores)}
    write_predictions(folder / PREDICTIONS_FILE, Predictions(held.names, held.labels, sets))


@pytest.fixture
def losing(tmp_path: Path, gates: Gates, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two runs that hold alone and of which each lost some images; joined, they lost them all.

    That one run holds in spite of that is set here: two honest ones take tens of thousands.
    """
    bundles = [make_bundle(tmp_path / name, gates) for name in ("one", "other")]
    for bundle, images in zip(bundles, (slice(0, 60), slice(60, 114)), strict=True):
        decide_otherwise(bundle, images)

    def consistent(folder: Path, *_: object) -> Verified:
        predictions = read_predictions(folder / PREDICTIONS_FILE)
        return Verified(read_evidence(folder), (), None, 0, predictions)

    monkeypatch.setattr("conformance.bundle_commands.verify", consistent)
    return bundles[0], bundles[1]


def test_what_fails_of_all_runs_together_fails_their_verdict(
    losing: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"--gates={relaxed_gates(tmp_path)}", *map(str, losing)]
    assert main(["verdict", *words]) == 10
    said = capsys.readouterr().out.splitlines()
    failed = f"FAIL: accuracy.paired.top1 [{MODEL} batch=16 runs=2]"
    assert failed in said
    assert f"  {failed}" in said
    assert said[-1].startswith("NOT CONFORMANT release [")


def test_the_joint_report_shows_what_holds_of_all_runs_together(
    losing: tuple[Path, Path], tmp_path: Path
) -> None:
    words = [f"--gates={relaxed_gates(tmp_path)}", *map(str, losing), "--no-thumbnails"]
    assert main(["report", *words]) == 0
    page = (tmp_path / "one+other.html").read_text("utf-8")
    assert ">NOT CONFORMANT<" in page
    assert "2 runs (different sets of images: 1) hold 196 images and 196 of them again" in page
    assert "accuracy.paired.top1" in page
