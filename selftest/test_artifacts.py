"""The artifact store: built once, found again, and never believed when it is damaged."""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import shutil
import signal
import tarfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import pytest
from filelock import FileLock

from conformance.__main__ import main
from conformance.artifacts import (
    Artifact,
    Request,
    Store,
    damage,
    file_sha256,
)
from conformance.errors import ArtifactError
from conformance.manifests import MANIFEST, read_manifest
from selftest.suites import run_python

CONTENT = b"some bytes"
NESTED = "deep/er/b.bin"
FORK = multiprocessing.get_context("fork")


def request(kind: str = "thing", makers: Mapping[str, str] | None = None, **inputs: str) -> Request:
    return Request(kind=kind, inputs={"a": "1", **inputs}, makers=dict(makers or {"tool": "1"}))


def build(folder: Path) -> dict[str, str]:
    (folder / "a.bin").write_bytes(CONTENT)
    (folder / NESTED).parent.mkdir(parents=True)
    (folder / NESTED).write_bytes(CONTENT[::-1])
    return {"weights_class": "custom"}


def forbidden(folder: Path) -> dict[str, str]:
    raise AssertionError(f"built again in {folder}")


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(ArtifactError) as caught:
        call()
    assert caught.value.next_step
    return str(caught.value)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def again(store: Store) -> Store:
    """Return the store as another process opens it."""
    return Store(store.root)


def finished(store: Store) -> list[Path]:
    return [folder for folder, _ in store.entries()]


# Built once


def test_built_once_and_found_again(tmp_path: Path) -> None:
    events: list[tuple[str, str]] = []
    for _ in range(2):
        store = Store(tmp_path, on_event=lambda event, kind, *_: events.append((event, kind)))
        made = store.get(request(), build if not events else forbidden)
        assert made.path("a.bin").read_bytes() == CONTENT
        assert made.path(NESTED).read_bytes() == CONTENT[::-1]
        assert made.sha256("a.bin") == file_sha256(made.path("a.bin"))
        assert made.facts == {"weights_class": "custom"}
        assert store.get(request(), forbidden) is made
    assert events == [("built", "thing"), ("found", "thing")]
    assert not list(tmp_path.glob("tmp/*"))


def test_a_file_that_the_artifact_does_not_have(store: Store) -> None:
    assert "a.bin" in refusal(lambda: store.get(request(), build).path("c.bin"))
    with pytest.raises(ArtifactError):
        store.get(request(), build).sha256("../a.bin")


@pytest.mark.parametrize(
    "other",
    [
        request("other"),
        request(b="2"),
        request(makers={"tool": "2"}),
        request(makers={"tool": "1", "other": "1"}),
        Request(kind="thing", inputs={"a": 1}, makers={"tool": "1"}),
    ],
)
def test_another_request_is_another_artifact(store: Store, other: Request) -> None:
    store.get(request(), build)
    assert other.key != request().key
    assert store.find(other) is None
    store.get(other, build)
    assert len(finished(store)) == 2


def test_a_new_tool_makes_a_new_artifact_of_the_same_identity() -> None:
    older, newer = request(makers={"tool": "1"}), request(makers={"tool": "2"})
    assert older.identity == newer.identity
    assert older.identity != request(b="2").identity
    assert Request(kind="thing", inputs={"b": 1, "a": 2}, makers={}).key == (
        Request(kind="thing", inputs={"a": 2, "b": 1}, makers={}).key
    )


def test_without_makers_the_newest_answers(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for now, version in ((200.0, "new"), (100.0, "old")):
        monkeypatch.setattr("conformance.artifacts.time.time", lambda now=now: now)
        store.get(request(makers={"tool": version}), build)
    unknown = msgspec.structs.replace(request(), makers=None)
    found = again(store).get(unknown, forbidden)
    assert found.manifest.request.makers == {"tool": "new"}
    shutil.rmtree(found.folder)
    older = again(store).find(unknown)
    assert older is not None
    assert older.manifest.request.makers == {"tool": "old"}
    other = msgspec.structs.replace(request(b="2"), makers=None)
    message = refusal(lambda: store.get(other, forbidden))
    assert "the store has no thing" in message
    assert "store pack" in message


def test_use_is_noted(store: Store) -> None:
    folder = store.get(request(), build).folder
    for use in (again(store).find, lambda wanted: again(store).get(wanted, forbidden)):
        os.utime(folder, (0, 0))
        use(request())
        assert folder.stat().st_mtime > time.time() - 60


# Damage


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"?")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("file", ["a.bin", NESTED, MANIFEST])
@pytest.mark.parametrize("harm", [truncate, flip, empty, Path.unlink, folder_instead])
def test_a_damaged_artifact_is_built_again(
    store: Store, file: str, harm: Callable[[Path], None]
) -> None:
    events: list[str] = []
    folder = store.get(request(), build).folder
    harm(folder / file)
    assert again(store).find(request()) is None
    watched = Store(store.root, on_event=lambda event, *_: events.append(event))
    made = watched.get(request(), build)
    assert made.path("a.bin").read_bytes() == CONTENT
    assert made.path(NESTED).read_bytes() == CONTENT[::-1]
    assert events == ["rebuilt"]
    again(store).get(request(), forbidden)


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "deep/../../outside"])
def test_a_manifest_never_leads_out_of_its_folder(store: Store, name: str) -> None:
    folder = store.get(request(), build).folder
    (folder.parent / "outside").write_bytes(CONTENT)
    content = msgspec.json.decode((folder / MANIFEST).read_bytes())
    content["files"][name] = content["files"]["a.bin"]
    (folder / MANIFEST).write_bytes(msgspec.json.encode(content))
    assert read_manifest(folder) is None
    assert again(store).find(request()) is None
    assert list(again(store).entries()) == [(folder, None)]


def test_an_artifact_under_the_name_of_another_is_not_taken_for_it(store: Store) -> None:
    other = request(b="2")
    folder = store.get(other, build).folder
    folder.rename(folder.with_name(request().key))
    assert again(store).find(request()) is None


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"null", b"\xff", b'{"files": {}}'])
def test_a_manifest_of_another_form_is_damage(store: Store, content: bytes) -> None:
    folder = store.get(request(), build).folder
    (folder / MANIFEST).write_bytes(content)
    assert read_manifest(folder) is None
    again(store).get(request(), build)


def test_damage_names_each_file(store: Store) -> None:
    made = store.get(request(), build)
    assert damage(made.folder, made.manifest) == []
    flip(made.folder / "a.bin")
    (made.folder / NESTED).unlink()
    assert damage(made.folder, made.manifest) == [
        "a.bin: digest differs from the manifest",
        f"{NESTED}: No such file or directory",
    ]


# Builds that fail


def test_a_build_without_a_file_is_refused(store: Store) -> None:
    with pytest.raises(ArtifactError, match="build left no file"):
        store.get(request(), lambda _: {})
    assert finished(store) == []


def test_a_failing_build_leaves_nothing_and_keeps_its_error(store: Store) -> None:
    def fails(folder: Path) -> dict[str, str]:
        build(folder)
        raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        store.get(request(), fails)
    assert finished(store) == store.leftovers() == []
    store.get(request(), build)


def test_a_foreign_error_of_the_system_is_not_blamed_on_the_store(store: Store) -> None:
    def reads_elsewhere(_: Path) -> dict[str, str]:
        raise FileNotFoundError(errno.ENOENT, "gone", "/data/image.JPEG")

    with pytest.raises(FileNotFoundError):
        store.get(request(), reads_elsewhere)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_while_building(store: Store, number: int) -> None:
    def full(folder: Path) -> dict[str, str]:
        build(folder)
        raise OSError(number, os.strerror(number))

    message = refusal(lambda: store.get(request(), full))
    assert "artifact store is full" in message
    assert str(store.root) in message
    assert "store gc" in message
    assert finished(store) == store.leftovers() == []


def test_a_file_larger_than_allowed(store: Store) -> None:
    def large(folder: Path) -> dict[str, str]:
        (folder / "a.bin").write_bytes(bytes(1 << 20))
        return {}

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        assert "full" in refusal(lambda: store.get(request(), large))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert finished(store) == []


def test_a_full_disk_while_the_manifest_is_written(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("conformance.manifests.os.fsync", full)
    assert "full" in refusal(lambda: store.get(request(), build))
    assert finished(store) == store.leftovers() == []


@pytest.mark.parametrize("place", ["", "locks", "tmp", "thing"])
def test_a_file_where_a_folder_must_be(tmp_path: Path, place: str) -> None:
    root = tmp_path / "store"
    (root / place).parent.mkdir(exist_ok=True)
    (root / place).touch()
    message = refusal(lambda: Store(root).get(request(), build))
    assert "artifact store cannot be written or locked" in message
    assert "--artifacts=DIR" in message
    assert str(root) in message


@pytest.mark.parametrize(
    "error", [PermissionError(errno.EACCES, "denied"), NotImplementedError("no flock here")]
)
def test_a_store_that_cannot_be_locked(
    store: Store, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(FileLock, "acquire", refuse)
    assert "cannot be written or locked" in refusal(lambda: store.get(request(), build))


def test_a_read_only_store_is_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EROFS, "Read-only file system")

    made = store.get(request(), build)
    monkeypatch.setattr("conformance.artifacts.os.utime", refuse)
    found = again(store).find(request())
    assert found is not None
    assert found.folder == made.folder


# Several processes


def _build_slowly(root: Path, log: Path) -> None:
    def slow(folder: Path) -> dict[str, str]:
        with log.open("a") as stream:
            stream.write("built\n")
        time.sleep(0.3)
        return build(folder)

    Store(root).get(request(), slow)


def test_two_processes_build_once(store: Store, tmp_path: Path) -> None:
    log = tmp_path / "log"
    both = [FORK.Process(target=_build_slowly, args=(store.root, log)) for _ in range(3)]
    for process in both:
        process.start()
    for process in both:
        process.join(30)
    assert [process.exitcode for process in both] == [0, 0, 0]
    assert log.read_text() == "built\n"
    store.get(request(), forbidden)


def _hang(root: Path, begun: Path) -> None:
    def hang(folder: Path) -> dict[str, str]:
        build(folder)
        begun.touch()
        time.sleep(60)
        return {}

    Store(root).get(request(), hang)


@pytest.fixture
def building(store: Store, tmp_path: Path) -> multiprocessing.process.BaseProcess:
    """A process in the middle of a build."""
    process = FORK.Process(target=_hang, args=(store.root, tmp_path / "begun"), daemon=True)
    process.start()
    deadline = time.monotonic() + 30
    while not (tmp_path / "begun").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return process


def test_a_killed_build_leaves_nothing_that_looks_finished(
    store: Store, building: multiprocessing.process.BaseProcess
) -> None:
    assert len(list(store.root.glob("tmp/*"))) == 1
    building.kill()
    building.join(10)
    assert finished(store) == []
    assert store.find(request()) is None
    assert len(store.leftovers()) == 1
    assert store.get(request(), build).path("a.bin").read_bytes() == CONTENT
    assert not list(store.root.glob("tmp/*"))


def test_a_running_build_is_no_entry_and_no_garbage(
    store: Store,
    building: multiprocessing.process.BaseProcess,
    capsys: pytest.CaptureFixture[str],
) -> None:
    try:
        assert store.leftovers() == finished(store) == []
        assert main(["store", "check", f"--artifacts={store.root}"]) == 0
        assert main(["store", "gc", f"--artifacts={store.root}"]) == 0
        assert "0 removed" in capsys.readouterr().out
        assert list(store.root.glob("tmp/*/a.bin"))
    finally:
        building.kill()
        building.join(10)
    assert main(["store", "gc", f"--artifacts={store.root}"]) == 0
    assert not list(store.root.glob("tmp/*"))


# The commands


@pytest.fixture
def filled(store: Store) -> Artifact:
    store.get(request("other"), build)
    return store.get(request(), build)


def command(store: Store, *words: str) -> int:
    return main(["store", *words, f"--artifacts={store.root}"])


def test_list(store: Store, filled: Artifact, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(store, "list") == 0
    told = capsys.readouterr().out
    for text in ("thing", "other", request().key[:12], "weights_class=custom", str(store.root)):
        assert text in told
    empty(filled.folder / MANIFEST)
    assert command(store, "list") == 0
    assert "damaged manifest" in capsys.readouterr().out
    shutil.rmtree(store.root)
    store.root.mkdir()
    assert command(store, "list") == 0
    assert "the store is empty" in capsys.readouterr().out


def test_check(store: Store, filled: Artifact, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(store, "check") == 0
    assert "2 artifacts checked, 0 problems" in capsys.readouterr().out
    flip(filled.path("a.bin"))
    empty(store.get(request("other"), forbidden).folder / MANIFEST)
    assert command(store, "check") == 1
    told = capsys.readouterr().out
    assert f"{filled.folder}: a.bin: digest differs from the manifest" in told
    assert "damaged manifest" in told
    assert "2 problems found" in told
    assert "store gc" in told


def test_gc_removes_what_is_damaged_or_long_unused(
    store: Store, filled: Artifact, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(store, "gc") == 0
    assert "0 removed" in capsys.readouterr().out
    other = store.get(request("other"), forbidden)
    truncate(other.path(NESTED))
    assert command(store, "gc") == 0
    assert f"removed {other.folder}" in capsys.readouterr().out
    assert finished(store) == [filled.folder]
    day = 24 * 3600
    os.utime(filled.folder, (time.time() - 3 * day,) * 2)
    assert command(store, "gc", "--unused-days=4") == 0
    assert filled.folder.exists()
    assert command(store, "gc", "--unused-days=2") == 0
    assert finished(store) == []


def test_gc_that_may_not_remove(
    store: Store,
    filled: Artifact,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    flip(filled.path("a.bin"))
    monkeypatch.setattr("conformance.store_command.shutil.rmtree", refuse)
    assert command(store, "gc") == 2
    assert str(filled.folder) in capsys.readouterr().err


def test_what_was_packed_is_whole_after_unpacking(
    store: Store, filled: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = store.get(request("third"), build)
    flip(damaged.path("a.bin"))
    archive = tmp_path / "store.tar"
    assert command(store, "pack", str(archive)) == 0
    assert "2 artifacts packed" in capsys.readouterr().out
    assert list(tmp_path.glob("store.tar*")) == [archive]
    other = Store(tmp_path / "other")
    with tarfile.open(archive) as tar:
        tar.extractall(other.root, filter="data")
    assert command(other, "check") == 0
    assert "2 artifacts checked" in capsys.readouterr().out
    found = other.get(request(), forbidden)
    assert found.path(NESTED).read_bytes() == CONTENT[::-1]
    assert found.manifest == filled.manifest
    assert command(other, "gc") == 0
    assert len(finished(other)) == 2


def test_pack_of_nothing(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    store.root.mkdir()
    assert command(store, "pack", "/nowhere.tar") == 2
    assert "nothing to pack" in capsys.readouterr().err
    assert not Path("/nowhere.tar").exists()


@pytest.mark.usefixtures("filled")
def test_pack_that_cannot_be_written(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command(store, "pack", str(tmp_path / "gone" / "store.tar")) == 2
    assert "archive cannot be written" in capsys.readouterr().err
    archive = tmp_path / "store.tar"
    archive.write_bytes(b"the only copy")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "add", full)
    assert command(store, "pack", str(archive)) == 2
    assert "No space left" in capsys.readouterr().err
    assert archive.read_bytes() == b"the only copy"
    assert list(tmp_path.glob("store.tar*")) == [archive]


@pytest.mark.parametrize("words", [["list"], ["check"], ["gc"], ["pack", "x.tar"]])
def test_a_store_that_is_not_there(
    tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    missing = Store(tmp_path / "misspelt")
    assert command(missing, *words) == 2
    told = capsys.readouterr().err
    assert "there is no artifact store" in told
    assert str(missing.root) in told
    assert not missing.root.exists()


def test_the_command_line_itself(store: Store, filled: Artifact) -> None:
    listed = run_python(
        "-m", "conformance", "store", "list", environment={"CONFORMANCE_ARTIFACTS": str(store.root)}
    )
    assert listed.returncode == 0, listed.stderr
    assert request().key[:12] in listed.stdout
    refused = run_python("-m", "conformance", "store", "gc", "--unused-days=-1")
    assert refused.returncode == 2
    assert "needs a whole number of days, got '-1'" in refused.stderr
    assert filled.folder.exists()
