"""Whole runs: four workers build every artifact once, and a new model needs its TOML alone."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from conformance.check import Status
from conformance.evidence.record import read_artifacts
from conformance.spec import Architecture
from selftest.suites import ROOT, checks, outcomes, records, run_folder, run_suite
from selftest.tiny_images import write_photographs
from selftest.weights_files import SPEC, saved, untrained


def given(folder: Path, weights: Path) -> list[str]:
    """Return the options of a run on small input with a store of its own."""
    write_photographs(folder / "images")
    return [
        f"--weights={weights}",
        f"--imagenet={folder / 'images'}",
        f"--artifacts={folder / 'store'}",
        f"--evidence={folder / 'evidence'}",
    ]


def test_four_workers_build_every_artifact_once(tmp_path: Path) -> None:
    weights = saved(tmp_path / "net.pth", untrained(SPEC))
    options = given(tmp_path, weights)
    few = "whole or valid or opset or dynamic or bit_equal or finite and x1-bs1"
    done = run_suite("-n", "4", "tests/test_export.py", "-k", few, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    found = records(tmp_path / "evidence")
    assert set(outcomes(found).values()) == {Status.PASS}
    used = read_artifacts(run_folder(tmp_path / "evidence"))
    events = Counter((made.kind, made.event) for made in used)
    workers = events["checkpoint", "built"] + events["checkpoint", "found"]
    assert 2 <= workers <= 4
    assert events["checkpoint", "built"] == events["onnx_model", "built"] == 1
    assert {event for _, event in events} == {"built", "found"}
    assert {kind for kind, _ in events} == {"checkpoint", "onnx_model"}
    assert not list((tmp_path / "store/tmp").iterdir())


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the checkout tracks."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "conformance", "fixtures", "baselines", "tests",
         "*.toml", "*.py", "*.ini"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    root = tmp_path / "checkout"
    for name in filter(None, listed.stdout.split("\0")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    return root


# What differs from SqueezeNet's spec; accuracy as torchvision's model card of ResNet-18 has it.
RESNET = {
    'name = "squeezenet1_1"': 'name = "resnet18"',
    'constructor = "squeezenet1_1"': 'constructor = "resnet18"',
    '"Concat", "Conv", "Flatten", "GlobalAveragePool", "MaxPool", "Relu"': (
        '"Add", "BatchNormalization", "Conv", "Flatten", "Gemm", "GlobalAveragePool", "MaxPool", '
        '"Relu"'
    ),
    "top1_pct = 58.178": "top1_pct = 69.758",
    "top5_pct = 80.624": "top5_pct = 89.078",
}


def test_a_new_model_needs_its_toml_alone(checkout: Path, tmp_path: Path) -> None:
    text = (checkout / "models/squeezenet1_1.toml").read_text()
    for old, new in RESNET.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    (checkout / "models/resnet18.toml").write_text(text)
    resnet = Architecture(library="torchvision", constructor="resnet18")
    state = untrained(msgspec.structs.replace(SPEC, architecture=resnet))
    weights = saved(tmp_path / "net.pth", state)
    done = run_suite(
        "tests/test_export.py", "--model=resnet18", "-k", "not x1-bs2 and not x1-bs7",
        *given(tmp_path, weights), cwd=checkout,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = records(tmp_path / "evidence")
    assert set(outcomes(found).values()) == {Status.PASS}
    assert {check.coordinates["model"] for check in checks(found)} == {"resnet18"}
    assert len(outcomes(found)) > 20
