"""Two suites of two users meet on one machine, and a dead one holds nothing."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from conformance.ascend.lock_files import LocksUnusableError
from conformance.ascend.locks import MachineLocks, Rank, held
from conformance.ascend.tool_run import Survivor
from conformance.errors import BoardError, ConformanceError

ROOT = Path(__file__).resolve().parent.parent
OTHER_USER = 12345

OTHER_SUITE = """
import os, sys, time
from pathlib import Path
from conformance.ascend.locks import MachineLocks
if len(sys.argv) > 3:
    os.setgid(int(sys.argv[3])); os.setuid(int(sys.argv[3]))
os.umask(0o077)
with eval("MachineLocks(Path(sys.argv[1]))." + sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def other_suite(folder: Path, lock: str, *user: str) -> Iterator[subprocess.Popen[bytes]]:
    other = subprocess.Popen(
        [sys.executable, "-c", OTHER_SUITE, str(folder), lock, *user],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert other.stdout
    try:
        assert other.stdout.readline() == b"held\n"
        yield other
    finally:
        other.kill()
        other.wait()
        other.stdout.close()


def take(lock: contextlib.AbstractContextManager[None]) -> None:
    with lock:
        pass


CHIP_0 = "chips([(0, 0)], wait_s=0)"


@pytest.fixture
def locks(tmp_path: Path) -> MachineLocks:
    return MachineLocks(tmp_path / "locks")


def test_a_leased_chip_is_refused_to_another_suite_and_names_the_holder(
    locks: MachineLocks,
) -> None:
    with other_suite(locks.folder, CHIP_0) as other:
        with pytest.raises(BoardError, match="chip-0-0 is held") as caught:
            take(locks.chips([(0, 0)], wait_s=0.1))
        assert f"process {other.pid}" in str(caught.value)
        with locks.chips([(0, 1)], wait_s=0):
            assert held() == (Rank.CHIPS,)


def test_a_killed_holder_releases_its_chip(locks: MachineLocks) -> None:
    with other_suite(locks.folder, CHIP_0) as other:
        other.kill()
        take(locks.chips([(0, 0)], wait_s=5))


def test_a_waiter_gets_the_chip_when_it_is_released(locks: MachineLocks) -> None:
    with other_suite(locks.folder, CHIP_0) as other:
        assert other.stdin
        threading.Timer(0.2, other.stdin.close).start()
        take(locks.chips([(0, 0)], wait_s=10))


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another user reaches; pytest keeps its own closed."""
    with tempfile.TemporaryDirectory(prefix="locks-") as folder:
        Path(folder).chmod(0o1777)
        yield Path(folder)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become another user")
@pytest.mark.parametrize("first", ["me", "other"])
def test_two_users_share_the_folder(open_folder: Path, first: str) -> None:
    locks = MachineLocks(open_folder / "locks")
    if first == "me":
        take(locks.chips([(0, 0)], wait_s=0))
    with (
        other_suite(locks.folder, CHIP_0, str(OTHER_USER)),
        pytest.raises(BoardError, match="held"),
    ):
        take(locks.chips([(0, 0)], wait_s=0))
    with locks.chips([(0, 0)], wait_s=0):
        assert locks.folder.stat().st_mode & 0o7777 == 0o1777
        assert (locks.folder / "chip-0-0.lock").stat().st_mode & 0o777 == 0o666


def test_several_chips_are_leased_in_one_order_and_all_or_none(locks: MachineLocks) -> None:
    with other_suite(locks.folder, "chips([(1, 0)], wait_s=0)"):
        with pytest.raises(BoardError, match="chip-1-0"):
            take(locks.chips([(1, 0), (0, 0)], wait_s=0))
        take(locks.chips([(0, 0)], wait_s=0))


def test_sharers_of_the_machine_keep_a_timer_out_and_each_other_in(locks: MachineLocks) -> None:
    with other_suite(locks.folder, "machine(exclusive=False, wait_s=0)"):
        take(locks.machine(exclusive=False, wait_s=0))
        with pytest.raises(BoardError, match="held"):
            take(locks.machine(exclusive=True, wait_s=0))
    timer = other_suite(locks.folder, "machine(exclusive=True, wait_s=0)")
    with timer, pytest.raises(BoardError, match="held"):
        take(locks.machine(exclusive=False, wait_s=0))


def test_a_waiting_timer_is_not_overtaken_by_new_sharers(locks: MachineLocks) -> None:
    measured = threading.Event()

    def measure() -> None:
        with locks.machine(exclusive=True, wait_s=10):
            measured.set()

    timer = threading.Thread(target=measure)
    with other_suite(locks.folder, "machine(exclusive=False, wait_s=0)"):
        timer.start()
        time.sleep(0.3)
        with pytest.raises(BoardError, match="gate"):
            take(locks.machine(exclusive=False, wait_s=0))
        assert not measured.is_set()
    timer.join(5)
    assert measured.is_set()


def test_the_wrong_order_is_refused_instead_of_waiting_in_a_circle(locks: MachineLocks) -> None:
    with locks.machine(exclusive=False, wait_s=0):
        with pytest.raises(ConformanceError, match="wrong order"):
            take(locks.chips([(0, 0)], wait_s=0))
        with pytest.raises(ConformanceError, match="wrong order"):
            take(locks.machine(exclusive=True, wait_s=0))
        with locks.npu_smi(wait_s=0):
            assert held() == (Rank.MACHINE, Rank.NPU_SMI)
    assert held() == ()


def test_a_chip_with_an_unkillable_tool_is_not_leased_until_it_is_gone(
    locks: MachineLocks,
) -> None:
    me = Survivor(os.getpid(), psutil.Process().create_time(), "atc --model", "disk-sleep")
    locks.mark_unusable((0, 0), [me])
    with pytest.raises(BoardError, match="could not be killed") as caught:
        take(locks.chips([(0, 0)], wait_s=0))
    assert "atc --model" in str(caught.value)
    locks.mark_unusable((0, 0), [Survivor(me.pid, 1.0, me.command, me.state)])
    take(locks.chips([(0, 0)], wait_s=0))


@pytest.mark.parametrize("kind", ["symlink", "hardlink", "folder"])
def test_a_planted_lock_file_is_refused_and_what_it_leads_to_untouched(
    locks: MachineLocks, tmp_path: Path, kind: str
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    locks.folder.mkdir()
    planted = locks.folder / "npu-smi.lock"
    if kind == "symlink":
        planted.symlink_to(victim)
    elif kind == "hardlink":
        planted.hardlink_to(victim)
    else:
        planted.mkdir()
    with pytest.raises(ConformanceError, match="cannot be used"):
        take(locks.npu_smi(wait_s=0))
    assert victim.read_text() == "precious"


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConformanceError, match="cannot be used"):
        take(MachineLocks(tmp_path / "file/locks").npu_smi(wait_s=0))


def test_a_planted_folder_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "locks").symlink_to(tmp_path / "real")
    with pytest.raises(ConformanceError, match="not a folder"):
        take(MachineLocks(tmp_path / "locks").npu_smi(wait_s=0))


def test_a_lock_on_a_file_that_was_just_removed_is_not_taken_for_one(
    locks: MachineLocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fcntl.flock
    removed: list[int] = []

    def remove_then_lock(descriptor: int, mode: int) -> None:
        if not removed:
            removed.append(descriptor)
            (locks.folder / "chip-0-0.lock").unlink()
        real(descriptor, mode)

    monkeypatch.setattr(fcntl, "flock", remove_then_lock)
    with locks.chips([(0, 0)], wait_s=5):
        assert (locks.folder / "chip-0-0.lock").exists()
    assert removed


def test_a_lock_file_removed_under_its_holder_is_made_anew(locks: MachineLocks) -> None:
    with locks.chips([(0, 0)], wait_s=0):
        (locks.folder / "chip-0-0.lock").unlink()
    with locks.chips([(0, 0)], wait_s=0):
        text = (locks.folder / "chip-0-0.lock").read_text()
    assert json.loads(text)["pid"] == os.getpid()


def no_room(*_: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_costs_neither_the_lock_nor_its_release(
    locks: MachineLocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    with locks.chips([(0, 0)], wait_s=0):
        monkeypatch.setattr("conformance.ascend.lock_files.os.pwrite", no_room)
    with locks.chips([(0, 0)], wait_s=0):
        assert locks.holder((0, 0)) == "another suite, or a worker of this one"
    take(locks.chips([(0, 0)], wait_s=0))


def test_a_file_system_without_locks_is_an_error(
    locks: MachineLocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(LocksUnusableError, match="cannot be used") as caught:
        take(locks.chips([(0, 0)], wait_s=0))
    assert "No locks available" in str(caught.value)


def test_a_mark_that_cannot_be_written_names_the_tool_and_bars_the_chip(
    locks: MachineLocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as full:
        full.setattr("conformance.ascend.lock_files.os.pwrite", no_room)
        with pytest.raises(BoardError, match="No space left on device") as caught:
            locks.mark_unusable((0, 0), [Survivor(4711, 1.0, "atc --model", "disk-sleep")])
    assert "4711 (disk-sleep) atc --model" in str(caught.value)
    with pytest.raises(BoardError, match="may be used"):
        take(locks.chips([(0, 0)], wait_s=0))


@pytest.mark.parametrize(
    "text",
    ["", "{", "{}", "5", "[5]", '[{"pid": 1}]']
    + [json.dumps([{"pid": pid, "started_at": 1, "command": "", "state": ""}]) for pid in (-1, "")],
)
def test_a_damaged_mark_bars_the_chip_and_says_what_to_do(locks: MachineLocks, text: str) -> None:
    locks.mark_unusable((0, 0), [])
    mark = locks.folder / "chip-0-0-unusable.lock"
    mark.write_text(text)
    with pytest.raises(BoardError, match="may be used by a tool") as caught:
        take(locks.chips([(0, 0)], wait_s=0))
    assert f"have {mark} removed" in caught.value.next_step
    mark.unlink()
    take(locks.chips([(0, 0)], wait_s=0))


def test_a_damaged_name_of_a_holder_is_no_obstacle(locks: MachineLocks) -> None:
    with other_suite(locks.folder, CHIP_0):
        (locks.folder / "chip-0-0.lock").write_text('{"pid": "mine"}')
        with pytest.raises(BoardError, match="chip-0-0 is held"):
            take(locks.chips([(0, 0)], wait_s=0))
