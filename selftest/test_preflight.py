"""What a preparation needs is weighed against the machine before anything is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from conformance.errors import ConformanceError
from conformance.imagenet.preflight import preflight
from conformance.spec import load_spec

SPEC = load_spec("squeezenet1_1").preprocess


class Disk:
    """What os.statvfs says of a disk with 10 MB and 4 files to spare."""

    f_bavail = 2500
    f_frsize = 4000
    f_files = 100
    f_favail = 4


def test_preflight_fits_shards_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _path: Disk)
    found = preflight(50_000, SPEC, "float32", tmp_path / "not" / "yet")
    assert found.need_bytes == 50_000 * 602_112
    assert found.free_bytes == 10_000_000
    assert found.shard == 4  # the disk would hold 14, its files allow 4
    assert "28.04 GiB needed" in found.describe()
    assert "12500 of up to 4 images" in found.describe()
    assert "50,000 needed, 4 at once, 4 free" in found.describe()
    assert preflight(50_000, SPEC, "float32", tmp_path, most=3).shard == 3


def test_preflight_refuses_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Disk, "f_bavail", 100)
    monkeypatch.setattr(os, "statvfs", lambda _path: Disk)
    with pytest.raises(ConformanceError, match="disk is full"):
        preflight(1, SPEC, "float32", tmp_path)


def test_preflight_refuses_too_many_processes(tmp_path: Path) -> None:
    with pytest.raises(ConformanceError, match="memory is too small"):
        preflight(1, SPEC, "float32", tmp_path, workers=10**6)


def test_preflight_of_a_disk_without_inode_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Disk, "f_files", 0)
    monkeypatch.setattr(os, "statvfs", lambda _path: Disk)
    found = preflight(50_000, SPEC, "float32", tmp_path)
    assert found.shard == 14
    assert "no limit" in found.describe()
