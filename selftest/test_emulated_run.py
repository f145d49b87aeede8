"""The hardware suite on the emulated board: workers share what is built, and agree."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from conformance.check import SkipReason, Status
from conformance.evidence.bundle_files import read_evidence
from conformance.evidence.gate import read_gates
from conformance.evidence.record import CheckRecord, Record, read_artifacts
from conformance.evidence.tidy import belongs
from conformance.evidence.verify import verify
from conformance.spec import load_spec, model_names
from emulator import EmulatedBoard, install
from selftest.fault_matrix_runs import prepare_photographs
from selftest.photographs import WEIGHTS_OPTION
from selftest.suites import checks, outcomes, records, run_folder, run_suite


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs") / "imagenet"
    prepare_photographs(folder)
    return folder


def found(board: EmulatedBoard, photographs: Path, folder: Path, *more: str) -> list[Record]:
    """Run the claims that rest on artifacts, and return what they recorded.

    Those about throughput rest on the same ones and take as long as all others together; all are
    made by two workers where the suite runs on real input.
    """
    ended = run_suite(
        *("-m", "npu", "-q", "--board=emulated", "--batch=1,16", "--images=17"),
        *("tests/test_atc.py", "tests/test_accuracy.py", "--tune=run", WEIGHTS_OPTION),
        *(f"--imagenet={photographs}", f"--artifacts={folder.parent / 'store'}"),
        *(f"--evidence={folder / 'evidence'}", *more),
        environment={"CONFORMANCE_EMULATED_BOARD": str(board.folder)},
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "chip: NPU 0 chip 0 (310), Ascend310, --chips=0" in ended.stdout + ended.stderr
    return records(folder / "evidence")


def test_a_soc_whose_best_batch_size_decides_meets_its_gate(
    photographs: Path, tmp_path: Path
) -> None:
    """Rates of other batch sizes are recorded without a bound: these are not what is required."""
    board = install(tmp_path / "board", "Ascend310P3")
    ended = run_suite(
        *("tests/test_perf.py", "-k", "card_is_as_fast", "--gate=rehearsal", "--batch=1,8"),
        *("--board=emulated:Ascend310P3", WEIGHTS_OPTION, "--images=17"),
        *(f"--imagenet={photographs}", f"--artifacts={tmp_path / 'store'}"),
        f"--evidence={tmp_path / 'evidence'}",
        environment={"CONFORMANCE_EMULATED_BOARD": str(board.folder)},
    )
    told = read_evidence(run_folder(tmp_path / "evidence"))
    cards = [made.check for made in told.checks if made.check.id == "throughput.card"]
    ways = {check.coordinates["batch"]: (check.status, check.direction) for check in cards}
    assert ways == {1: (Status.PASS, "recorded"), 8: (Status.PASS, "at least")}
    assert told.decision
    lacking = "\n".join(told.decision.reasons)
    assert "missing: export.valid" in lacking, ended.stdout
    assert "throughput.card" not in lacking


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


def demand_whole_bundle(bundle: Path) -> None:
    """Demand what a bundle of a board must hold, and nothing that the run only worked with."""
    specs = {name: load_spec(name) for name in model_names()}
    assert verify(bundle, read_gates(), specs).problems == ()
    evidence = read_evidence(bundle)
    kinds = {digest.kind for digest in evidence.digests.values()}
    assert kinds == {"weights", "onnx_model", "dataset", "om_model", "dumps", "performance"}
    assert evidence.board
    for name in (evidence.board.npu_smi_before, evidence.board.npu_smi_after):
        assert "npu-smi" in (bundle / name).read_text()
    files = [p.relative_to(bundle).as_posix() for p in bundle.rglob("*") if not p.is_dir()]
    assert all(map(belongs, files))
    assert {name.rpartition(".")[2] for name in files if name.startswith("logs/")} >= {"log", "txt"}
    measured = [made for made in evidence.checks if made.test.startswith("tests/")]
    assert all(made.seconds > 0 for made in measured)


def test_two_workers_say_the_same_and_build_each_artifact_once(
    photographs: Path, tmp_path: Path
) -> None:
    """And so does the store alone, once the board has lost its ATC."""
    board = install(tmp_path / "board")
    shared = found(board, photographs, tmp_path / "shared", "-n", "2")
    alone = found(board, photographs, tmp_path / "alone")
    assert outcomes(shared) == outcomes(alone)
    assert statuses(shared) == statuses(alone)
    assert not built(tmp_path / "alone")
    demand_whole_bundle(run_folder(tmp_path / "shared/evidence"))
    made = built(tmp_path / "shared")
    assert set(made.values()) == {1}
    kinds = Counter(kind for kind, _ in made)
    assert kinds["onnx_model"] == 1
    assert kinds["tuning"] == 1
    assert kinds["om_model"] == 5  # batch 1 and 16, each with AIPP and without, and 16 tuned
    (board.bin / "atc").unlink()
    later = found(board, photographs, tmp_path / "later", "--tune=stored")
    assert not built(tmp_path / "later")
    demand_same_but_for_identity(alone, later)


def demand_same_but_for_identity(before: list[Record], later: list[Record]) -> None:
    """Demand that without ATC only those claims skip that need it to read an ``.om`` back."""
    asked = {name for name in outcomes(before) if "test_om_is_for_this_batch_input_and_soc" in name}
    assert outcomes(later) == outcomes(before) | dict.fromkeys(asked, Status.SKIP)
    skipped = [made for made in checks(later) if made.id == "atc.identity"]
    assert len(skipped) == len(asked) > 0
    assert {made.reason for made in skipped} == {SkipReason.NO_ATC}
    assert all("atc is missing" in made.detail for made in skipped)
