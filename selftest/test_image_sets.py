"""Sets of images: what they are, subsets alike everywhere, and names that tools keep."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.errors import DatasetError
from conformance.image_names import result_stem, stems_by_name
from conformance.imagenet.dataset import Dataset, ImageClass, LabelledImage

SUBSET_OF_FIFTY = ("i00038.JPEG", "i00042.JPEG", "i00046.JPEG")


def flat(root: Path, labels: dict[str, int], present: Sequence[str] | None = None) -> Path:
    (root / "val").mkdir(parents=True)
    for name in labels if present is None else present:
        (root / "val" / name).write_bytes(name.encode())
    text = "".join(f"{name} {label}\n" for name, label in labels.items())
    (root / "val_label.txt").write_text(text)
    return root


def made(count: int, classes: int, drawn: bool = False) -> Dataset:
    images = tuple(
        LabelledImage(f"i{n:05d}.JPEG", Path(f"i{n:05d}.JPEG"), n % classes) for n in range(count)
    )
    return Dataset(Path("root"), images, classes, drawn)


def standard(count: int = 50_000, classes: int = 1000) -> tuple[LabelledImage, ...]:
    names = [f"ILSVRC2012_val_{n + 1:08d}.JPEG" for n in range(count)]
    return tuple(LabelledImage(x, Path(x), n % classes) for n, x in enumerate(names))


def test_the_full_set_is_recognised() -> None:
    assert Dataset(Path(), standard(), 1000).image_class is ImageClass.FULL


def test_a_drawn_set_is_a_sample_whatever_its_names() -> None:
    assert Dataset(Path(), standard(), 1000, drawn=True).image_class is ImageClass.SAMPLE


def test_a_set_of_other_names_is_a_subset() -> None:
    renamed = (*standard()[:-1], LabelledImage("x.JPEG", Path("x.JPEG"), 999))
    assert Dataset(Path(), renamed, 1000).image_class is ImageClass.SUBSET


def test_an_uneven_set_is_a_subset() -> None:
    images = standard()
    uneven = (*images[:-1], LabelledImage(images[-1].name, images[-1].path, 0))
    assert Dataset(Path(), uneven, 1000).image_class is ImageClass.SUBSET


def test_one_image_short_is_a_subset() -> None:
    assert Dataset(Path(), standard()[:-1], 1000).image_class is ImageClass.SUBSET


@given(count=st.integers(1, 60), more=st.integers(0, 20), classes=st.integers(1, 12))
def test_subsets_are_even_and_nested(count: int, more: int, classes: int) -> None:
    dataset = made(80, classes)
    small, large = dataset.subset(count), dataset.subset(count + more)
    assert len(small) == count
    assert set(small.names) <= set(large.names)
    per_class = collections.Counter(small.labels.tolist())
    counts = [per_class[label] for label in range(classes)]
    assert max(counts) - min(counts) <= 1


def test_a_subset_does_not_depend_on_the_order_of_the_folder() -> None:
    dataset = made(50, 5)
    turned = Dataset(dataset.root, dataset.images[::-1], 5)
    assert dataset.subset(13).names == turned.subset(13).names
    assert list(dataset.subset(13).names) == sorted(dataset.subset(13).names)


def test_a_subset_is_fixed_for_good() -> None:
    assert made(50, 5).subset(3).names == SUBSET_OF_FIFTY


def test_a_subset_of_a_sample_is_a_sample() -> None:
    assert made(5, 5, drawn=True).subset(2).image_class is ImageClass.SAMPLE


@pytest.mark.parametrize("count", [-1, 0, 6])
def test_an_impossible_subset_is_an_error(count: int) -> None:
    with pytest.raises(DatasetError, match="1 to 5"):
        made(5, 5).subset(count)


def test_nothing_is_no_dataset() -> None:
    with pytest.raises(DatasetError, match="no images"):
        Dataset(Path(), (), 10)


def test_names_that_would_share_a_result_are_refused() -> None:
    images = tuple(LabelledImage(name, Path(name), 0) for name in ("a.JPEG", "a.png"))
    with pytest.raises(DatasetError, match=r"share one result"):
        Dataset(Path(), images, 10)


def test_repeated_names_are_refused() -> None:
    image = LabelledImage("a.JPEG", Path("a.JPEG"), 0)
    with pytest.raises(DatasetError, match="repeated"):
        Dataset(Path(), (image, image), 10)


def test_a_label_beyond_the_classes_is_refused() -> None:
    with pytest.raises(DatasetError, match="0 to 9"):
        Dataset(Path(), (LabelledImage("a.JPEG", Path("a.JPEG"), 10),), 10)


def test_a_plain_name_keeps_the_guides_stem() -> None:
    assert result_stem("ILSVRC2012_val_00000001.JPEG") == "ILSVRC2012_val_00000001"


@given(name=st.text(st.characters(exclude_characters="\0"), min_size=1))
def test_a_stem_is_safe_for_every_tool(name: str) -> None:
    stem = result_stem(name)
    assert stem
    assert stem.isascii()
    assert not set(stem) & set(". \t\n/\\")


@given(names=st.sets(st.text("ab. é/", min_size=1, max_size=6), min_size=2, max_size=8))
def test_stems_never_collide_unseen(names: set[str]) -> None:
    try:
        stems = stems_by_name(sorted(names))
    except DatasetError:
        plain = [name.partition(".")[0] for name in names]
        assert len(set(plain)) < len(plain)
    else:
        assert len(set(stems.values())) == len(names)
