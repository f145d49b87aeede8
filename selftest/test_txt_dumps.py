"""TXT results: one whole line of finite numbers, or refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.ascend import txt_dumps
from conformance.ascend.dump_formats import parse_line
from conformance.ascend.dumps import read_dumps
from conformance.errors import DumpError
from selftest.made_dumps import (
    CLASSES,
    NAMES,
    line,
    read,
    second,
    stem,
    table,
    txt,
)


def test_a_number_cut_in_its_middle_is_noticed(tmp_path: Path) -> None:
    path = second(txt(tmp_path))
    path.write_text(path.read_text().rstrip()[:-3])
    assert len(path.read_text().split()) == CLASSES  # the count alone would not tell
    with pytest.raises(DumpError, match=r"middle of a number[\s\S]*00000002_1"):
        read(tmp_path)


def test_a_number_cut_where_precision_varies_is_noticed(tmp_path: Path) -> None:
    for name in NAMES:
        text = " ".join(["1.5", "2.25"] * (CLASSES // 2)) + " "
        (tmp_path / f"{stem(name)}_1.txt").write_text(text)
    path = second(tmp_path)
    path.write_text(path.read_text()[:-2])
    with pytest.raises(DumpError, match=r"middle of a number[\s\S]*00000002_1"):
        read(tmp_path)


def test_a_tool_that_ends_no_line_is_read(tmp_path: Path) -> None:
    for path in txt(tmp_path).iterdir():
        path.write_text(path.read_text().strip())
    assert read(tmp_path).scores.tobytes() == table().tobytes()


def test_a_number_cut_by_a_tool_that_ends_no_line_is_noticed(tmp_path: Path) -> None:
    for path in txt(tmp_path).iterdir():
        path.write_text(path.read_text().strip())
    path = second(tmp_path)
    path.write_text(path.read_text()[:-2])
    with pytest.raises(DumpError, match=r"middle of a number[\s\S]*00000002_1"):
        read(tmp_path)


def test_a_number_cut_before_its_line_end_is_noticed(tmp_path: Path) -> None:
    path = second(txt(tmp_path))
    path.write_text(path.read_text().rstrip()[:-3] + " \n")
    with pytest.raises(DumpError, match=r"middle of a number[\s\S]*00000002_1"):
        read(tmp_path)


@pytest.mark.parametrize("ending", ["\n", " ", " \n\n", "\t\n", " \r\n"])
def test_a_file_that_ends_otherwise_than_the_others_is_noticed(tmp_path: Path, ending: str) -> None:
    for name in NAMES:
        text = " ".join(["1.5", "2.25"] * (CLASSES // 2))
        (tmp_path / f"{stem(name)}_1.txt").write_text(f"{text} \n")
    path = second(tmp_path)
    path.write_bytes(path.read_text().rstrip()[:-1].encode() + ending.encode())
    with pytest.raises(DumpError, match=r"middle of a number[\s\S]*00000002_1"):
        read(tmp_path)


def test_a_number_that_ends_in_its_point_is_noticed(tmp_path: Path) -> None:
    for name in NAMES:
        text = " ".join(["1.5", "2.25"] * (CLASSES // 2))
        (tmp_path / f"{stem(name)}_1.txt").write_text(text)
    path = second(tmp_path)
    path.write_text(path.read_text()[:-2])
    with pytest.raises(DumpError, match=r"middle of a number[\s\S]*00000002_1"):
        read(tmp_path)


@pytest.mark.parametrize("lead", ["\n", "\n\n", " \n", "\r\n"])
def test_a_blank_line_in_front_is_a_line(tmp_path: Path, lead: str) -> None:
    path = second(txt(tmp_path))
    path.write_bytes(lead.encode() + path.read_bytes())
    with pytest.raises(DumpError, match=r"several lines[\s\S]*00000002_1"):
        read(tmp_path)


@pytest.mark.parametrize("separator", ["\v", "\f", "\x1c", "\xa0"])
def test_only_blanks_and_tabs_separate(tmp_path: Path, separator: str) -> None:
    path = second(txt(tmp_path))
    path.write_text(path.read_text().replace(" ", separator, 1))
    with pytest.raises(DumpError, match=r"no finite number[\s\S]*00000002_1"):
        read(tmp_path)


@pytest.fixture
def many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Names of results that two processes share, with a last one unlike the others."""
    monkeypatch.setattr(txt_dumps, "_WORTH_A_PROCESS", 100)
    names = tuple(f"i{n:04d}.JPEG" for n in range(1100))
    for number, name in enumerate(names):
        row = table()[number % 4] + np.float32(number == 1099)
        (tmp_path / f"{stem(name)}_1.txt").write_text(line(row))
    return names


def test_processes_read_what_one_would(tmp_path: Path, many: tuple[str, ...]) -> None:
    labels = np.zeros(len(many), np.int64)
    one, two = (read_dumps(tmp_path, many, labels, CLASSES, workers=n) for n in (1, 2))
    assert one.scores.tobytes() == two.scores.tobytes()
    assert one.scores[1099, 0] == np.float32(table()[3, 0] + 1)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_cut_number_is_noticed_in_any_process(
    tmp_path: Path, many: tuple[str, ...], workers: int
) -> None:
    path = tmp_path / "i0700_1.txt"
    path.write_text(path.read_text().rstrip())  # whole, as far as its own text can tell
    with pytest.raises(DumpError, match=r"middle of a number[\s\S]*i0700_1"):
        read_dumps(tmp_path, many, np.zeros(len(many), np.int64), CLASSES, workers=workers)


@pytest.mark.parametrize("separator", ["  ", "\t", " \t"])
def test_other_blanks_are_read(tmp_path: Path, separator: str) -> None:
    for path in txt(tmp_path).iterdir():
        path.write_text(path.read_text().replace(" ", separator))
    assert read(tmp_path).scores.tobytes() == table().tobytes()


@pytest.mark.parametrize(
    "word", ["nan", "NaN", "inf", "-Infinity", "1e99", "cat", "1_0", "0x1", "1,2", "[1]", "--1", ""]
)
def test_what_is_no_number_is_named(tmp_path: Path, word: str) -> None:
    path = second(txt(tmp_path))
    fields = path.read_text().split()
    fields[3] = word
    path.write_text(" ".join(fields) + " \n")
    with pytest.raises(DumpError, match=r"ILSVRC2012_val_00000002_1\.txt") as caught:
        read(tmp_path)
    assert not word or "field 4" in str(caught.value)


def test_four_lines_are_four_images_in_one(tmp_path: Path) -> None:
    path = second(txt(tmp_path))
    path.write_text(path.read_text() * 4)
    with pytest.raises(DumpError, match=r"several lines[\s\S]*00000002_1\.txt[\s\S]*4 lines"):
        read(tmp_path)


FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
FORMS = st.sampled_from(["{!r}", "{:f}", "{:g}", "{:e}", "{:+.3f}", "{:.0f}", "{:.0f}."])


@given(values=st.lists(FINITE, min_size=1, max_size=20), form=FORMS, gap=st.sampled_from(" \t"))
def test_every_spelling_of_a_number_reads_as_numpy_reads_it(
    values: list[float], form: str, gap: str
) -> None:
    fields = [form.format(value) for value in values]
    expected = np.array([np.float32(field) for field in fields])
    finite = np.isfinite(expected).all()
    if finite:
        # As numbers, not as bytes: an integer's minus before 0 is no part of its value.
        assert np.array_equal(parse_line(gap.join(fields).encode(), "x"), expected)
    else:
        with pytest.raises(DumpError, match="no finite number"):
            parse_line(gap.join(fields).encode(), "x")


@given(content=st.binary(max_size=40).map(bytes.strip).filter(bool))
def test_any_bytes_are_finite_numbers_or_a_named_error(content: bytes) -> None:
    refusal = "x_1.txt"
    try:
        row = parse_line(content, "x_1.txt")
    except DumpError as error:
        refusal, row = str(error), np.zeros(1, np.float32)
    assert "x_1.txt" in refusal
    assert np.isfinite(row).all()
    assert len(row) > 0
