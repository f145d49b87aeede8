"""The fault matrix: whatever goes wrong, the check that its row names says so, and says why."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from conformance.check import Check, Status
from emulator import known_faults
from selftest.fault_matrix_runs import FaultBench, Outcome, make_bench
from selftest.fault_rows import Row, known_rows, stating
from selftest.fault_server import fault_server

SEEDS = int(os.environ.get("FAULT_SEEDS", "3"))
SECONDS, WORK = "fault_seconds", "fault_work_s"
# What went wrong shows in the figure alone.
SAME_WORDS = {"tuning-without-effect"}
RecordProperty = Callable[[str, object], None]
STAGES = {
    "weights", "export", "atc", "preprocessing", "dataset", "inference outputs", "batch handling",
    "performance file", "board health", "concurrency", "kills", "disk",
}  # fmt: skip


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultBench]:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if worker else base) / "fault-matrix"
    with fault_server(core=int(worker.removeprefix("gw") or 0)) as server:
        yield make_bench(tmp_path_factory.mktemp("faults"), shared, server)


def rows() -> list[object]:
    """Every row; of one that is a known gap it is a failure to be caught unnoticed."""
    return [
        pytest.param(
            row,
            id=row.name,
            marks=[pytest.mark.xfail(strict=True, reason=row.gap)] if row.gap else [],
        )
        for row in known_rows().values()
    ]


@pytest.mark.parametrize("row", rows())
def test_every_fault_is_caught(
    bench: FaultBench, row: Row, record_property: RecordProperty
) -> None:
    outcome = bench.row(row)
    record_property(SECONDS, outcome.seconds)
    record_property(WORK, outcome.work_s)
    assert not outcome.running
    told = what_was_told(row, outcome)
    assert told, f"{row.check} is not {row.status}: {outcome.output}"
    assert any(says(bench, row) in message for message in told), told
    quiet = row.status in {Status.PASS, Status.INCONCLUSIVE}
    assert (outcome.status == 0) == quiet, outcome.output


def says(bench: FaultBench, row: Row) -> str:
    """What the row's check must say, of this bench's photographs."""
    first, second, *_, last = bench.names
    return row.says.format(first=first, second=second, last=last)


def plain(check: Check) -> str:
    """A check's message with white space made plain."""
    return " ".join(check.describe().split())


def what_was_told(row: Row, outcome: Outcome) -> list[str]:
    """The messages of the named check with the named status, white space made plain.

    A worker that was killed makes no check any more: then its test's own outcome must say so.
    """
    made = outcome.checks(row.check)
    if made:
        return [plain(check) for check in made if check.status is row.status]
    return [" ".join(end.message.split()) for end in outcome.ends if end.status is row.status]


@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
def test_a_sound_board_raises_no_alarm(
    bench: FaultBench, seed: int, record_property: RecordProperty
) -> None:
    outcome = bench.clean(seed)
    record_property(SECONDS, outcome.seconds)
    assert outcome.status == 0, outcome.output
    assert {end.status for end in outcome.ends} <= {
        Status.PASS,
        Status.SKIP,
        Status.INCONCLUSIVE,
    }, outcome.output
    assert len(outcome.checks("om.images")) >= 2
    assert not outcome.running
    assert what_sounds_like_a_row(bench, outcome) == {}


def what_sounds_like_a_row(bench: FaultBench, sound: Outcome) -> dict[str, str]:
    """Messages of a sound board with a row's words: those name no cause."""
    return {
        row.name: message
        for row in known_rows().values()
        if row.name not in SAME_WORDS
        for message in map(plain, sound.checks(row.check))
        if says(bench, row) in message
    }


def test_accuracy_does_not_see_the_flips_that_agreement_sees(bench: FaultBench) -> None:
    row = dataclasses.replace(known_rows()["decisions-flip-at-bs16"], check="accuracy.paired.top1")
    statuses = {check.status for check in bench.row(row).checks(row.check)}
    assert statuses
    assert statuses <= {Status.PASS, Status.INCONCLUSIVE}


def test_every_fault_of_the_board_has_a_row() -> None:
    of_the_board = {name for name, row in known_rows().items() if not row.cause}
    assert of_the_board == set(known_faults())


def test_every_stage_has_rows() -> None:
    counted = Counter(row.stage for row in known_rows().values() if not row.gap)
    assert set(counted) == STAGES
    assert counted.total() >= 60


@pytest.mark.parametrize("row", known_rows().values(), ids=lambda row: row.name)
def test_every_row_names_a_check_that_a_test_states(row: Row) -> None:
    assert row.check in stating()
    assert len(row.says) > 3
    assert row.symptom
