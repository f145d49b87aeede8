"""Scores beyond their bound are explained by what the model was fed, and by nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conformance.explain_inputs import InputTrial
from conformance.imagenet.preprocess import open_rgb, prepare_image
from conformance.predictions import Predictions
from conformance.runners.in_memory import run_rows_with_onnxruntime
from selftest.emulated import classifier
from selftest.hosts import DrawnBuilder, machine, small_spec
from selftest.photographs import drawn

SPEC = small_spec()
EPSILON = 1e-3


@pytest.fixture
def builder(tmp_path: Path) -> DrawnBuilder:
    made = DrawnBuilder(machine(tmp_path).host("run").config, tmp_path / "run")
    made.images = drawn(tmp_path / "images", 3)
    return made


def explained(builder: DrawnBuilder, *, exchanged: bool = False, spoilt: int | None = None) -> str:
    """What is said of scores on inputs that are right, or have red and blue exchanged."""
    prepare, images = SPEC.preprocess, builder.images
    inputs = [prepare_image(open_rgb(image.path, prepare), prepare) for image in images.images]
    if exchanged:
        inputs = [tensor[::-1].copy() for tensor in inputs]
    scores = run_rows_with_onnxruntime(builder.onnx_model(SPEC), inputs, batch=1)
    if spoilt is not None:
        scores[spoilt] += 1
    found = Predictions(images.names, scores, images.labels)
    return InputTrial(builder, SPEC).explain(found, EPSILON)


def test_exchanged_channels_are_named(builder: DrawnBuilder) -> None:
    assert explained(builder, exchanged=True).endswith(
        "with this mistake: red and blue exchanged behind the normalisation"
    )


def test_right_inputs_are_blamed_for_nothing(builder: DrawnBuilder) -> None:
    assert explained(builder) == ""
    assert explained(builder, spoilt=2) == "", "what is wrong lies in other images"


def test_what_no_mistake_explains_is_left_open(builder: DrawnBuilder) -> None:
    assert explained(builder, spoilt=0) == ""


@pytest.mark.parametrize("content", [b"no model", classifier(batch=16).SerializeToString()])
def test_a_model_that_cannot_be_tried_explains_nothing(
    builder: DrawnBuilder, content: bytes
) -> None:
    found = Predictions(
        builder.images.names, np.zeros((3, 1000), np.float32), builder.images.labels
    )
    builder.onnx_model(SPEC).write_bytes(content)
    assert InputTrial(builder, SPEC).explain(found, EPSILON) == ""
