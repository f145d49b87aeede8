"""Results of inference tools: read as they were written, or refused by name."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.ascend import txt_dumps
from conformance.ascend.dump_formats import parse_line, read_bin, read_npy
from conformance.ascend.dumps import DumpLayout, read_dumps
from conformance.errors import DatasetError, DumpError
from conformance.predictions import Predictions

CLASSES = 10
NAMES = tuple(f"ILSVRC2012_val_{n:08d}.JPEG" for n in range(1, 5))
LABELS = np.arange(4, dtype=np.int64)
Table = npt.NDArray[np.float32]


def table(width: int = CLASSES) -> Table:
    return np.random.default_rng(1).normal(size=(len(NAMES), width)).astype(np.float32).round(4)


def line(row: Table) -> str:
    return "".join(f"{value:f} " for value in row) + "\n"


def stem(name: str) -> str:
    return name.removesuffix(".JPEG")


def txt(folder: Path, rows: Table | None = None, index: int = 1) -> Path:
    for name, row in zip(NAMES, table() if rows is None else rows, strict=True):
        (folder / f"{stem(name)}_{index}.txt").write_text(line(row))
    return folder


def binary(folder: Path, rows: Table | None = None, index: int = 1) -> Path:
    for name, row in zip(NAMES, table() if rows is None else rows, strict=True):
        (folder / f"{stem(name)}_{index}.bin").write_bytes(row.tobytes())
    return folder


def npy(folder: Path, rows: Table | None = None, index: int = 1) -> Path:
    for name, row in zip(NAMES, table() if rows is None else rows, strict=True):
        np.save(folder / f"{stem(name)}_{index}.npy", row[np.newaxis])
    return folder


WRITERS = {"txt": txt, "bin": binary, "npy": npy}
Writer = Callable[[Path, Table | None, int], Path]
each_format = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)


def read(folder: Path, **options: object) -> Predictions:
    return read_dumps(folder, NAMES, LABELS, CLASSES, **options)  # type: ignore[arg-type] # passed on as given


def second(folder: Path) -> Path:
    (path,) = folder.glob("ILSVRC2012_val_00000002_*")
    return path


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


@pytest.mark.parametrize("write", [binary, npy])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_binary_score_that_is_no_number_is_named(
    tmp_path: Path, write: Writer, value: float
) -> None:
    rows = table()
    rows[1, 3] = value
    with pytest.raises(
        DumpError, match=r"not finite[\s\S]*ILSVRC2012_val_00000002\.JPEG"
    ) as caught:
        read(write(tmp_path, rows, 1))
    assert second(tmp_path).name in str(caught.value)


def test_an_npy_score_beyond_float32_names_its_file(tmp_path: Path) -> None:
    path = second(npy(tmp_path))
    np.save(path, np.full((1, CLASSES), 1e300))
    with pytest.raises(DumpError, match=r"not finite[\s\S]*00000002_1\.npy"):
        read(tmp_path)


def test_four_lines_are_four_images_in_one(tmp_path: Path) -> None:
    path = second(txt(tmp_path))
    path.write_text(path.read_text() * 4)
    with pytest.raises(DumpError, match=r"several lines[\s\S]*00000002_1\.txt[\s\S]*4 lines"):
        read(tmp_path)


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


@pytest.mark.parametrize(
    "array",
    [np.zeros((2, 5), np.float32), np.zeros(CLASSES, np.int64), np.zeros((), np.float32)],
    ids=["two-rows", "integers", "scalar"],
)
def test_an_npy_of_another_form_is_refused(tmp_path: Path, array: npt.NDArray[np.generic]) -> None:
    np.save(second(npy(tmp_path)), array)
    with pytest.raises(DumpError, match=r"00000002_1\.npy"):
        read(tmp_path)


class Trap:
    """Unpickled, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.folder),)


def test_an_npy_with_objects_is_not_unpickled(tmp_path: Path) -> None:
    dumps, sprung = tmp_path / "dumps", tmp_path / "sprung"
    dumps.mkdir()
    np.save(second(npy(dumps)), np.array([Trap(sprung)] * CLASSES), allow_pickle=True)
    with pytest.raises(DumpError, match=r"00000002_1\.npy"):
        read(dumps)
    assert not sprung.exists()


@pytest.mark.parametrize("form", [np.float16, np.float64])
def test_npy_floats_of_other_precision_are_read(
    tmp_path: Path, form: type[np.floating[npt.NBitBase]]
) -> None:
    rows = table().astype(form)
    for name, row in zip(NAMES, rows, strict=True):
        np.save(tmp_path / f"{stem(name)}_0.npy", row)
    assert read(tmp_path).scores.tobytes() == rows.astype(np.float32).tobytes()


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


@pytest.mark.parametrize("claimed", [f"({10**13},)", f"({10**40},)", "(-1,)", "(" * 300])
def test_an_npy_that_claims_any_shape_is_refused(tmp_path: Path, claimed: str) -> None:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {claimed}, }}\n".encode()
    path = second(npy(tmp_path))
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"\0" * 4)
    with pytest.raises(DumpError, match=r"00000002_1\.npy"):
        read(tmp_path)


@given(
    changes=st.dictionaries(st.integers(0, 127), st.integers(0, 255), max_size=3),
    length=st.none() | st.integers(0, 167),
)
def test_a_damaged_npy_is_a_row_or_a_named_error(
    tmp_path_factory: pytest.TempPathFactory, changes: dict[int, int], length: int | None
) -> None:
    path = tmp_path_factory.mktemp("npy") / "x_1.npy"
    np.save(path, table()[:1])
    content = bytearray(path.read_bytes())
    for place, value in changes.items():
        content[place] = value
    path.write_bytes(content[:length])
    refusal = "x_1.npy"
    try:
        row = read_npy(str(path))
    except DumpError as error:
        refusal, row = str(error), np.zeros(CLASSES, np.float32)
    assert "x_1.npy" in refusal
    assert row.dtype == np.float32
    assert row.ndim == 1


@given(content=st.binary(max_size=2 * 4 * CLASSES))
def test_any_bytes_are_a_row_of_the_right_size_or_a_named_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("bin") / "x_1.bin"
    path.write_bytes(content)
    row = np.zeros(CLASSES, np.float32)
    if len(content) == row.nbytes:
        read_bin(str(path), row)
        assert row.tobytes() == content
    else:
        with pytest.raises(DumpError, match=r"x_1\.bin"):
            read_bin(str(path), row)


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
