"""The hardware suite on the emulated board: workers share what is built, and agree."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from conformance.check import Status
from conformance.evidence.record import CheckRecord, Record, read_artifacts
from emulator import EmulatedBoard, install
from selftest.fault_matrix_runs import prepare_photographs
from selftest.photographs import WEIGHTS
from selftest.suites import outcomes, records, run_folder, run_suite


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> EmulatedBoard:
    return install(tmp_path_factory.mktemp("standing") / "board")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs") / "imagenet"
    prepare_photographs(folder)
    return folder


def found(board: EmulatedBoard, photographs: Path, folder: Path, *more: str) -> list[Record]:
    """Run every claim about the board on the store in a folder, and return what it recorded."""
    ended = run_suite(
        *("-m", "npu", "tests", "-q", "--board=emulated", "--batch=1,16", "--images=17"),
        *("--tune=run", f"--weights={WEIGHTS if WEIGHTS.exists() else 'sample'}"),
        *(f"--imagenet={photographs}", f"--artifacts={folder.parent / 'store'}"),
        *(f"--evidence={folder / 'evidence'}", *more),
        environment={"CONFORMANCE_EMULATED_BOARD": str(board.folder)},
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return records(folder / "evidence")


def statuses(records: list[Record]) -> Counter[tuple[str, str, Status]]:
    return Counter(
        (record.test, record.check.id, record.check.status)
        for record in records
        if isinstance(record, CheckRecord)
    )


def built(folder: Path) -> Counter[tuple[str, str]]:
    """How often each artifact was built."""
    used = read_artifacts(run_folder(folder / "evidence"))
    return Counter((record.kind, record.key) for record in used if record.event == "built")


def test_two_workers_say_the_same_and_build_each_artifact_once(
    board: EmulatedBoard, photographs: Path, tmp_path: Path
) -> None:
    shared = found(board, photographs, tmp_path / "shared", "-n", "2")
    alone = found(board, photographs, tmp_path / "alone")
    assert outcomes(shared) == outcomes(alone)
    assert statuses(shared) == statuses(alone)
    assert not built(tmp_path / "alone")
    made = built(tmp_path / "shared")
    assert set(made.values()) == {1}
    kinds = Counter(kind for kind, _ in made)
    assert kinds["onnx_model"] == 1
    assert kinds["om_model"] == 5  # batch 1 and 16, each with AIPP and without, and 16 tuned
