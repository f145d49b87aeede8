"""BIN and NPY results: a row of finite floats, or refused by name."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.ascend.dump_formats import read_bin, read_npy
from conformance.errors import DumpError
from selftest.made_dumps import (
    CLASSES,
    NAMES,
    Writer,
    binary,
    npy,
    read,
    second,
    stem,
    table,
)


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
