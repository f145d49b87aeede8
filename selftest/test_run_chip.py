"""A run whose chip another suite leases waits for it, says for whom, and gives up in the end."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from conformance.ascend import run_chip
from conformance.ascend.devices import Device
from conformance.ascend.locks import MachineLocks
from conformance.ascend.npu_table import NpuTable, parse_npu_table
from conformance.ascend.run_chip import ChipChoice, RunChip
from conformance.ascend.tool_run import Survivor
from conformance.errors import BoardError

SAMPLE = Path(__file__).parent / "samples/npu_smi/info-310.txt"
IDLE = SAMPLE.read_text()
USER = "| 0       0                 | 4711          | benchmark.x86_6          | 400  |"
BUSY = re.sub(r"\| No running processes found .*", USER, IDLE)
KEY = (0, 0)


@pytest.fixture
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MachineLocks:
    monkeypatch.setattr(run_chip, "SETTLING_S", 0.0)
    monkeypatch.setattr(run_chip, "LOOK_EVERY_S", 0.01)
    return MachineLocks(tmp_path / "locks")


def chip_of(
    locks: MachineLocks,
    read: Callable[[], str],
    said: list[str],
    wait_s: float = 60.0,
    wanted: tuple[int, ...] = (),
) -> RunChip:
    def table() -> NpuTable:
        return parse_npu_table(read())

    device = Device(acl_id=0, logic_id=0, chip=table().chips[0], soc_version="Ascend310")
    agreed = locks.folder / "run" / "chip.json"
    return RunChip(table, locks, ChipChoice([device], wanted, agreed, said.append, wait_s))


def test_the_sample_is_busy() -> None:
    assert BUSY != IDLE


def test_a_leased_chip_is_waited_for(locks: MachineLocks) -> None:
    said: list[str] = []
    leased, released = threading.Event(), threading.Event()

    def other_suite() -> None:
        with locks.chips([KEY], wait_s=0):
            leased.set()
            released.wait(30)

    def read() -> str:
        if said:  # it waits: the other suite may end now
            released.set()
        return IDLE if released.is_set() and not locks.holder(KEY) else BUSY

    other = threading.Thread(target=other_suite)
    other.start()
    assert leased.wait(10)
    assert chip_of(locks, read, said).device.chip.key == KEY
    other.join()
    assert len(said) == 1, "told once"
    assert "waiting for a chip, at most 0.0167 h" in said[0]
    assert f"NPU 0 chip 0 (310) is leased by process {os.getpid()} of user" in said[0]


def test_a_leased_chip_is_waited_for_though_it_is_idle(locks: MachineLocks) -> None:
    said: list[str] = []
    leased, released = threading.Event(), threading.Event()

    def other_suite() -> None:
        with locks.chips([KEY], wait_s=0):
            leased.set()
            released.wait(30)

    def told(text: str) -> None:
        said.append(text)
        released.set()

    other = threading.Thread(target=other_suite)
    other.start()
    assert leased.wait(10)
    chip = chip_of(locks, lambda: IDLE, said)
    chip._choice = replace(chip._choice, say=told)
    assert chip.device.chip.key == KEY
    other.join()
    assert "is leased by process" in said[0]


def test_the_wait_for_a_leased_idle_chip_has_a_limit(locks: MachineLocks) -> None:
    with locks.chips([KEY], wait_s=0), pytest.raises(BoardError, match="no chip became free") as e:
        _ = chip_of(locks, lambda: IDLE, [], wait_s=0.05).device
    assert "no process on it, leased by process" in str(e.value.got)


def test_an_unusable_chip_is_not_waited_for(locks: MachineLocks) -> None:
    born = psutil.Process().create_time()
    locks.mark_unusable(KEY, [Survivor(os.getpid(), born, "stuck", "disk-sleep")])
    said: list[str] = []
    with pytest.raises(BoardError, match="no chip is free") as caught:
        _ = chip_of(locks, lambda: IDLE, said).device
    assert f"could not be killed: {os.getpid()} (disk-sleep) stuck" in str(caught.value.got)
    assert not said


def test_the_wait_for_a_leased_chip_has_a_limit(locks: MachineLocks) -> None:
    said: list[str] = []
    with locks.chips([KEY], wait_s=0), pytest.raises(BoardError) as caught:
        _ = chip_of(locks, lambda: BUSY, said, wait_s=0.05).device
    assert caught.value.what == "no chip became free"
    assert "4711 benchmark" in str(caught.value.got)
    assert f"leased by process {os.getpid()}" in str(caught.value.got)
    assert len(said) == 1


def test_a_stranger_is_not_waited_for(locks: MachineLocks) -> None:
    said: list[str] = []
    with pytest.raises(BoardError, match="no chip is free"):
        _ = chip_of(locks, lambda: BUSY, said).device
    assert not said


def test_a_chip_that_was_asked_for_is_taken_as_it_is(locks: MachineLocks) -> None:
    with locks.chips([KEY], wait_s=0):
        assert chip_of(locks, lambda: BUSY, [], wanted=(0,)).device.acl_id == 0


def test_a_long_wait_for_a_lock_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conformance.ascend.lock_files.SILENT_S", 0.0)
    said: list[str] = []
    locks = MachineLocks(tmp_path / "locks", said.append)
    refused: list[str] = []

    def second_suite() -> None:
        try:
            with locks.chips([KEY], wait_s=0.15):
                pass
        except BoardError as error:
            refused.append(str(error.got))

    with locks.chips([KEY], wait_s=0):
        other = threading.Thread(target=second_suite)
        other.start()
        other.join()
    assert [line.partition(", at most ")[0] for line in said] == ["waiting for chip-0-0"]
    assert refused[0].startswith(f"process {os.getpid()} of user")
