"""Accuracy over several runs: each image counts once, with the worst that was said of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from conformance.check import Check, Status
from conformance.errors import DatasetError
from conformance.evidence.bundle import PREDICTIONS_FILE, Evidence
from conformance.evidence.bundle_files import read_evidence
from conformance.evidence.gate import Gates, read_gates
from conformance.evidence.joint_accuracy import joint_accuracy
from conformance.evidence.prediction_file import Predictions, read_predictions
from selftest.made_bundles import SPECS, make_bundle, relaxed_gates

IMAGES = 196
Made = tuple[Evidence, Predictions]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("joint")
    gates: Gates = read_gates(relaxed_gates(folder))
    bundle: Path = make_bundle(folder / "run", gates, images=IMAGES)
    return read_evidence(bundle), read_predictions(bundle / PREDICTIONS_FILE)


def renamed(predictions: Predictions, first: int) -> Predictions:
    """The same predictions of as many other images."""
    names = tuple(f"ILSVRC2012_val_{first + at:08d}.JPEG" for at in range(len(predictions.names)))
    return replace(predictions, names=names)


def answering_wrong(predictions: Predictions, name: str) -> Predictions:
    """Predictions in which one engine is right about no image."""
    best = predictions.sets[name]
    wrong = replace(best, ids=(predictions.labels[:, None] + 1 + best.ids * 0) % 1000)
    return replace(predictions, sets=predictions.sets | {name: wrong})


def joint(*runs: Made, batch: int = 16) -> Check:
    found = joint_accuracy(runs, SPECS)
    return next(
        check
        for check in found
        if (check.id, check.coordinates.get("batch")) == ("accuracy.paired.top1", batch)
    )


def test_the_same_images_again_add_nothing(run: Made) -> None:
    again, once = joint(run, run, run), joint(run, (run[0], renamed(run[1], 1)))
    assert "3 runs (different sets of images: 1)" in again.detail
    assert f"{IMAGES} images and {2 * IMAGES} of them again" in again.detail
    assert again.value == once.value


def test_other_images_add_to_the_evidence(run: Made) -> None:
    both = joint(run, (run[0], renamed(run[1], 1001)))
    assert "2 runs (different sets of images: 2)" in both.detail
    assert f"{2 * IMAGES} images and 0 of them again" in both.detail
    assert both.value != joint(run, run).value


def test_every_om_of_more_than_one_run_is_judged(run: Made) -> None:
    sizes = SPECS["squeezenet1_1"].batch.sizes
    found = [check.coordinates.get("batch") for check in joint_accuracy([run, run], SPECS)]
    assert sorted(map(str, found)) == sorted(map(str, [*sizes, *sizes]))
    assert joint_accuracy([run], SPECS) == []


def test_the_worst_that_was_said_of_an_image_counts(run: Made) -> None:
    wrong = run[0], answering_wrong(run[1], "om bs16")
    for runs in ([run, wrong], [wrong, run]):
        assert joint(*runs).status is Status.FAIL
        assert joint(*runs, batch=1).status is not Status.FAIL


def test_one_reference_says_one_thing_of_an_image(run: Made) -> None:
    other = run[0], answering_wrong(run[1], "torch")
    with pytest.raises(DatasetError, match="contradicts itself"):
        joint(run, other)
