"""One photograph under two names: found by its bytes, and by its picture where these differ."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest

from conformance.check import Check, Direction, Status
from conformance.imagenet.checks import dataset_checks, input_checks
from conformance.imagenet.dataset import Dataset, ImageClass
from conformance.spec import load_spec
from selftest.photographs import drawn

SPEC = load_spec("squeezenet1_1")


class Standard:
    """Stands for the 50,000 standard images."""

    image_class = ImageClass.FULL
    root = Path("imagenet")

    def __init__(self, count: int) -> None:
        self.names = tuple(f"ILSVRC2012_val_{number:08}.JPEG" for number in range(count))
        self.labels = np.arange(count)

    def __len__(self) -> int:
        return len(self.names)


def on_the_full_set(copies: int) -> Check:
    digests = [*map(str, range(1000)), *["0"] * copies]
    dataset = cast("Dataset", Standard(len(digests)))
    return dataset_checks(dataset, SPEC, digests)[-1]


@pytest.mark.parametrize(
    ("copies", "status"), [(0, Status.PASS), (29, Status.PASS), (30, Status.ERROR)]
)
def test_the_standard_set_may_have_the_copies_that_are_known_of_it(
    copies: int, status: Status
) -> None:
    made = on_the_full_set(copies)
    assert (made.status, made.value, made.bound) == (status, copies, 29)
    assert made.direction is Direction.AT_MOST
    assert "issue 8" in made.source
    assert ("ILSVRC2012_val_00001000.JPEG is ILSVRC2012_val_00000000.JPEG" in made.detail) == (
        copies > 0
    )


@pytest.mark.parametrize("more", [b"", b"\0"])
def test_a_copy_is_found_by_its_bytes_or_by_its_picture(tmp_path: Path, more: bytes) -> None:
    dataset = drawn(tmp_path, 3, (300, 260))
    sound = {check.id: check.status for check in input_checks(dataset, SPEC)}
    assert sound == {"input.digest": Status.PASS, "input.duplicates": Status.PASS}
    first, second, _ = dataset.images
    second.path.write_bytes(first.path.read_bytes() + more)
    files = dataset_checks(dataset, SPEC, dataset.contents())[-1]
    assert files.status is (Status.PASS if more else Status.ERROR)
    pictures = {check.id: check for check in input_checks(dataset, SPEC)}
    assert pictures["input.digest"].status is Status.PASS
    assert pictures["input.duplicates"].status is Status.ERROR
    assert f"{second.name} is {first.name}" in pictures["input.duplicates"].detail
