"""Results of inference tools: read as they were written, or refused by name."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from conformance.ascend.dumps import DumpLayout, read_dumps
from conformance.errors import DatasetError, DumpError
from selftest.made_dumps import (
    CLASSES,
    LABELS,
    NAMES,
    Writer,
    each_format,
    line,
    read,
    second,
    stem,
    table,
    txt,
)


@each_format
@pytest.mark.parametrize("index", [0, 1], ids=["ais_bench", "benchmark"])
def test_dumps_become_predictions(tmp_path: Path, write: Writer, index: int) -> None:
    found = read(write(tmp_path, None, index))
    assert found.names == NAMES
    assert found.scores.tobytes() == table().tobytes()
    assert found.labels.tolist() == LABELS.tolist()


@each_format
def test_a_background_class_is_dropped(tmp_path: Path, write: Writer) -> None:
    found = read(write(tmp_path, table(CLASSES + 1), 1))
    assert found.scores.tobytes() == table(CLASSES + 1)[:, 1:].tobytes()
    assert found.labels.tolist() == [0, 1, 2, 3]


def test_a_background_class_may_be_kept_as_the_guides_scorer_does(tmp_path: Path) -> None:
    found = read(txt(tmp_path, table(CLASSES + 1)), keep_background=True)
    assert found.classes == CLASSES + 1
    assert found.labels.tolist() == [1, 2, 3, 4]


@each_format
def test_a_missing_dump_is_named(tmp_path: Path, write: Writer) -> None:
    second(write(tmp_path, None, 1)).unlink()
    with pytest.raises(DumpError, match=r"missing[\s\S]*1: ILSVRC2012_val_00000002_1"):
        read(tmp_path)


@pytest.mark.parametrize(
    "extra",
    ["summary.json", "sumary.json", ".DS_Store", "ILSVRC2012_val_00000009_1.txt", "x_1.txt.part"],
)
def test_an_extra_file_is_named(tmp_path: Path, extra: str) -> None:
    (txt(tmp_path) / extra).write_text("{}")
    with pytest.raises(DumpError, match=f"extra[\\s\\S]*{extra}"):
        read(tmp_path)


@pytest.mark.parametrize("again", ["_0.txt", "_1.bin"])
def test_a_repeated_result_is_named(tmp_path: Path, again: str) -> None:
    (txt(tmp_path) / f"ILSVRC2012_val_00000002{again}").write_text(line(table()[1]))
    with pytest.raises(DumpError, match=f"extra[\\s\\S]*00000002{again}"):
        read(tmp_path)


@pytest.mark.parametrize("again", ["_0.txt", "_1.bin"])
def test_two_results_of_the_first_image_are_named(tmp_path: Path, again: str) -> None:
    (txt(tmp_path) / f"ILSVRC2012_val_00000001{again}").write_text(line(table()[1]))
    with pytest.raises(DumpError, match=f"several results[\\s\\S]*00000001{again}"):
        read(tmp_path)


def test_the_first_image_may_be_the_missing_one(tmp_path: Path) -> None:
    (txt(tmp_path) / "ILSVRC2012_val_00000001_1.txt").unlink()
    with pytest.raises(DumpError, match=r"missing[\s\S]*00000001_1\.txt"):
        read(tmp_path)


def test_a_given_layout_is_demanded(tmp_path: Path) -> None:
    with pytest.raises(DumpError, match="missing"):
        read(txt(tmp_path), layout=DumpLayout(0, "txt"))


@each_format
def test_a_stale_dump_is_named(tmp_path: Path, write: Writer) -> None:
    started = time.time()
    stale = second(write(tmp_path, None, 1))
    assert len(read(tmp_path, started=started)) == 4
    os.utime(stale, (started - 60, started - 60))
    with pytest.raises(DumpError, match=r"older[\s\S]*ILSVRC2012_val_00000002_1[\s\S]*60\.0 s"):
        read(tmp_path, started=started)
    assert len(read(tmp_path)) == 4


@each_format
def test_an_empty_dump_is_named(tmp_path: Path, write: Writer) -> None:
    second(write(tmp_path, None, 1)).write_bytes(b"")
    with pytest.raises(DumpError, match="ILSVRC2012_val_00000002_1"):
        read(tmp_path)


@each_format
@pytest.mark.parametrize("victim", [0, 1])
def test_a_dump_cut_short_is_named(tmp_path: Path, write: Writer, victim: int) -> None:
    write(tmp_path, None, 1)
    (path,) = tmp_path.glob(f"{stem(NAMES[victim])}_*")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DumpError, match=f"file: {path}"):
        read(tmp_path)


@each_format
def test_links_that_lead_nowhere_are_named(tmp_path: Path, write: Writer) -> None:
    for path in list(write(tmp_path, None, 1).iterdir()):
        path.unlink()
        path.symlink_to("/nonexistent")
    with pytest.raises(DumpError, match=r"cannot be read[\s\S]*00000001_1"):
        read(tmp_path)


@each_format
def test_links_in_a_circle_are_named(tmp_path: Path, write: Writer) -> None:
    for path in list(write(tmp_path, None, 1).iterdir()):
        path.unlink()
        path.symlink_to(path.name)
    for started in (None, 1.0):
        with pytest.raises(DumpError, match=r"cannot be read[\s\S]*00000001_1"):
            read(tmp_path, started=started)


@each_format
@pytest.mark.parametrize("width", [1, CLASSES - 1, CLASSES + 2])
def test_another_width_is_refused(tmp_path: Path, write: Writer, width: int) -> None:
    with pytest.raises(DumpError, match="wrong"):
        read(write(tmp_path, table(width), 1))


@each_format
@pytest.mark.parametrize("victim", [0, 1])
def test_mixed_widths_are_refused(tmp_path: Path, write: Writer, victim: int) -> None:
    write(tmp_path, None, 1)
    other = tmp_path / "other"
    other.mkdir()
    (wide,) = write(other, table(CLASSES + 1), 1).glob(f"{stem(NAMES[victim])}_*")
    wide.replace(tmp_path / wide.name)
    for path in other.iterdir():
        path.unlink()
    other.rmdir()
    with pytest.raises(DumpError, match="wrong"):
        read(tmp_path)


@pytest.mark.parametrize("exists", [True, False])
def test_an_empty_or_missing_folder_is_named(tmp_path: Path, exists: bool) -> None:
    folder = tmp_path / "dumpOutput_device0"
    if exists:
        folder.mkdir()
    with pytest.raises(DumpError, match="dumpOutput_device0"):
        read(folder)


def test_reading_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DumpError, match="no results"):
        read_dumps(tmp_path, (), LABELS[:0], CLASSES)


def test_names_that_share_a_dump_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="share one result"):
        read_dumps(tmp_path, ("a.JPEG", "a.png"), LABELS[:2], CLASSES)
