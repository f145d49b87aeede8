"""Outputs as bytes say what numpy says of them, and need no numpy where nothing is computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emulator import install
from emulator.ais_bench_report import _percentile
from emulator.tensor import CODES, stacked, tensor
from selftest.suites import run_python


@pytest.mark.parametrize("dtype", CODES)
def test_values_are_those_of_numpy(dtype: str) -> None:
    array = (np.arange(24).reshape(2, 3, 4) % 2).astype(dtype)
    made = tensor(array)
    assert made.values() == array.reshape(-1).tolist()
    assert np.array_equal(made.array(), array)
    assert made.array().dtype == array.dtype


def test_rows_are_split_and_stacked() -> None:
    array = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
    rows = tensor(array).rows()
    assert [row.array().tolist() for row in rows] == array.tolist()
    assert stacked(rows) == tensor(array)
    assert stacked(rows[1:3]) == tensor(array[1:3])


@pytest.mark.parametrize("shape", [(0, 10), (3, 0)])
def test_nothing_is_split_into_as_many_rows_as_there_are(shape: tuple[int, int]) -> None:
    rows = tensor(np.zeros(shape, np.float32)).rows()
    assert [row.shape for row in rows] == [shape[1:]] * shape[0]


def test_an_array_may_be_written_to_and_leaves_the_tensor_as_it_is() -> None:
    made = tensor(np.zeros(3, np.float32))
    made.array()[0] = 1
    assert made.values() == [0, 0, 0]


@pytest.mark.parametrize("count", [1, 2, 99, 100, 101, 3100])
def test_percentiles_are_those_of_numpy(count: int) -> None:
    times = np.random.default_rng(count).random(count)
    found = _percentile(times.tolist(), 99)
    assert found == pytest.approx(float(np.percentile(times, 99)), rel=1e-12)


@pytest.mark.parametrize("tool", ["npu_smi", "benchmark", "ais_bench"])
def test_a_tool_starts_without_what_takes_long_to_import(tmp_path: Path, tool: str) -> None:
    lib = install(tmp_path / "board").folder / "python/lib"
    heavy = "{'numpy', 'onnx', 'onnxruntime', 'dataclasses', 'concurrent', 'logging'}"
    start = f"import sys; sys.path.insert(0, {str(lib)!r}); import emulator.{tool}"
    done = run_python("-I", "-S", "-c", f"{start}; print({heavy} & {{*sys.modules}})")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "set()\n"
