"""Photographs to accuracy: are the inputs right, and does every engine see in them the same?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from conformance.build import Builder
from conformance.explain_inputs import InputTrial
from conformance.float16 import AllowedError
from conformance.imagenet.checks import dataset_checks, input_checks
from conformance.imagenet.passport_checks import passport_check
from conformance.independent_inputs import fed_inputs_check
from conformance.measure_om import OmMeasurement, OmMeasurer
from conformance.measure_rows import RowMeasurer
from conformance.metrics import accuracy, om_checks
from conformance.metrics.batch_checks import batch_checks
from conformance.metrics.topn import count_topn
from conformance.om_key import OmKey
from conformance.spec import ModelSpec
from fixtures.board import UsedChip
from fixtures.claims import Claim
from fixtures.om_measurements import measured, row_run
from fixtures.options import Run

if TYPE_CHECKING:
    from conformance.export.checkpoint import Checkpoint
    from conformance.imagenet.dataset import Dataset
    from conformance.measure import Measurer
    from conformance.metrics.row_trial import RowMeasurement
    from conformance.predictions import Predictions


@pytest.mark.states("dataset.images", "dataset.classes", "dataset.duplicates")
def test_dataset_is_whole(builder: Builder, spec: ModelSpec, claim: Claim) -> None:
    """Every image has one label and every label an image; what the set is, is derived."""
    claim(*dataset_checks(builder.dataset(spec), spec, builder.image_contents(spec)))


@pytest.mark.states("input.passport")
@pytest.mark.usefixtures("image_libraries")
def test_this_build_prepares_pictures_as_its_passport_says(spec: ModelSpec, claim: Claim) -> None:
    """After each step, embedded pictures are what they were where the figures were measured."""
    claim(passport_check(spec.preprocess))


@pytest.mark.states("input.digest", "input.duplicates")
@pytest.mark.usefixtures("heavy_step")
def test_inputs_equal_an_independent_preparation(
    dataset: Dataset, spec: ModelSpec, claim: Claim
) -> None:
    """Image by image, what engines in memory are fed equals torchvision's own preparation."""
    claim(*input_checks(dataset, spec))


@pytest.mark.states("accuracy.control.top1", "accuracy.control.top5")
def test_pytorch_reproduces_the_published_accuracy(
    checkpoint: Checkpoint,
    dataset: Dataset,
    spec: ModelSpec,
    reference_predictions: Predictions,
    claim: Claim,
) -> None:
    """The control: on these images and labels PyTorch is as good as its model card says."""
    claim(
        *accuracy.on_full_set(
            "accuracy.control", spec, checkpoint.weights_class, dataset.image_class,
            lambda: accuracy.control_checks(count_topn(reference_predictions), spec),
        )
    )  # fmt: skip


@pytest.mark.states("accuracy.onnx.top1", "accuracy.onnx.top5")
def test_onnx_keeps_the_published_accuracy(
    checkpoint: Checkpoint,
    dataset: Dataset,
    spec: ModelSpec,
    onnx_predictions: Predictions,
    claim: Claim,
) -> None:
    """The exported model stays within the allowed drop, before any board has seen it."""
    topn = count_topn(onnx_predictions)
    claim(
        *accuracy.on_full_set(
            "accuracy.onnx", spec, checkpoint.weights_class, dataset.image_class,
            lambda: accuracy.published_checks(topn, spec, "accuracy.onnx"),
        )
    )  # fmt: skip


@pytest.mark.states(*(f"accuracy.reference.top{n}" for n in range(1, 6)))
def test_onnxruntime_counts_like_pytorch(
    reference_predictions: Predictions,
    onnx_predictions: Predictions,
    float32_bound: float,
    claim: Claim,
) -> None:
    """Top1 to Top5 hits differ by no more than the images that rounding can move."""
    claim(*accuracy.count_checks(onnx_predictions, reference_predictions, float32_bound))


@pytest.mark.batched
@pytest.mark.states("accuracy.batch.scores", "accuracy.batch.decisions", "accuracy.batch.hits")
def test_batch_sizes_agree_image_by_image(
    measurer: Measurer,
    spec: ModelSpec,
    other_batch: int,
    reference_predictions: Predictions,
    onnx_predictions: Predictions,
    float32_bound: float,
    claim: Claim,
) -> None:
    """An image's scores do not depend on the batch size that it is inferred with."""
    other = measurer.onnx(spec, other_batch)
    claim(*batch_checks(
        reference_predictions, onnx_predictions, other, float32_bound, "accuracy.batch"
    ))  # fmt: skip


@pytest.mark.batched
@pytest.mark.states(
    "accuracy.rows.identical", "accuracy.rows.permuted", "accuracy.rows.neighbours",
    "accuracy.rows.partial",
)  # fmt: skip
def test_rows_do_not_depend_on_their_batch(
    onnx_rows: RowMeasurement, float32_bound: float, claim: Claim
) -> None:
    """Neither its place, its neighbours nor a batch that is not full changes an image's scores."""
    source = "4 times the largest error of PyTorch's own float32"
    claim(*onnx_rows.checks(float32_bound, source, "accuracy.rows"))


@pytest.mark.states("accuracy.labels")
def test_labels_belong_to_the_images(reference_predictions: Predictions, claim: Claim) -> None:
    """Labels shifted by one class leave every file whole; PyTorch's answers tell."""
    claim(accuracy.labels_check(reference_predictions))


@pytest.mark.states("accuracy.classes", "accuracy.classes.largest_share")
def test_answers_have_not_collapsed(onnx_predictions: Predictions, claim: Claim) -> None:
    """The answers are about as many classes as the labels: they depend on the images."""
    claim(*accuracy.collapse_checks(onnx_predictions))


@pytest.mark.npu
@pytest.mark.every_variant
@pytest.mark.states("om.images")
@pytest.mark.usefixtures("om_model", "dataset")
def test_om_infers_every_image(
    om_measurer: OmMeasurer, spec: ModelSpec, om_key: OmKey, chip: UsedChip, claim: Claim
) -> None:
    """The tool leaves one whole, fresh and finite result for each image, and nothing else."""
    claim(om_checks.images_check(measured(om_measurer, spec, om_key, chip.soc).predictions))


@pytest.mark.npu
@pytest.mark.every_variant
@pytest.mark.states("input.digest")
def test_files_fed_to_the_chip_equal_an_independent_preparation(
    om_measurement: OmMeasurement, builder: Builder, spec: ModelSpec, om_key: OmKey, claim: Claim
) -> None:
    """Image by image, each file that the tool was given equals torchvision's own preparation."""
    claim(fed_inputs_check(builder, spec, om_key.variant, om_measurement.inputs))


@pytest.mark.npu
@pytest.mark.every_variant
@pytest.mark.states("agreement.scores", "agreement.decisions", "agreement.flips")
def test_om_agrees_with_pytorch(
    om_measurement: OmMeasurement,
    reference_predictions: Predictions,
    input_trial: InputTrial,
    allowed: AllowedError,
    claim: Claim,
) -> None:
    """Image by image, the chip says what PyTorch says, within what float16 may change."""
    claim(*om_checks.om_agreement_checks(
        reference_predictions, om_measurement.predictions, epsilon=allowed.epsilon,
        decision_epsilon=allowed.decision_epsilon, source=allowed.source,
        explain=input_trial.explain,
    ))  # fmt: skip


@pytest.mark.npu
@pytest.mark.states("accuracy.om.top1", "accuracy.om.top5",
                    "accuracy.published.top1", "accuracy.published.top5")  # fmt: skip
@pytest.mark.usefixtures("chip")
def test_om_keeps_the_published_accuracy(
    checkpoint: Checkpoint,
    dataset: Dataset,
    spec: ModelSpec,
    om_measurement: OmMeasurement,
    claim: Claim,
) -> None:
    """On the full set the ``.om`` drops at most one point below the published figure."""
    topn = count_topn(om_measurement.predictions)
    claim(
        *om_checks.accuracy_records(topn),
        *accuracy.on_full_set(
            "accuracy.published", spec, checkpoint.weights_class, dataset.image_class,
            lambda: accuracy.published_checks(topn, spec, "accuracy.published"),
        ),
    )  # fmt: skip


@pytest.mark.npu
@pytest.mark.states("accuracy.paired.top1", "accuracy.paired.top5")
def test_om_loses_no_accuracy_against_pytorch(
    om_measurement: OmMeasurement,
    reference_predictions: Predictions,
    spec: ModelSpec,
    run: Run,
    claim: Claim,
) -> None:
    """On the same images; a few hundred of them cannot decide a point, and it says so."""
    claim(*om_checks.paired_checks(
        reference_predictions, om_measurement.predictions, spec.accuracy.max_drop_points,
        once=run.config.looks == "once",
    ))  # fmt: skip


@pytest.mark.npu
@pytest.mark.every_variant
@pytest.mark.batched
@pytest.mark.states("agreement.batch.scores", "agreement.batch.decisions", "agreement.batch.hits")
def test_om_batch_sizes_agree_image_by_image(
    om_measurement: OmMeasurement,
    first_measurement: OmMeasurement,
    reference_predictions: Predictions,
    allowed: AllowedError,
    claim: Claim,
) -> None:
    """An image's scores on the chip do not depend on the batch size that it is inferred with."""
    first, other = first_measurement.predictions, om_measurement.predictions
    claim(*batch_checks(
        reference_predictions, first, other, allowed.epsilon, "agreement.batch"
    ))  # fmt: skip


@pytest.mark.npu
@pytest.mark.every_variant
@pytest.mark.batched
@pytest.mark.states(
    "agreement.rows.identical", "agreement.rows.permuted", "agreement.rows.neighbours",
    "agreement.rows.partial",
)  # fmt: skip
@pytest.mark.usefixtures("om_measurement")
def test_om_rows_do_not_depend_on_their_batch(
    row_measurer: RowMeasurer, spec: ModelSpec, om_key: OmKey, chip: UsedChip,
    allowed: AllowedError, claim: Claim,
) -> None:  # fmt: skip
    """Neither its place, its neighbours nor a batch that is not full changes an image's scores."""
    rows = row_run(row_measurer, spec, om_key, chip.soc)
    claim(*rows.checks(
        allowed.epsilon, allowed.source, "agreement.rows",
        same_place=allowed.same_place, same_place_source=allowed.same_place_source,
    ))  # fmt: skip
