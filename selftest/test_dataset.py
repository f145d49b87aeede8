"""Folders of images: layouts, classes, subsets, digests, and what goes wrong with them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from conformance.config import resolve
from conformance.errors import ConfigError, DatasetError
from conformance.imagenet.dataset import ImageClass
from conformance.imagenet.folders import open_dataset


def flat(root: Path, labels: dict[str, int], present: Sequence[str] | None = None) -> Path:
    (root / "val").mkdir(parents=True)
    for name in labels if present is None else present:
        (root / "val" / name).write_bytes(name.encode())
    text = "".join(f"{name} {label}\n" for name, label in labels.items())
    (root / "val_label.txt").write_text(text)
    return root


def synsets(root: Path, files: dict[str, list[str]]) -> Path:
    for folder, names in files.items():
        (root / folder).mkdir(parents=True)
        for name in names:
            (root / folder / name).write_bytes(b"x")
    return root


def test_flat_layout_is_read_in_name_order(tmp_path: Path) -> None:
    dataset = open_dataset(flat(tmp_path, {"b.JPEG": 1, "a.JPEG": 0}), 10)
    assert dataset.names == ("a.JPEG", "b.JPEG")
    assert dataset.labels.tolist() == [0, 1]
    assert dataset.images[0].path == tmp_path / "val" / "a.JPEG"
    assert dataset.image_class is ImageClass.SUBSET


@pytest.mark.parametrize("below", ["", "val"])
def test_synset_folders_are_classes_in_sorted_order(tmp_path: Path, below: str) -> None:
    synsets(tmp_path / below, {"n02": ["c.jpg"], "n01": ["b.JPEG", "a.png"]})
    dataset = open_dataset(tmp_path, 2)
    assert dict(zip(dataset.names, dataset.labels.tolist(), strict=True)) == {
        "a.png": 0,
        "b.JPEG": 0,
        "c.jpg": 1,
    }


def test_names_repeated_between_synsets_carry_their_folder(tmp_path: Path) -> None:
    dataset = open_dataset(synsets(tmp_path, {"n1": ["0.jpg"], "n2": ["0.jpg"]}), 2)
    assert dataset.names == ("n1/0.jpg", "n2/0.jpg")


@pytest.mark.parametrize("count", [1, 3])
def test_a_wrong_number_of_synsets_would_shift_the_classes(tmp_path: Path, count: int) -> None:
    synsets(tmp_path, {f"n{n}": ["a.jpg"] for n in range(count)})
    with pytest.raises(DatasetError, match="exactly 2"):
        open_dataset(tmp_path, 2)


def test_an_empty_synset_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="n2"):
        open_dataset(synsets(tmp_path, {"n1": ["a.jpg"], "n2": []}), 2)


def test_a_stray_file_in_a_synset_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"\.DS_Store"):
        open_dataset(synsets(tmp_path, {"n1": ["a.jpg"], "n2": [".DS_Store"]}), 2)


def test_an_image_without_label_is_named(tmp_path: Path) -> None:
    root = flat(tmp_path, {"a.JPEG": 0}, present=["a.JPEG", "b.JPEG"])
    with pytest.raises(DatasetError, match=r"without a label[\s\S]*b\.JPEG"):
        open_dataset(root, 10)


def test_a_label_without_image_is_named(tmp_path: Path) -> None:
    root = flat(tmp_path, {"a.JPEG": 0, "b.JPEG": 1}, present=["a.JPEG"])
    with pytest.raises(DatasetError, match=r"without an image[\s\S]*b\.JPEG"):
        open_dataset(root, 10)


def test_images_without_any_label_file_say_where_it_belongs(tmp_path: Path) -> None:
    flat(tmp_path, {"a.JPEG": 0})
    (tmp_path / "val_label.txt").unlink()
    with pytest.raises(DatasetError, match=r"val_label\.txt"):
        open_dataset(tmp_path, 10)


def test_a_folder_among_the_images_is_named(tmp_path: Path) -> None:
    root = flat(tmp_path, {"a.JPEG": 0})
    (root / "val" / "more").mkdir()
    with pytest.raises(DatasetError, match="more"):
        open_dataset(root, 10)


@pytest.mark.parametrize("empty", ["", "val"])
def test_an_empty_folder_is_an_error(tmp_path: Path, empty: str) -> None:
    (tmp_path / empty).mkdir(exist_ok=True)
    with pytest.raises(DatasetError, match="empty"):
        open_dataset(tmp_path, 10)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    with pytest.raises(DatasetError, match=f"(?m)does not exist: {nowhere}$"):
        open_dataset(nowhere / "imagenet", 10)


@pytest.fixture
def ordinary_user() -> Iterator[None]:
    """Act as nobody where the tests run as the superuser, who may enter every folder."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    yield
    os.seteuid(before)


@pytest.mark.usefixtures("ordinary_user")
def test_a_closed_parent_is_named(closed: Path) -> None:
    with pytest.raises(DatasetError, match=f"(?m)may not be entered: {closed}$"):
        open_dataset(closed / "imagenet", 10)


@pytest.mark.usefixtures("ordinary_user")
def test_an_option_names_the_closed_parent(closed: Path) -> None:
    with pytest.raises(ConfigError, match=f"(?m)may not be entered: {closed}$"):
        resolve({"imagenet": str(closed / "imagenet")}, rootdir=closed, environ={"HOME": "/"})


@pytest.fixture
def closed() -> Iterator[Path]:
    """A folder without permissions in one that everybody may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "closed"
        path.mkdir(mode=0)
        yield path


@pytest.mark.parametrize("layout", ["labelled", "synsets", "in a synset"])
def test_a_link_in_a_circle_is_named(tmp_path: Path, layout: str) -> None:
    folder = tmp_path / "val" / ("n0" if layout == "in a synset" else "")
    folder.mkdir(parents=True)
    (folder / "loop.JPEG").symlink_to("loop.JPEG")
    if layout == "labelled":
        (tmp_path / "val_label.txt").write_text("loop.JPEG 0\n")
    with pytest.raises(DatasetError, match=r"cannot be looked at[\s\S]*loop\.JPEG"):
        open_dataset(tmp_path, 1)


def test_a_link_into_a_closed_folder_is_named(closed: Path, request: pytest.FixtureRequest) -> None:
    root = closed.parent / "imagenet"
    flat(root, {"a.JPEG": 3}, [])
    (root / "val" / "a.JPEG").symlink_to(closed / "a.JPEG")
    request.getfixturevalue("ordinary_user")
    with pytest.raises(DatasetError, match=f"(?m)may not be entered: {closed}$") as caught:
        open_dataset(root, 10)
    assert "cannot be looked at" in str(caught.value)
