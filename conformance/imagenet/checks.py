"""What must hold of the images and of the inputs made from them, as checks."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from conformance.check import Check, Status, equal, recorded
from conformance.imagenet.batches import stream_batches
from conformance.imagenet.dataset import Dataset, ImageClass, shortened
from conformance.imagenet.input_digest import (
    InputComparison,
    compare_input_digests,
    compare_inputs,
)
from conformance.imagenet.parallel import usable_cores
from conformance.imagenet.preprocess import Prepared
from conformance.spec import ModelSpec

BATCH = 16


def dataset_checks(dataset: Dataset, spec: ModelSpec, contents: Sequence[str]) -> list[Check]:
    """How many images and classes there are, and that no photograph is there twice.

    A set that contradicts itself is refused earlier.

    Args:
        dataset: The images.
        spec: The model.
        contents: The sha256 of each image file, in the dataset's order.
    """
    classes = len(set(dataset.labels.tolist()))
    basis = {"images": dataset.image_class.value}
    return [
        recorded("dataset.images", len(dataset), unit="images", detail=str(dataset.root),
                 classes=basis),
        recorded("dataset.classes", classes, unit=f"of {spec.export.classes} classes",
                 classes=basis),
        _duplicates_check(dataset, contents, basis),
    ]  # fmt: skip


def _duplicates_check(dataset: Dataset, contents: Sequence[str], basis: dict[str, str]) -> Check:
    """No two files hold the same bytes; the standard set is what it is, and is only recorded."""
    owners: dict[str, str] = {}
    pairs = [
        f"{name} is {owners[content]}"
        for name, content in zip(dataset.names, contents, strict=True)
        if owners.setdefault(content, name) != name
    ]
    made = equal(
        "dataset.duplicates",
        len(pairs),
        0,
        unit="images are copies",
        detail=shortened(pairs) if pairs else "",
        hint="one photograph under two names counts twice; restore the one that was overwritten",
        classes=basis,
    )
    if not pairs:
        return made
    full = dataset.image_class is ImageClass.FULL
    return msgspec.structs.replace(made, status=Status.PASS if full else Status.ERROR)


def input_digest_check(dataset: Dataset, spec: ModelSpec) -> Check:
    """Every input of an engine in memory is bit-equal to torchvision's own preparation."""
    batches = stream_batches(
        dataset.images,
        spec.preprocess,
        BATCH,
        workers=usable_cores(),
        title="prepare each input in two ways",
    )
    fed = (pair for batch in batches for pair in zip(batch.names, batch.tensors, strict=True))
    return _digest_check(compare_inputs(dataset.images, fed, spec.preprocess, "float32"))


def fed_files_check(
    dataset: Dataset,
    spec: ModelSpec,
    kind: Prepared,
    fed: Sequence[str],
    expected: Sequence[str],
) -> Check:
    """Every file that the inference tool was given is bit-equal to torchvision's own preparation.

    Args:
        dataset: The images.
        spec: The model.
        kind: What the files hold: ``float32``, or ``uint8`` for AIPP.
        fed: The sha256 of each file as it lay on the disk, in the dataset's order.
        expected: The sha256 of the independent preparation of each image, in the same order.
    """
    return _digest_check(
        compare_input_digests(dataset.images, fed, expected, spec.preprocess, kind)
    )


def _digest_check(found: InputComparison) -> Check:
    return equal(
        "input.digest",
        len(found.differing),
        0,
        unit=f"of {found.compared} inputs differ",
        source="torchvision's Resize, CenterCrop, ToTensor and Normalize on the same file",
        detail=found.describe(),
        hint="the inputs are wrong, whatever a model makes of them: mend the step that is named",
    )
