"""Weights files: identity by digest, torch's cache, and files that cannot be used at all."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.export.checkpoint import (
    check_published,
    classify,
    file_digests,
    find_published,
    identify,
    torch_cache_candidates,
)
from conformance.export.state_dict import load_state_dict
from conformance.spec import ModelSpec, PublishedWeights
from selftest.weights_files import REAL, SPEC, refusal, weights_of


def spec_with(*weights: PublishedWeights) -> ModelSpec:
    return msgspec.structs.replace(SPEC, weights=weights)


# Identity


@settings(max_examples=25)
@given(st.binary(min_size=1, max_size=3 << 20 | 1))
def test_digests_are_those_of_the_whole_content(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("digests") / "w.pth"
    path.write_bytes(content)
    digests = file_digests(path)
    assert digests.sha256 == hashlib.sha256(content).hexdigest()
    assert digests.md5 == hashlib.md5(content, usedforsecurity=False).hexdigest()


def test_digests_of_a_file_of_several_blocks(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_001
    (tmp_path / "w.pth").write_bytes(content)
    assert file_digests(tmp_path / "w.pth").sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("digits", "md5", "expected"),
    [
        (8, False, "custom"),
        (63, False, "custom"),
        (64, False, "published"),
        (8, True, "published"),
    ],
)
def test_only_a_whole_digest_proves(tmp_path: Path, digits: int, md5: bool, expected: str) -> None:
    (tmp_path / "w.pth").write_bytes(b"weights")
    spec = spec_with(weights_of(b"other", md5=True), weights_of(b"weights", digits=digits, md5=md5))
    assert classify(tmp_path / "w.pth", spec) == expected
    found = identify(tmp_path / "w.pth", spec, found="given")
    assert found.weights_class == expected
    assert found.published_as == ("net-01234567.pth" if expected == "published" else None)
    assert found.sha256 == hashlib.sha256(b"weights").hexdigest()
    assert ("no proof" in found.origin) == (expected == "custom")
    assert "given" in found.origin
    assert "\n" not in found.origin


def test_name_of_a_published_file_proves_nothing(tmp_path: Path) -> None:
    path = tmp_path / SPEC.weights[0].file
    path.write_bytes(b"weights")
    assert classify(path, SPEC) == "custom"


@pytest.mark.skipif(not REAL.exists(), reason="the real weights lie beside the checkout")
def test_rounded_real_weights_are_custom_and_load() -> None:
    found = identify(REAL, SPEC, found="given with --weights")
    assert found.weights_class == "custom"
    assert found.sha256 == "5c36ac8b11e58143a7fd2badc065e07d2605392a78f0a7916a501daa052e4e56"
    assert sum(tensor.numel() for tensor in load_state_dict(REAL, SPEC).values()) == 1_235_496


@given(st.sampled_from(["md5", "sha256"]), st.integers(0, 7))
def test_a_published_file_must_have_every_known_digest(
    tmp_path_factory: pytest.TempPathFactory, wrong: str, digit: int
) -> None:
    path = tmp_path_factory.mktemp("published") / "w.pth"
    path.write_bytes(b"weights")
    weights = weights_of(b"weights", md5=True)
    check_published(path, weights, next_step="none")
    field = "md5" if wrong == "md5" else "sha256_prefix"
    known = str(getattr(weights, field))
    other = "0" if known[digit] != "0" else "1"
    changed = {field: known[:digit] + other + known[digit + 1 :]}
    message = refusal(
        lambda: check_published(
            path, msgspec.structs.replace(weights, **changed), next_step="remove it"
        )
    )
    assert changed[field] in message
    assert file_digests(path).md5 in message
    assert file_digests(path).sha256 in message


# torch's cache


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"XDG_CACHE_HOME": "/x/cache"},
        {"TORCH_HOME": "/t/home"},
        {"TORCH_HOME": "~/t", "XDG_CACHE_HOME": "/x/cache"},
        {"XDG_CACHE_HOME": "~/c"},
    ],
)
def test_cache_folder_is_torchs_own(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name in ("XDG_CACHE_HOME", "TORCH_HOME", "TORCH_HUB"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    assert torch_cache_candidates(SPEC) == [folder / weights.file for weights in SPEC.weights]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_cached_file_is_found(cache: Path) -> None:
    spec = spec_with(SPEC.weights[0], weights_of(b"weights", md5=True))
    assert find_published(spec) is None
    (cache / "net-01234567.pth").write_bytes(b"weights")
    assert find_published(spec) == cache / "net-01234567.pth"


def test_cached_file_that_nothing_can_prove_is_passed_over(cache: Path) -> None:
    (cache / "net-01234567.pth").write_bytes(b"weights")
    assert find_published(spec_with(weights_of(b"weights"))) is None


def test_cached_file_with_a_wrong_digest_is_named_and_kept(cache: Path) -> None:
    path = cache / "net-01234567.pth"
    path.write_bytes(b"others")
    message = refusal(lambda: find_published(spec_with(weights_of(b"weights", md5=True))))
    assert str(path) in message
    assert "remove the file" in message
    assert "--weights=" in message
    assert path.read_bytes() == b"others"


def test_broken_link_in_the_cache_is_not_taken_for_absence(cache: Path) -> None:
    (cache / "net-01234567.pth").symlink_to(cache / "gone")
    assert "no such file" in refusal(
        lambda: find_published(spec_with(weights_of(b"weights", md5=True)))
    )


def test_unreadable_cache_is_not_taken_for_absence(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: Path, **_: object) -> os.stat_result:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", denied)
    monkeypatch.setattr(Path, "lstat", denied)
    assert cache.name == "checkpoints"
    message = refusal(lambda: find_published(spec_with(weights_of(b"weights", md5=True))))
    assert "Permission denied" in message


# Files that cannot be used at all


def test_missing_file_names_a_near_one(tmp_path: Path) -> None:
    (tmp_path / "squeezenet.pth").write_bytes(b"x")
    message = refusal(lambda: load_state_dict(tmp_path / "squezenet.pth", SPEC))
    assert f"did you mean {tmp_path / 'squeezenet.pth'}?" in message
    assert "no such file" in message


def test_missing_folder(tmp_path: Path) -> None:
    assert "no readable folder" in refusal(lambda: file_digests(tmp_path / "gone" / "w.pth"))


def test_folder(tmp_path: Path) -> None:
    assert "a folder" in refusal(lambda: load_state_dict(tmp_path, SPEC))


def test_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "w.pth")
    assert "a pipe" in refusal(lambda: file_digests(tmp_path / "w.pth"))


def test_link_to_itself(tmp_path: Path) -> None:
    (tmp_path / "w.pth").symlink_to(tmp_path / "w.pth")
    assert "symbolic links" in refusal(lambda: load_state_dict(tmp_path / "w.pth", SPEC))


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "w.pth").write_bytes(b"x")
    monkeypatch.setattr(Path, "open", denied)  # root, who may run this, can read every file
    assert "Permission denied" in refusal(lambda: file_digests(tmp_path / "w.pth"))


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "w.pth").touch()
    assert "0 bytes" in refusal(lambda: load_state_dict(tmp_path / "w.pth", SPEC))


def test_modules_import_nothing_heavy() -> None:
    code = (
        "import sys, conformance.export.checkpoint, conformance.export.download,"
        " conformance.export.state_dict, conformance.export.safe_load;"
        "print(sorted({'torch', 'torchvision', 'requests', 'pooch', 'rich', 'numpy'}"
        " & set(sys.modules)))"
    )
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
