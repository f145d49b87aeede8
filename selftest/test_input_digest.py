"""Every deviation in preparation shows as a difference to torchvision's own transforms."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from conformance.errors import ConfigError, DatasetError
from conformance.imagenet import input_cause, preprocess
from conformance.imagenet.batches import stream_batches
from conformance.imagenet.dataset import Dataset
from conformance.imagenet.deviations import CORRECT, DEVIATIONS, Deviation, deviant_steps
from conformance.imagenet.digests import sha256_of_files
from conformance.imagenet.independent import Tensor, digests_of_chunk
from conformance.imagenet.input_digest import (
    InputComparison,
    compare_input_digests,
    compare_inputs,
    demand_same_inputs,
)
from conformance.imagenet.input_files import write_inputs
from conformance.imagenet.preprocess import Prepared, prepare_file
from conformance.imagenet.steps import content_sha256
from conformance.spec import load_spec
from selftest.photographs import PHOTOGRAPHS, drawn, needs_photographs, real_photographs

SPEC = load_spec("squeezenet1_1").preprocess
Prepare = Callable[[Path], Tensor]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return drawn(tmp_path_factory.mktemp("pictures"), 3, size=(341, 293))


def correct(path: Path) -> Tensor:
    return prepare_file(path, SPEC, "float32")


def compared(pictures: Dataset, prepare: Prepare) -> InputComparison:
    fed = ((image.name, prepare(image.path)) for image in pictures.images)
    return compare_inputs(pictures.images, fed, SPEC, "float32")


def test_equal_inputs_are_equal(pictures: Dataset) -> None:
    found = compared(pictures, correct)
    assert (found.compared, found.differing) == (3, ())
    assert "all 3 inputs" in found.describe()


def test_streamed_batches_are_what_is_compared(pictures: Dataset) -> None:
    fed = (
        (name, tensor)
        for batch in stream_batches(pictures.images, SPEC, 2)
        for name, tensor in zip(batch.names, batch.tensors, strict=True)
    )
    assert compare_inputs(pictures.images, fed, SPEC, "float32").differing == ()


def test_one_value_in_one_image_is_found_and_measured(pictures: Dataset) -> None:
    def prepare(path: Path) -> Tensor:
        tensor = correct(path).copy()
        if path.name == "drawn_001.JPEG":
            tensor[1, 2, 3] += 0.5
        return tensor

    found = compared(pictures, prepare)
    assert [(d.name, d.values) for d in found.differing] == [("drawn_001.JPEG", 1)]
    assert found.differing[0].largest == pytest.approx(0.5, abs=1e-6)
    assert "1 of 3" in found.describe()
    assert "drawn_001.JPEG" in found.describe()


def test_the_last_bit_counts(pictures: Dataset) -> None:
    def prepare(path: Path) -> Tensor:
        return np.nextafter(correct(path), np.float32(9), dtype=np.float32)

    assert len(compared(pictures, prepare).differing) == 3


def test_swapped_images_are_found(pictures: Dataset) -> None:
    paths = [image.path for image in pictures.images]
    turned = dict(zip(paths, paths[1:] + paths[:1], strict=True))
    assert len(compared(pictures, lambda path: correct(turned[path])).differing) == 3


def compared_files(pictures: Dataset, paths: Sequence[Path], kind: Prepared) -> InputComparison:
    made = digests_of_chunk(pictures.images, SPEC)
    expected = [float32 if kind == "float32" else uint8 for float32, uint8 in made]
    return compare_input_digests(pictures.images, sha256_of_files(paths), expected, SPEC, kind)


@pytest.mark.parametrize("kind", ["float32", "uint8"])
def test_files_are_compared(pictures: Dataset, tmp_path: Path, kind: Prepared) -> None:
    paths = write_inputs(pictures.images, tmp_path, SPEC, kind)
    assert compared_files(pictures, paths, kind).differing == ()
    content = bytearray(paths[2].read_bytes())
    content[1000] ^= 1
    paths[2].write_bytes(content)
    found = compared_files(pictures, paths, kind)
    assert [difference.name for difference in found.differing] == [pictures.names[2]]
    assert "1 of 3 inputs differ" in found.describe()
    assert found.cause.startswith("first step that differs: feeding")


@pytest.mark.parametrize("content", [None, b"", b"\0" * 602_116, b"\0" * 602_111])
def test_a_missing_or_wrong_file_is_named(
    pictures: Dataset, tmp_path: Path, content: bytes | None
) -> None:
    paths = write_inputs(pictures.images, tmp_path, SPEC, "float32")
    if content is None:
        paths[1].unlink()
        with pytest.raises(DatasetError, match=paths[1].name):
            compared_files(pictures, paths, "float32")
        return
    paths[1].write_bytes(content)
    found = compared_files(pictures, paths, "float32")
    assert [difference.name for difference in found.differing] == [pictures.names[1]]


@pytest.mark.parametrize("count", [0, 2, 4])
def test_every_image_needs_the_digest_of_one_file(pictures: Dataset, count: int) -> None:
    for fed, expected in ((count, 3), (3, count)):
        with pytest.raises(DatasetError, match="do not belong together"):
            compare_input_digests(pictures.images, ["0"] * fed, ["0"] * expected, SPEC, "uint8")


def test_inputs_of_a_later_run_are_those_of_the_first(pictures: Dataset) -> None:
    demand_same_inputs(pictures.images, ["a", "b", "c"], ["a", "b", "c"])
    with pytest.raises(DatasetError, match=pictures.names[1]):
        demand_same_inputs(pictures.images, ["a", "B", "c"], ["a", "b", "c"])
    with pytest.raises(DatasetError, match="do not belong together"):
        demand_same_inputs(pictures.images, ["a", "b"], ["a", "b"])


@pytest.mark.parametrize("kind", ["float32", "uint8"])
def test_the_deviation_of_files_is_named(pictures: Dataset, kind: Prepared) -> None:
    shifted = next(deviation for deviation in DEVIATIONS if deviation.shift)
    last = "normalise" if kind == "float32" else "uint8"
    made = [deviant_steps(image.path, SPEC, shifted) for image in pictures.images]
    fed = [content_sha256(getattr(steps, last)) for steps in made]
    found = compare_input_digests(pictures.images, fed, ["0"] * 3, SPEC, kind)
    assert "crop, like «crop one pixel to the right»" in found.describe()


def test_without_torchvision_the_cause_says_so(
    pictures: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_given: object) -> None:
        raise ConfigError("torchvision cannot be imported")

    planes = preprocess.crop_planes
    monkeypatch.setattr(preprocess, "crop_planes", lambda *given: planes(*given) // 2)
    monkeypatch.setattr(input_cause, "independent_steps", missing)
    fed = [content_sha256(correct(image.path)) for image in pictures.images]
    found = compare_input_digests(pictures.images, fed, ["0"] * 3, SPEC, "float32")
    assert "not known without torchvision" in found.cause


def test_comparing_nothing_is_an_error() -> None:
    with pytest.raises(DatasetError, match="nothing to compare"):
        compare_inputs((), (), SPEC, "float32")


@pytest.mark.parametrize("change", ["lost", "extra", "order"])
def test_every_image_must_be_fed_once_in_order(pictures: Dataset, change: str) -> None:
    names = list(pictures.names)
    names = {"lost": names[:-1], "extra": [*names, "more"], "order": names[::-1]}[change]

    def feed() -> Iterator[tuple[str, Tensor]]:
        for name in names:
            yield name, correct(pictures.images[0].path)

    with pytest.raises(DatasetError, match="do not belong together"):
        compare_inputs(pictures.images, feed(), SPEC, "float32")


def test_another_form_is_an_error(pictures: Dataset) -> None:
    with pytest.raises(DatasetError, match="wrong form"):
        compared(pictures, lambda path: correct(path).transpose(1, 2, 0))


# Neither drawn pictures nor the photographs here ask to be turned.
STRAIGHT = [deviation for deviation in DEVIATIONS if not deviation.exif]


def prepare(path: Path, deviation: Deviation) -> Tensor:
    return deviant_steps(path, SPEC, deviation).normalise


@pytest.mark.parametrize("deviation", STRAIGHT, ids=lambda deviation: deviation.name)
def test_deviations_are_found_and_named(tmp_path: Path, deviation: Deviation) -> None:
    # Large enough for draft mode to shrink, and of a shape for which every rounding matters.
    picture = drawn(tmp_path, 1, size=(1202, 1000))
    found = compared(picture, lambda path: prepare(path, deviation))
    assert len(found.differing) == 1
    told = f"first step that differs: {deviation.step}, like «{deviation.name}»"
    assert told in found.describe()


def test_a_step_that_is_no_known_deviation_is_named(
    pictures: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    planes = preprocess.crop_planes
    monkeypatch.setattr(preprocess, "crop_planes", lambda *given: planes(*given) // 2)
    found = compared(pictures, correct)
    assert found.cause == "first step that differs: crop"


def test_a_fault_behind_the_preparation_is_told_from_one_in_it(pictures: Dataset) -> None:
    found = compared(pictures, lambda path: np.multiply(correct(path), np.float32(2)))
    assert found.cause.startswith("first step that differs: feeding")


# Every deviation changes the first of these photographs; the other is of a shape for which no
# rounding of the long side or of the crop's offset is left to be done wrong.
TELLING, EVEN = "n03617480_kimono.JPEG", "n01622779_great_grey_owl.JPEG"
ROUNDINGS = ("crop offset by floor, not round", "long side rounded, not truncated")


@needs_photographs
@pytest.mark.parametrize("deviation", [CORRECT, *STRAIGHT], ids=lambda deviation: deviation.name)
def test_deviations_are_found_on_photographs(deviation: Deviation) -> None:
    every = {image.name: image for image in real_photographs().images}
    photographs = Dataset(PHOTOGRAPHS, (every[TELLING], every[EVEN]), 1000)
    found = compared(photographs, lambda path: prepare(path, deviation))
    expected = {TELLING} if deviation.name in ROUNDINGS else {TELLING, EVEN}
    assert {difference.name for difference in found.differing} == (
        set() if deviation is CORRECT else expected
    )
