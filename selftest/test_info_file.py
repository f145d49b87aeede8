"""The info file of the benchmark tool."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.errors import ConformanceError, DatasetError
from conformance.imagenet.info_file import (
    bin_entries,
    input_folder,
    jpg_entries,
    jpg_folder,
    write_info,
)
from selftest.photographs import noise


def inputs(folder: Path, *names: str, size: int = 602_112) -> list[Path]:
    for name in names:
        with (folder / name).open("wb") as file:
            file.truncate(size)
    return [folder / name for name in names]


@pytest.mark.parametrize("size", [602_112, 150_528])
def test_bin_lines_have_four_columns(tmp_path: Path, size: int) -> None:
    paths = inputs(tmp_path, "b.bin", "a.bin", size=size)
    assert bin_entries(paths, 224, 224) == [
        f"0 {tmp_path}/b.bin 224 224\n",
        f"1 {tmp_path}/a.bin 224 224\n",
    ]


def test_a_folder_is_listed_by_name(tmp_path: Path) -> None:
    inputs(tmp_path, "i_00000010.bin", "i_00000002.bin")
    assert [p.name for p in input_folder(tmp_path)] == ["i_00000002.bin", "i_00000010.bin"]


def test_jpg_lines_carry_each_pictures_size_and_one_running_index(tmp_path: Path) -> None:
    for name, size in {"a.JPEG": (30, 20), "b.jpg": (10, 40), "c.JPG": (7, 7)}.items():
        noise(*size).save(tmp_path / name, "JPEG")
    assert jpg_entries(jpg_folder(tmp_path)) == [
        f"0 {tmp_path}/a.JPEG 30 20\n",
        f"1 {tmp_path}/b.jpg 10 40\n",
        f"2 {tmp_path}/c.JPG 7 7\n",
    ]


@pytest.mark.parametrize("blank", [" ", "\t", "\u00a0"])
def test_a_path_with_a_blank_is_refused(tmp_path: Path, blank: str) -> None:
    paths = inputs(tmp_path, f"a{blank}b.bin")
    with pytest.raises(ConformanceError, match="blank"):
        bin_entries(paths, 224, 224)


@pytest.mark.parametrize("sizes", [(602_112, 150_528), (602_112, 602_111), (0, 0)])
def test_wrong_or_mixed_sizes_are_named(tmp_path: Path, sizes: tuple[int, int]) -> None:
    paths = [*inputs(tmp_path, "a.bin", size=sizes[0]), *inputs(tmp_path, "b.bin", size=sizes[1])]
    with pytest.raises(DatasetError, match="wrong size"):
        bin_entries(paths, 224, 224)


def test_a_size_for_another_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="wrong size"):
        bin_entries(inputs(tmp_path, "a.bin"), 299, 299)


@pytest.mark.parametrize(
    ("shape", "fits"),
    [((0, 0), "224 x 224"), ((112, 448), "112 x 112 or 224 x 224"), ((-224, -224), "224 x 224")],
)
def test_a_shape_that_no_input_has_is_refused(
    tmp_path: Path, shape: tuple[int, int], fits: str
) -> None:
    paths = inputs(tmp_path, "a.bin", size=150_528)
    with pytest.raises(DatasetError, match="no prepared input has this width and height") as caught:
        bin_entries(paths, *shape)
    assert fits in str(caught.value)


def test_files_of_no_bytes_have_no_shape(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="these files would fit none"):
        bin_entries(inputs(tmp_path, "a.bin", size=0), 0, 0)


@pytest.mark.parametrize("names", [("a.b.bin", "a.c.bin"), ("a.bin", "a.0.bin")])
def test_names_that_the_tool_merges_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    with pytest.raises(DatasetError, match="one result for two files") as caught:
        bin_entries(inputs(tmp_path, *names), 224, 224)
    assert all(name in str(caught.value) for name in names)


def test_jpegs_that_the_tool_merges_are_refused(tmp_path: Path) -> None:
    for name in ("a.JPEG", "a.jpg"):
        noise(7, 7).save(tmp_path / name, "JPEG")
    with pytest.raises(DatasetError, match=r"a\.JPEG and a\.jpg"):
        jpg_entries(jpg_folder(tmp_path))


def test_another_format_under_the_name_of_a_jpeg_is_told(tmp_path: Path) -> None:
    noise(7, 7).save(tmp_path / "a.JPEG", "PNG")
    with pytest.raises(DatasetError, match="image is no JPEG file") as caught:
        jpg_entries(jpg_folder(tmp_path))
    assert "got: a PNG file" in str(caught.value)


def test_no_input_is_an_error() -> None:
    with pytest.raises(ConformanceError, match="no input"):
        bin_entries([], 224, 224)


@pytest.mark.parametrize("stray", [".DS_Store", "a.txt", ".a.bin.part"])
def test_a_stray_file_is_named(tmp_path: Path, stray: str) -> None:
    inputs(tmp_path, "a.bin", stray)
    with pytest.raises(DatasetError, match=stray):
        input_folder(tmp_path)


def test_what_is_no_jpeg_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.JPEG").write_bytes(b"text")
    with pytest.raises(DatasetError, match=r"a\.JPEG"):
        jpg_entries(jpg_folder(tmp_path))


def test_the_file_is_written_whole(tmp_path: Path) -> None:
    target = tmp_path / "x.info"
    write_info(["0 a 1 1\n", "1 b 1 1\n"], target)
    assert target.read_text() == "0 a 1 1\n1 b 1 1\n"
    assert list(tmp_path.iterdir()) == [target]


def test_a_target_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConformanceError, match=r"x\.info"):
        write_info(["0 a 1 1\n"], tmp_path / "none" / "x.info")


STEMS = st.text("abcXYZ019_-é", min_size=1, max_size=12)


@given(stems=st.lists(STEMS, min_size=1, max_size=6, unique=True))
def test_lines_read_back_as_columns(
    tmp_path_factory: pytest.TempPathFactory, stems: list[str]
) -> None:
    paths = inputs(tmp_path_factory.mktemp("info"), *(f"{stem}.bin" for stem in stems), size=12)
    columns = [line.split() for line in bin_entries(paths, 2, 2)]
    assert [int(index) for index, *_ in columns] == list(range(len(stems)))
    assert [Path(path) for _, path, *_ in columns] == paths
    assert {(width, height) for *_, width, height in columns} == {("2", "2")}
