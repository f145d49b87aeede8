"""Digests of images: remembered while a file is left alone, and never for longer."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from conformance.errors import DatasetError
from conformance.imagenet import digests
from conformance.imagenet.folders import open_dataset


def flat(root: Path, labels: dict[str, int], present: Sequence[str] | None = None) -> Path:
    (root / "val").mkdir(parents=True)
    for name in labels if present is None else present:
        (root / "val" / name).write_bytes(name.encode())
    text = "".join(f"{name} {label}\n" for name, label in labels.items())
    (root / "val_label.txt").write_text(text)
    return root


def test_the_digest_sees_name_label_and_content(tmp_path: Path) -> None:
    root = flat(tmp_path, {"a.JPEG": 0, "b.JPEG": 1})
    dataset = open_dataset(root, 10)
    before = dataset.digest()
    assert before == open_dataset(root, 10).digest()
    assert before != open_dataset(flat(tmp_path / "l", {"a.JPEG": 0, "b.JPEG": 2}), 10).digest()
    assert before != open_dataset(flat(tmp_path / "n", {"a.JPEG": 0, "c.JPEG": 1}), 10).digest()
    (root / "val" / "a.JPEG").write_bytes(b"other")
    assert before != dataset.digest()


@pytest.fixture
def settled(tmp_path: Path) -> Path:
    path = tmp_path / "a.JPEG"
    path.write_bytes(b"first")
    os.utime(path, ns=(10**18, 10**18))
    return path


def test_a_settled_file_is_not_read_twice(settled: Path, tmp_path: Path) -> None:
    cache = tmp_path / "deep" / "digests.sqlite"
    first = digests.sha256_of_files([settled], cache_file=cache)
    facts = settled.stat()
    with settled.open("r+b") as file:  # the same size, time and inode, so the cache must answer
        file.write(b"other")
    os.utime(settled, ns=(facts.st_mtime_ns, facts.st_mtime_ns))
    assert digests.sha256_of_files([settled], cache_file=cache) == first
    assert digests.sha256_of_files([settled], cache_file=cache, fresh=True) != first
    assert digests.sha256_of_files([settled], cache_file=cache) != first


def test_a_changed_time_is_noticed(settled: Path, tmp_path: Path) -> None:
    cache = tmp_path / "digests.sqlite"
    first = digests.sha256_of_files([settled], cache_file=cache)
    settled.write_bytes(b"other")
    assert digests.sha256_of_files([settled], cache_file=cache) != first


def test_a_file_just_written_is_not_remembered(tmp_path: Path) -> None:
    path, cache = tmp_path / "a.JPEG", tmp_path / "digests.sqlite"
    path.write_bytes(b"new")
    digests.sha256_of_files([path], cache_file=cache)
    with sqlite3.connect(cache) as connection:
        assert connection.execute("SELECT count(*) FROM digests").fetchone() == (0,)


def test_a_file_that_changes_while_others_are_read_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, cache = tmp_path / "a.JPEG", tmp_path / "digests.sqlite"
    path.write_bytes(b"AAAA")
    now_ns = path.stat().st_mtime_ns
    digest = digests._sha256

    def slow(identity: digests.FileIdentity) -> str:
        found = digest(identity)
        path.write_bytes(b"BBBB")  # within one tick of the clock, so that its time stays
        os.utime(path, ns=(now_ns, now_ns))
        # Thousands of other files take until long after.
        monkeypatch.setattr(time, "time_ns", lambda: now_ns + 10**10)
        return found

    monkeypatch.setattr(time, "time_ns", lambda: now_ns)
    monkeypatch.setattr(digests, "_sha256", slow)
    digests.sha256_of_files([path], cache_file=cache)
    monkeypatch.setattr(digests, "_sha256", digest)
    remembered = digests.sha256_of_files([path], cache_file=cache)
    assert remembered == digests.sha256_of_files([path])


def test_a_path_that_is_no_text_is_remembered(tmp_path: Path) -> None:
    folder, cache = tmp_path / os.fsdecode(b"imag\xe9net"), tmp_path / "digests.sqlite"
    folder.mkdir()
    path = folder / "a.JPEG"
    path.write_bytes(b"AAAA")
    os.utime(path, (1e9, 1e9))
    first = digests.sha256_of_files([path], cache_file=cache)
    path.write_bytes(b"BBBB")
    os.utime(path, (1e9, 1e9))
    assert digests.sha256_of_files([path], cache_file=cache) == first


def test_a_damaged_cache_is_made_anew(settled: Path, tmp_path: Path) -> None:
    cache = tmp_path / "digests.sqlite"
    cache.write_bytes(b"no database at all" * 100)
    first = digests.sha256_of_files([settled], cache_file=cache)
    assert first == digests.sha256_of_files([settled])
    with sqlite3.connect(cache) as connection:
        assert connection.execute("SELECT sha256 FROM digests").fetchone() == (first[0],)


def test_a_cache_that_cannot_be_written_costs_only_time(settled: Path) -> None:
    assert digests.sha256_of_files([settled], cache_file=Path("/proc/no/cache")) == (
        digests.sha256_of_files([settled])
    )


def test_many_may_share_one_cache(settled: Path, tmp_path: Path) -> None:
    cache, got = tmp_path / "digests.sqlite", []
    threads = [
        threading.Thread(
            target=lambda: got.append(digests.sha256_of_files([settled], cache_file=cache))
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [digests.sha256_of_files([settled])] * 8


def test_a_vanished_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"gone\.JPEG"):
        digests.sha256_of_files([tmp_path / "gone.JPEG"])
