"""Writing inputs: whole files or none, in parallel, and what is needed for it."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from conformance import progress
from conformance.errors import ConfigError, ConformanceError, DatasetError
from conformance.imagenet.batches import stream_batches
from conformance.imagenet.dataset import Dataset, LabelledImage
from conformance.imagenet.input_files import shards, write_inputs
from conformance.imagenet.input_folder import UNFINISHED, claimed_folder
from conformance.imagenet.preprocess import Prepared, prepare_file
from conformance.spec import load_spec
from selftest.photographs import drawn

SPEC = load_spec("squeezenet1_1").preprocess
CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return drawn(tmp_path_factory.mktemp("pictures"), 40)


def expected(image: LabelledImage, kind: Prepared) -> bytes:
    return prepare_file(image.path, SPEC, kind).tobytes()


@pytest.mark.parametrize(("kind", "size"), [("float32", 602_112), ("uint8", 150_528)])
def test_each_image_becomes_one_file(
    pictures: Dataset, tmp_path: Path, kind: Prepared, size: int
) -> None:
    images = pictures.images[:3]
    paths = write_inputs(images, tmp_path / "out", SPEC, kind)
    assert sorted((tmp_path / "out").iterdir()) == list(paths)
    assert [path.name for path in paths] == [f"drawn_00{n}.bin" for n in range(3)]
    assert {path.stat().st_size for path in paths} == {size}
    assert [path.read_bytes() for path in paths] == [expected(image, kind) for image in images]


def test_processes_write_what_one_would(pictures: Dataset, tmp_path: Path) -> None:
    paths = write_inputs(pictures.images, tmp_path, SPEC, "uint8", workers=2)
    assert [p.read_bytes() for p in paths] == [expected(i, "uint8") for i in pictures.images]


@pytest.mark.parametrize("workers", [1, 2])
def test_one_bad_image_fails_the_whole_run(pictures: Dataset, tmp_path: Path, workers: int) -> None:
    bad = tmp_path / "bad.JPEG"
    bad.write_bytes(b"text")
    images = (*pictures.images, LabelledImage(bad.name, bad, 0))
    with pytest.raises(DatasetError, match=r"image: bad\.JPEG"):
        write_inputs(images, tmp_path / "out", SPEC, "uint8", workers=workers)
    assert not list((tmp_path / "out").glob("bad*"))


def test_no_images_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no images"):
        write_inputs((), tmp_path, SPEC, "uint8")


def test_files_of_another_run_are_refused(pictures: Dataset, tmp_path: Path) -> None:
    (tmp_path / "stale.bin").write_bytes(b"")
    with pytest.raises(ConformanceError, match=r"stale\.bin"):
        write_inputs(pictures.images[:1], tmp_path, SPEC, "uint8")


@pytest.mark.parametrize("name", [".download.part", "val.part", ".0123456789abcde.part"])
def test_temporary_files_of_others_are_refused_and_kept(
    pictures: Dataset, tmp_path: Path, name: str
) -> None:
    ours = tmp_path / ".0123456789abcdef.part"
    for path in (ours, tmp_path / name):
        path.write_bytes(b"half")
    with pytest.raises(ConformanceError, match=re.escape(name)):
        write_inputs(pictures.images[:1], tmp_path, SPEC, "uint8")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([ours.name, name])


def test_a_folder_takes_one_preparation_at_a_time(pictures: Dataset, tmp_path: Path) -> None:
    target = tmp_path / "drawn_000.bin"
    with claimed_folder(tmp_path, [target]):
        part = tmp_path / ".0123456789abcdef.part"
        part.write_bytes(b"half")
        with pytest.raises(ConformanceError, match="another preparation writes into this folder"):
            write_inputs(pictures.images[:1], tmp_path, SPEC, "uint8")
        assert part.read_bytes() == b"half", "what the other one is writing stays"
        part.unlink()
    write_inputs(pictures.images[:1], tmp_path, SPEC, "uint8")
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_that_cannot_be_made_names_no_option_of_others(
    pictures: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConformanceError, match="cannot be used") as caught:
        write_inputs(pictures.images[:1], tmp_path / "file", SPEC, "uint8")
    assert "--scratch" not in str(caught.value)


def test_what_a_killed_run_left_is_replaced(pictures: Dataset, tmp_path: Path) -> None:
    (tmp_path / ".0123456789abcdef.part").write_bytes(b"half")
    (tmp_path / UNFINISHED).touch()
    (tmp_path / "drawn_000.bin").write_bytes(b"old")
    (path,) = write_inputs(pictures.images[:1], tmp_path, SPEC, "uint8")
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == expected(pictures.images[0], "uint8")


def test_a_full_disk_leaves_nothing_half_written(pictures: Dataset, tmp_path: Path) -> None:
    # A limit on the size of files fails in the same system call as a full disk, after writing
    # the part that still fits.
    code = (
        "import resource; from pathlib import Path\n"
        "from conformance.imagenet.input_files import write_inputs\n"
        "from conformance.imagenet.dataset import LabelledImage\n"
        "from conformance.spec import load_spec\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        f"image = LabelledImage('a.JPEG', Path({str(pictures.images[0].path)!r}), 0)\n"
        f"write_inputs([image], Path({str(tmp_path)!r}), load_spec('squeezenet1_1').preprocess,"
        " 'uint8')\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "a file cannot be written" in ended.stderr
    assert "a.bin" in ended.stderr
    assert list(tmp_path.iterdir()) == [tmp_path / UNFINISHED]


def test_no_space_at_the_rename_names_the_file(
    pictures: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_part: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(ConformanceError, match=r"drawn_000\.bin"):
        write_inputs(pictures.images[:1], tmp_path, SPEC, "uint8")
    assert list(tmp_path.iterdir()) == [tmp_path / UNFINISHED]


def test_ctrl_c_between_write_and_rename_leaves_nothing(
    pictures: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_paths: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_inputs(pictures.images[:1], tmp_path, SPEC, "uint8")
    assert list(tmp_path.iterdir()) == [tmp_path / UNFINISHED]


@pytest.mark.parametrize(("batch", "workers"), [(1, 1), (7, 1), (16, 1), (64, 1), (7, 2)])
def test_batches_hold_every_image_once_in_order(
    pictures: Dataset, batch: int, workers: int
) -> None:
    batches = list(stream_batches(pictures.images, SPEC, batch, workers=workers))
    assert [name for each in batches for name in each.names] == list(pictures.names)
    sizes = [len(each.names) for each in batches]
    assert sizes == [batch] * (40 // batch) + ([40 % batch] if 40 % batch else [])
    assert np.concatenate([each.tensors for each in batches]).tobytes() == b"".join(
        expected(image, "float32") for image in pictures.images
    )


def test_a_batch_of_nothing_is_refused(pictures: Dataset) -> None:
    with pytest.raises(ConfigError, match="batch"):
        next(stream_batches(pictures.images, SPEC, 0))


def test_progress_is_shown_on_request(
    pictures: Dataset,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(progress, "_shown_on", [])  # this very run may show its steps
    write_inputs(pictures.images[:3], tmp_path, SPEC, "uint8", title="preparing inputs")
    shown = capsys.readouterr()
    assert "preparing inputs" in shown.err
    assert "3/3" in shown.err
    assert shown.out == ""


def test_shards_cover_every_image_once(pictures: Dataset) -> None:
    parts = list(shards(pictures.images, 16))
    assert [len(part) for part in parts] == [16, 16, 8]
    assert tuple(image for part in parts for image in part) == pictures.images


def test_a_shard_of_nothing_is_refused(pictures: Dataset) -> None:
    with pytest.raises(ConformanceError, match="at least one"):
        next(shards(pictures.images, 0))
