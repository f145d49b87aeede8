"""What must hold of the images and of the inputs made from them, as checks."""

from __future__ import annotations

from conformance.check import Check, equal, recorded
from conformance.imagenet.batches import stream_batches
from conformance.imagenet.dataset import Dataset
from conformance.imagenet.input_digest import compare_inputs
from conformance.imagenet.parallel import usable_cores
from conformance.spec import ModelSpec

BATCH = 16


def dataset_checks(dataset: Dataset, spec: ModelSpec) -> list[Check]:
    """How many images and classes there are; a set that contradicts itself is refused earlier."""
    classes = len(set(dataset.labels.tolist()))
    basis = {"images": dataset.image_class.value}
    return [
        recorded("dataset.images", len(dataset), unit="images", detail=str(dataset.root),
                 classes=basis),
        recorded("dataset.classes", classes, unit=f"of {spec.export.classes} classes",
                 classes=basis),
    ]  # fmt: skip


def input_digest_check(dataset: Dataset, spec: ModelSpec) -> Check:
    """Every input is bit-equal to torchvision's own preparation of the same file."""
    batches = stream_batches(
        dataset.images, spec.preprocess, BATCH, workers=usable_cores(), title="inputs"
    )
    fed = (pair for batch in batches for pair in zip(batch.names, batch.tensors, strict=True))
    found = compare_inputs(dataset.images, fed, spec.preprocess, "float32")
    return equal(
        "input.digest",
        len(found.differing),
        0,
        unit=f"of {found.compared} inputs differ",
        source="torchvision's Resize, CenterCrop, ToTensor and Normalize on the same file",
        detail=found.describe(),
        hint="compare resize, crop and normalisation with the model's [preprocess] table",
    )
