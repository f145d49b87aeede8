"""The label file, well-formed and in every way that people break it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.errors import DatasetError
from conformance.imagenet.labels import read_labels


def written(folder: Path, content: bytes) -> Path:
    path = folder / "val_label.txt"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        b"a.JPEG 0\nb.JPEG 999\n",
        b"a.JPEG 0\nb.JPEG 999",
        b"a.JPEG 0\r\nb.JPEG 999\r\n",
        b"\xef\xbb\xbfa.JPEG 0\nb.JPEG 999\n",
        b"a.JPEG\t0\nb.JPEG   999 \n",
        b"\na.JPEG 0\n\n\nb.JPEG 999\n\n",
    ],
    ids=["plain", "no-last-newline", "crlf", "bom", "tabs-and-blanks", "blank-lines"],
)
def test_harmless_variants_read_alike(tmp_path: Path, content: bytes) -> None:
    assert read_labels(written(tmp_path, content), 1000) == {"a.JPEG": 0, "b.JPEG": 999}


def test_a_name_may_hold_blanks(tmp_path: Path) -> None:
    assert read_labels(written(tmp_path, b"a cat.JPEG 3\n"), 10) == {"a cat.JPEG": 3}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "empty"),
        (b" \n\r\n", "empty"),
        (b"a.JPEG\n", "no label"),
        (b"a.JPEG 1\nb.JPEG 1\na.JPEG 2\n", "labelled twice"),
        (b"a.JPEG 10\n", "no class"),
        (b"a.JPEG -1\n", "no class"),
        (b"a.JPEG +1\n", "no class"),
        (b"a.JPEG 1_0\n", "no class"),
        (b"a.JPEG 1.0\n", "no class"),
        (b"a.JPEG cat\n", "no class"),
        ("a.JPEG ٣\n".encode(), "no class"),
        (b"a.JPEG 000000000000010\n", "no class"),
        (b"a.JPEG " + b"9" * 5000 + b"\n", "no class"),
        (b"val/a.JPEG 1\n", "names a path"),
        (b"../a.JPEG 1\n", "names a path"),
        (b"val\\a.JPEG 1\n", "names a path"),
        (b"\xff\xfea\x00 \x001\x00", "cannot be read"),
    ],
)
def test_broken_lines_are_named(tmp_path: Path, content: bytes, expected: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(DatasetError, match=expected) as caught:
        read_labels(path, 10)
    assert str(path) in str(caught.value)


def test_an_error_names_its_line(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="line: 3"):
        read_labels(written(tmp_path, b"a.JPEG 1\n\nb.JPEG x\n"), 10)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nowhere\.txt"):
        read_labels(tmp_path / "nowhere.txt", 10)


NAMES = st.text(
    st.characters(exclude_characters="/\\", exclude_categories=["C", "Z"]), min_size=1, max_size=30
)


@given(
    table=st.dictionaries(NAMES, st.integers(0, 999), min_size=1),
    end=st.sampled_from(["\n", "\r\n", "\n\n"]),
    gap=st.sampled_from([" ", "\t", "  "]),
)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, table: dict[str, int], end: str, gap: str
) -> None:
    text = "".join(f"{name}{gap}{label}{end}" for name, label in table.items())
    path = written(tmp_path_factory.mktemp("labels"), text.encode())
    assert read_labels(path, 1000) == {name.removeprefix("\ufeff"): v for name, v in table.items()}


@given(content=st.binary(max_size=80))
def test_any_bytes_are_labels_or_a_named_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = written(tmp_path_factory.mktemp("labels"), content)
    refusal, labels = None, {"": 0}
    try:
        labels = read_labels(path, 7)
    except DatasetError as error:
        refusal = str(error)
    assert refusal is None or str(path) in refusal
    assert labels
    assert set(labels.values()) <= set(range(7))
