"""What must hold of the images and of the inputs made from them, as checks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import msgspec

from conformance.bounds import suite_bound, suite_source
from conformance.check import Check, Status, at_most, equal, recorded
from conformance.imagenet.batches import stream_batches
from conformance.imagenet.dataset import Dataset, ImageClass, shortened
from conformance.imagenet.input_digest import (
    InputComparison,
    compare_input_digests,
    compare_inputs,
)
from conformance.imagenet.parallel import usable_cores
from conformance.imagenet.preprocess import Floats, Prepared
from conformance.spec import ModelSpec

BATCH = 16
FULL_COPIES = "dataset.full_copies"


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
    """No two files hold the same bytes, but for those of the standard set itself."""
    return _copies_check("dataset.duplicates", dataset, contents, classes=basis)


def _copies_check(
    check_id: str,
    dataset: Dataset,
    digests: Sequence[str],
    *,
    classes: dict[str, str] | None = None,
) -> Check:
    """State that no two images have one digest; the standard set may have its known copies.

    Args:
        check_id: The check.
        dataset: The images.
        digests: What is compared, one an image, in the dataset's order.
        classes: What the check rests on, where its test does not tell.
    """
    owners: dict[str, str] = {}
    pairs = [
        f"{name} is {owners[digest]}"
        for name, digest in zip(dataset.names, digests, strict=True)
        if owners.setdefault(digest, name) != name
    ]
    full = dataset.image_class is ImageClass.FULL
    made = at_most(
        check_id,
        len(pairs),
        int(suite_bound(FULL_COPIES)) if full else 0,
        unit="images are copies",
        source=suite_source(FULL_COPIES) if full else "one photograph, one name",
        detail=shortened(pairs) if pairs else "",
        hint="one photograph under two names counts twice; restore the one that was overwritten"
        if pairs
        else "",
        classes=classes or {},
    )
    wrong = made.status is Status.FAIL
    return msgspec.structs.replace(made, status=Status.ERROR) if wrong else made


def input_checks(dataset: Dataset, spec: ModelSpec) -> list[Check]:
    """Every input in memory is bit-equal to torchvision's preparation, and no two are one picture.

    A copy with other bytes, such as one more at its end, is decoded to the same input.
    """
    digests: list[str] = []
    found = _compared(dataset, spec, digests)
    return [_digest_check(found), _copies_check("input.duplicates", dataset, digests)]


def _compared(dataset: Dataset, spec: ModelSpec, digests: list[str]) -> InputComparison:
    """Compare every input with an independent preparation; fills in the inputs' digests."""
    batches = stream_batches(
        dataset.images,
        spec.preprocess,
        BATCH,
        workers=usable_cores(),
        title="prepare each input in two ways",
    )

    def fed() -> Iterator[tuple[str, Floats]]:
        for batch in batches:
            for name, tensor in zip(batch.names, batch.tensors, strict=True):
                digests.append(hashlib.blake2b(tensor, digest_size=16).hexdigest())
                yield name, tensor

    return compare_inputs(dataset.images, fed(), spec.preprocess, "float32")


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
