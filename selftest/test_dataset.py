"""Folders of images: layouts, classes, subsets, digests, and what goes wrong with them."""

from __future__ import annotations

import collections
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.config import resolve
from conformance.errors import ConfigError, DatasetError
from conformance.image_names import result_stem, stems_by_name
from conformance.imagenet import digests
from conformance.imagenet.dataset import Dataset, ImageClass, LabelledImage
from conformance.imagenet.folders import open_dataset

CHECKOUT = Path(__file__).resolve().parents[1]

SUBSET_OF_FIFTY = ("i00038.JPEG", "i00042.JPEG", "i00046.JPEG")


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


def made(count: int, classes: int, drawn: bool = False) -> Dataset:
    images = tuple(
        LabelledImage(f"i{n:05d}.JPEG", Path(f"i{n:05d}.JPEG"), n % classes) for n in range(count)
    )
    return Dataset(Path("root"), images, classes, drawn)


def standard(count: int = 50_000, classes: int = 1000) -> tuple[LabelledImage, ...]:
    names = [f"ILSVRC2012_val_{n + 1:08d}.JPEG" for n in range(count)]
    return tuple(LabelledImage(x, Path(x), n % classes) for n, x in enumerate(names))


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


def test_the_digest_sees_name_label_and_content(tmp_path: Path) -> None:
    root = flat(tmp_path, {"a.JPEG": 0, "b.JPEG": 1})
    dataset = open_dataset(root, 10)
    before = dataset.digest()
    assert before == open_dataset(root, 10).digest()
    assert before != open_dataset(flat(tmp_path / "l", {"a.JPEG": 0, "b.JPEG": 2}), 10).digest()
    assert before != open_dataset(flat(tmp_path / "n", {"a.JPEG": 0, "c.JPEG": 1}), 10).digest()
    (root / "val" / "a.JPEG").write_bytes(b"other")
    assert before != dataset.digest()


@pytest.fixture
def settled(tmp_path: Path) -> Path:
    path = tmp_path / "a.JPEG"
    path.write_bytes(b"first")
    os.utime(path, ns=(10**18, 10**18))
    return path


def test_a_settled_file_is_not_read_twice(settled: Path, tmp_path: Path) -> None:
    cache = tmp_path / "deep" / "digests.sqlite"
    first = digests.sha256_of_files([settled], cache_file=cache)
    facts = settled.stat()
    with settled.open("r+b") as file:  # the same size, time and inode, so the cache must answer
        file.write(b"other")
    os.utime(settled, ns=(facts.st_mtime_ns, facts.st_mtime_ns))
    assert digests.sha256_of_files([settled], cache_file=cache) == first
    assert digests.sha256_of_files([settled], cache_file=cache, fresh=True) != first
    assert digests.sha256_of_files([settled], cache_file=cache) != first


def test_a_changed_time_is_noticed(settled: Path, tmp_path: Path) -> None:
    cache = tmp_path / "digests.sqlite"
    first = digests.sha256_of_files([settled], cache_file=cache)
    settled.write_bytes(b"other")
    assert digests.sha256_of_files([settled], cache_file=cache) != first


def test_a_file_just_written_is_not_remembered(tmp_path: Path) -> None:
    path, cache = tmp_path / "a.JPEG", tmp_path / "digests.sqlite"
    path.write_bytes(b"new")
    digests.sha256_of_files([path], cache_file=cache)
    with sqlite3.connect(cache) as connection:
        assert connection.execute("SELECT count(*) FROM digests").fetchone() == (0,)


def test_a_file_that_changes_while_others_are_read_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, cache = tmp_path / "a.JPEG", tmp_path / "digests.sqlite"
    path.write_bytes(b"AAAA")
    now_ns = path.stat().st_mtime_ns
    digest = digests._sha256

    def slow(identity: digests.FileIdentity) -> str:
        found = digest(identity)
        path.write_bytes(b"BBBB")  # within one tick of the clock, so that its time stays
        os.utime(path, ns=(now_ns, now_ns))
        # Thousands of other files take until long after.
        monkeypatch.setattr(time, "time_ns", lambda: now_ns + 10**10)
        return found

    monkeypatch.setattr(time, "time_ns", lambda: now_ns)
    monkeypatch.setattr(digests, "_sha256", slow)
    digests.sha256_of_files([path], cache_file=cache)
    monkeypatch.setattr(digests, "_sha256", digest)
    remembered = digests.sha256_of_files([path], cache_file=cache)
    assert remembered == digests.sha256_of_files([path])


def test_a_path_that_is_no_text_is_remembered(tmp_path: Path) -> None:
    folder, cache = tmp_path / os.fsdecode(b"imag\xe9net"), tmp_path / "digests.sqlite"
    folder.mkdir()
    path = folder / "a.JPEG"
    path.write_bytes(b"AAAA")
    os.utime(path, (1e9, 1e9))
    first = digests.sha256_of_files([path], cache_file=cache)
    path.write_bytes(b"BBBB")
    os.utime(path, (1e9, 1e9))
    assert digests.sha256_of_files([path], cache_file=cache) == first


@pytest.mark.parametrize("layout", ["labelled", "synsets", "in a synset"])
def test_a_link_in_a_circle_is_named(tmp_path: Path, layout: str) -> None:
    folder = tmp_path / "val" / ("n0" if layout == "in a synset" else "")
    folder.mkdir(parents=True)
    (folder / "loop.JPEG").symlink_to("loop.JPEG")
    if layout == "labelled":
        (tmp_path / "val_label.txt").write_text("loop.JPEG 0\n")
    with pytest.raises(DatasetError, match=r"cannot be looked at[\s\S]*loop\.JPEG"):
        open_dataset(tmp_path, 1)


CLOSED = """
import os, sys
from pathlib import Path
from conformance.errors import DatasetError
from conformance.imagenet.folders import open_dataset
if os.geteuid() == 0:
    os.setgroups([])
    os.setegid(65534)
    os.seteuid(65534)
try:
    open_dataset(Path(sys.argv[1]), 1000)
except DatasetError as error:
    print(error)
"""


def test_a_link_into_a_closed_folder_is_named() -> None:
    with tempfile.TemporaryDirectory() as made:  # pytest's own folders are closed to others
        root = Path(made)
        root.chmod(0o755)
        for folder in ("closed", "imagenet", "imagenet/val"):
            (root / folder).mkdir(mode=0o755)
        (root / "closed" / "a.JPEG").write_bytes(b"x")
        (root / "imagenet/val/a.JPEG").symlink_to(root / "closed" / "a.JPEG")
        (root / "imagenet/val_label.txt").write_text("a.JPEG 3\n")
        (root / "closed").chmod(0)
        command = [sys.executable, "-c", CLOSED, str(root / "imagenet")]
        ended = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
        (root / "closed").chmod(0o700)
    assert "cannot be looked at" in ended.stdout, ended.stderr
    assert f"may not be entered: {root / 'closed'}" in ended.stdout


def test_a_damaged_cache_is_made_anew(settled: Path, tmp_path: Path) -> None:
    cache = tmp_path / "digests.sqlite"
    cache.write_bytes(b"no database at all" * 100)
    first = digests.sha256_of_files([settled], cache_file=cache)
    assert first == digests.sha256_of_files([settled])
    with sqlite3.connect(cache) as connection:
        assert connection.execute("SELECT sha256 FROM digests").fetchone() == (first[0],)


def test_a_cache_that_cannot_be_written_costs_only_time(settled: Path) -> None:
    assert digests.sha256_of_files([settled], cache_file=Path("/proc/no/cache")) == (
        digests.sha256_of_files([settled])
    )


def test_many_may_share_one_cache(settled: Path, tmp_path: Path) -> None:
    cache, got = tmp_path / "digests.sqlite", []
    threads = [
        threading.Thread(
            target=lambda: got.append(digests.sha256_of_files([settled], cache_file=cache))
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [digests.sha256_of_files([settled])] * 8


def test_a_vanished_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"gone\.JPEG"):
        digests.sha256_of_files([tmp_path / "gone.JPEG"])
