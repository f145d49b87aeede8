"""The download of published weights, from a server on this machine that misbehaves on demand."""

from __future__ import annotations

import hashlib
import io
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conformance.errors import CheckpointError, ConfigError, DownloadError
from conformance.export import download
from conformance.export.download import download_published
from conformance.spec import PublishedWeights
from selftest.misbehaving_site import CONTENT, NAME, OTHER, Site, serving


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving() as site:
        yield site


def weights_at(url: str, *, md5: bool = False, content: bytes = CONTENT) -> PublishedWeights:
    return PublishedWeights(
        file=NAME,
        url=url,
        sha256_prefix=hashlib.sha256(content).hexdigest()[:8],
        source="made for this test",
        md5=hashlib.md5(content, usedforsecurity=False).hexdigest() if md5 else None,
    )


def fetch(site: Site, folder: Path, *, md5: bool = False, read_timeout_s: float = 5.0) -> Path:
    weights = weights_at(site.url, md5=md5)
    return download_published(weights, folder, progress=False, read_timeout_s=read_timeout_s)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def unreachable(site: Site, folder: Path, *, read_timeout_s: float = 5.0) -> str:
    """Return the message of the DownloadError, whose way out every reader needs."""
    with pytest.raises(DownloadError) as caught:
        fetch(site, folder, read_timeout_s=read_timeout_s)
    assert caught.value.got is not None
    assert "url" in caught.value.where
    assert "--weights=FILE" in caught.value.next_step
    return str(caught.value)


def refused(site: Site, folder: Path, *, md5: bool = False) -> str:
    """Return the message of the CheckpointError, which must not be taken for a lack of network."""
    with pytest.raises(CheckpointError) as caught:
        fetch(site, folder, md5=md5)
    assert type(caught.value) is CheckpointError
    assert caught.value.got is not None
    assert caught.value.expected is not None
    assert caught.value.next_step
    return str(caught.value)


def cut(site: Site, folder: Path, *, after: int = 200_000) -> int:
    """Let one download be cut off; return how many bytes it kept."""
    site.cut_after = after
    unreachable(site, folder)
    site.cut_after = None
    site.asked.clear()
    return (folder / f"{NAME}.part").stat().st_size


# A good server


@pytest.mark.parametrize("md5", [False, True])
@pytest.mark.parametrize("tells_length", [False, True])
def test_whole_file(site: Site, tmp_path: Path, md5: bool, tells_length: bool) -> None:
    site.tells_length = tells_length
    path = fetch(site, tmp_path / "new" / "folder", md5=md5)
    assert path == tmp_path / "new" / "folder" / NAME
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == [NAME]
    assert "Range" not in site.asked[0]
    assert site.asked[0]["Accept-Encoding"] == "identity"


def test_file_that_is_there_is_not_fetched_again(site: Site, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(CONTENT)
    assert fetch(site, tmp_path) == tmp_path / NAME
    assert site.asked == []


def test_wrong_file_that_is_there_is_named_and_kept(site: Site, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(OTHER)
    assert "remove the file" in refused(site, tmp_path)
    assert (tmp_path / NAME).read_bytes() == OTHER
    assert site.asked == []


def test_proxy_of_the_environment_is_asked(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", site.url.removesuffix(NAME))
    site.url = f"http://weights.invalid/{NAME}"
    assert fetch(site, tmp_path).read_bytes() == CONTENT
    assert site.paths == [f"http://weights.invalid/{NAME}"]


def test_nothing_beyond_the_announced_length_is_written(site: Site, tmp_path: Path) -> None:
    site.surplus = b"more" * 1000
    assert fetch(site, tmp_path).read_bytes() == CONTENT


def test_default_timeouts(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []

    def get(*_: object, **arguments: object) -> None:
        seen.append(arguments["timeout"])
        raise requests.ConnectionError("stop here")

    monkeypatch.setattr(requests, "get", get)
    with pytest.raises(DownloadError, match="stop here"):
        download_published(weights_at(site.url), tmp_path, progress=False)
    assert seen == [(10.0, 30.0)]


# Cut off and resumed


def test_cut_says_how_much_came_and_keeps_it(site: Site, tmp_path: Path) -> None:
    site.cut_after = 200_000
    message = unreachable(site, tmp_path)
    part = tmp_path / f"{NAME}.part"
    kept = part.stat().st_size
    assert f"{kept} of 300000 bytes" in message
    assert "continues from there" in message
    assert str(part) in message
    assert 100_000 < kept <= 200_000
    assert part.read_bytes() == CONTENT[:kept]
    assert not (tmp_path / NAME).exists()


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cuts=st.lists(st.integers(0, 300_000), max_size=3))
def test_resumed_download_equals_a_whole_one(
    site: Site, tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("cuts")
    site.asked.clear()
    kept = 0
    for site.cut_after in cuts:
        if site.cut_after >= len(CONTENT) - kept:
            continue
        unreachable(site, folder)
        part = folder / f"{NAME}.part"
        assert kept <= (part.stat().st_size if part.exists() else 0)
        kept = part.stat().st_size if part.exists() else 0
    site.cut_after = None
    assert fetch(site, folder).read_bytes() == CONTENT
    assert names(folder) == [NAME]
    assert site.asked[-1].get("Range") == (f"bytes={kept}-" if kept else None)
    assert site.asked[-1].get("If-Range") == (site.etag if kept else None)


def test_second_cut_counts_from_the_beginning(site: Site, tmp_path: Path) -> None:
    first = cut(site, tmp_path, after=100_000)
    site.cut_after = 150_000
    message = unreachable(site, tmp_path)
    second = (tmp_path / f"{NAME}.part").stat().st_size
    assert second > first
    assert f"{second} of 300000 bytes" in message


def test_date_serves_where_the_etag_is_weak(site: Site, tmp_path: Path) -> None:
    site.etag, site.date = 'W/"one"', "Mon, 01 Nov 2021 08:00:00 GMT"
    kept = cut(site, tmp_path)
    assert fetch(site, tmp_path).read_bytes() == CONTENT
    assert site.asked[0]["Range"] == f"bytes={kept}-"
    assert site.asked[0]["If-Range"] == site.date


def test_server_without_ranges_sends_the_whole_again(site: Site, tmp_path: Path) -> None:
    cut(site, tmp_path)
    site.ranges = False
    assert fetch(site, tmp_path).read_bytes() == CONTENT
    assert names(tmp_path) == [NAME]


def test_server_without_marks_is_not_resumed(site: Site, tmp_path: Path) -> None:
    site.etag = ""
    site.cut_after = 200_000
    assert "starts over" in unreachable(site, tmp_path)
    site.cut_after = None
    assert fetch(site, tmp_path).read_bytes() == CONTENT
    assert "Range" not in site.asked[-1]


@pytest.mark.parametrize("obeys_if_range", [True, False])
def test_changed_file_is_never_glued_to_the_old_beginning(
    site: Site, tmp_path: Path, obeys_if_range: bool
) -> None:
    site.content = OTHER
    cut(site, tmp_path)
    site.content, site.etag, site.obeys_if_range = CONTENT, '"two"', obeys_if_range
    assert fetch(site, tmp_path).read_bytes() == CONTENT
    assert len(site.asked) == (1 if obeys_if_range else 2)


def test_silently_changed_file_is_found_by_its_digest_and_heals(site: Site, tmp_path: Path) -> None:
    site.content = OTHER
    cut(site, tmp_path)
    site.content, site.etag, site.obeys_if_range = CONTENT, "", False
    assert "not the published" in refused(site, tmp_path)
    assert names(tmp_path) == []
    assert fetch(site, tmp_path).read_bytes() == CONTENT


def test_range_that_begins_elsewhere_is_not_used(site: Site, tmp_path: Path) -> None:
    cut(site, tmp_path)
    site.shift = 5
    assert fetch(site, tmp_path).read_bytes() == CONTENT
    assert ["Range" in asked for asked in site.asked] == [True, False]


def test_part_that_is_longer_than_the_file_is_thrown_away(site: Site, tmp_path: Path) -> None:
    cut(site, tmp_path)
    (tmp_path / f"{NAME}.part").write_bytes(OTHER + OTHER)
    assert fetch(site, tmp_path).read_bytes() == CONTENT
    assert ["Range" in asked for asked in site.asked] == [True, False]


def test_killed_download_leaves_only_what_the_next_one_resumes(site: Site, tmp_path: Path) -> None:
    site.hang_after = 200_000
    code = (
        "import sys, pathlib; from conformance.export.download import download_published;"
        "from conformance.spec import PublishedWeights;"
        f"w = PublishedWeights(file={NAME!r}, url={site.url!r}, sha256_prefix='0' * 8, source='x');"
        f"download_published(w, pathlib.Path({str(tmp_path)!r}), progress=False)"
    )
    root = Path(__file__).resolve().parents[1]
    child = subprocess.Popen([sys.executable, "-c", code], cwd=root)
    part = tmp_path / f"{NAME}.part"
    try:
        deadline = time.monotonic() + 20
        while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        child.kill()
        child.wait()
    assert names(tmp_path) == [f"{NAME}.part", f"{NAME}.part.mark"]
    kept = part.stat().st_size
    assert kept > 0
    site.hang_after = None
    assert fetch(site, tmp_path).read_bytes() == CONTENT
    assert site.asked[-1]["Range"] == f"bytes={kept}-"


# No answer


def test_closed_port(site: Site, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        site.url = f"http://127.0.0.1:{free.getsockname()[1]}/{NAME}"
        assert "Connection refused" in unreachable(site, tmp_path)
    assert names(tmp_path) == []


def test_connection_that_is_never_taken(tmp_path: Path) -> None:
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for waiting in (first, second):  # a full queue drops every further attempt
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}/{NAME}"
        begun = time.monotonic()
        with pytest.raises(DownloadError, match=r"connect timeout=0\.3"):
            download_published(weights_at(url), tmp_path, progress=False, connect_timeout_s=0.3)
        assert time.monotonic() - begun < 5


def test_server_that_takes_the_connection_and_hangs(site: Site, tmp_path: Path) -> None:
    site.hang_after = -1
    begun = time.monotonic()
    assert "timed out" in unreachable(site, tmp_path, read_timeout_s=0.3)
    assert time.monotonic() - begun < 5


def test_server_that_hangs_half_way(site: Site, tmp_path: Path) -> None:
    site.hang_after = 200_000
    message = unreachable(site, tmp_path, read_timeout_s=0.3)
    assert "timed out" in message
    assert "of 300000 bytes" in message
    site.hang_after = None
    assert fetch(site, tmp_path).read_bytes() == CONTENT
    assert "Range" in site.asked[-1]


@pytest.mark.parametrize("status", [403, 404, 407, 500, 503, 204, 206])
def test_other_statuses(site: Site, tmp_path: Path, status: int) -> None:
    site.status, site.kind = status, "text/html"
    assert f"HTTP status {status}" in unreachable(site, tmp_path)
    assert names(tmp_path) == []


def test_address_that_is_none(site: Site, tmp_path: Path) -> None:
    site.url = "https//no.such"
    unreachable(site, tmp_path)


# Wrong answers


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"please log in", "text/html; charset=utf-8"),
        (b"  \n<!DOCTYPE html><html>", "application/octet-stream"),
        (b"<HTML><body>", ""),
    ],
)
def test_web_page(site: Site, tmp_path: Path, content: bytes, kind: str) -> None:
    kept = cut(site, tmp_path)
    site.content, site.kind, site.ranges = content, kind, False
    message = refused(site, tmp_path)
    assert "web page" in message
    assert "login page" in message
    assert site.url in message
    part = tmp_path / f"{NAME}.part"
    assert part.read_bytes() == CONTENT[:kept], "a login page must not cost what came before"


@pytest.mark.parametrize("md5", [False, True])
def test_wrong_bytes_are_removed_and_both_digests_told(
    site: Site, tmp_path: Path, md5: bool
) -> None:
    site.content = OTHER
    message = refused(site, tmp_path, md5=md5)
    assert hashlib.sha256(OTHER).hexdigest() in message
    assert f"sha256 beginning {hashlib.sha256(CONTENT).hexdigest()[:8]}" in message
    assert hashlib.md5(OTHER, usedforsecurity=False).hexdigest() in message
    assert (hashlib.md5(CONTENT, usedforsecurity=False).hexdigest() in message) == md5
    assert site.url in message
    assert names(tmp_path) == []


def test_empty_answer(site: Site, tmp_path: Path) -> None:
    site.content = b""
    assert "0 bytes" in refused(site, tmp_path)
    assert names(tmp_path) == []


def test_answer_without_end(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_MOST_BYTES", 100_000)
    site.tells_length = False
    assert "does not end" in refused(site, tmp_path)
    assert names(tmp_path) == []


# This machine


def test_folder_that_is_a_file(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "cannot be stored" in refused(site, tmp_path / "file")


def test_full_disk(site: Site, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").symlink_to("/dev/full")
    message = refused(site, tmp_path)
    assert "No space left" in message
    assert str(tmp_path) in message
    assert not (tmp_path / NAME).exists()


def test_without_requests(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "requests", None)
    with pytest.raises(ConfigError, match="extra"):
        fetch(site, tmp_path)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "progress"), [(Terminal(), True), (Terminal(), False), (io.StringIO(), True)]
)
def test_progress_is_drawn_on_a_terminal_only(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, progress: bool
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("COLUMNS", "120")
    download_published(weights_at(site.url), tmp_path, progress=progress)
    drawn = stream.isatty() and progress
    assert (NAME in stream.getvalue()) == drawn
    assert ("300.0/300.0 kB" in stream.getvalue()) == drawn
