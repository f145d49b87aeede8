"""Published weights fetched from the network: resumed after a cut, and believed by digest only."""

from __future__ import annotations

import importlib.util
import itertools
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.errors import CheckpointError, ConfigError, DownloadError
from conformance.export.checkpoint import check_published
from conformance.spec import PublishedWeights

if TYPE_CHECKING:
    import requests

_BLOCK_BYTES = 1 << 16
# No classifier of torchvision comes near it; it ends an answer that announces no length.
_MOST_BYTES = 8 << 30
_NO_NETWORK = "check network and proxy, or fetch the file elsewhere and pass it: --weights=FILE"


def download_published(
    weights: PublishedWeights,
    folder: Path,
    *,
    progress: bool,
    connect_timeout_s: float = 10.0,
    read_timeout_s: float = 30.0,
) -> Path:
    """Return the published file in ``folder``, fetched if absent, with its digests checked.

    A transfer that was cut off leaves ``<file>.part``, and the next call resumes it if the server
    still has the same file. The caller holds a lock on the folder. Proxies are taken from the
    environment. ``progress`` draws a bar on a terminal. Timeouts are for the connection and for
    each silence, in seconds.

    Raises:
        DownloadError: The server cannot be reached, refuses, is silent, or was cut off.
        CheckpointError: The answer is a web page or has a wrong digest (it is removed), a wrong
            file already lies there (it is kept), or the folder cannot be written.
        ConfigError: The package ``requests`` is missing.
    """
    target = folder / weights.file
    part = _Part(target)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if target.exists():
            check_published(target, weights, next_step="remove the file and run again")
            return target
        _demand_requests()
        with _ask(weights.url, part, (connect_timeout_s, read_timeout_s)) as response:
            _receive(response, part, progress=progress)
        _check_received(part, weights)
        part.finish(target)
    except OSError as error:
        raise CheckpointError(
            "the published weights cannot be stored",
            got=error,
            expected="a folder that can be written, with enough space",
            where={"folder": folder},
            next_step="make space or choose another folder",
        ) from None
    return target


class _Part:
    """The bytes that came so far, and the server's mark of the file that they begin.

    A mark is an HTTP validator: without one nothing tells a changed file, so nothing is resumed.
    """

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(f"{target.name}.part")
        self._mark_path = target.with_name(f"{target.name}.part.mark")

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def mark(self) -> str:
        return self._mark_path.read_text("utf-8") if self._mark_path.exists() else ""

    @property
    def resumable(self) -> bool:
        return self.size > 0 and self.mark != ""

    def begin(self, mark: str) -> None:
        self.path.write_bytes(b"")  # first, so that old bytes never meet a new mark
        self._mark_path.write_text(mark, "utf-8")

    def finish(self, target: Path) -> None:
        self.path.replace(target)
        self._mark_path.unlink(missing_ok=True)

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self._mark_path.unlink(missing_ok=True)


def _ask(url: str, part: _Part, timeout_s: tuple[float, float]) -> requests.Response:
    """Return an answer that is the file, or the rest of it after ``part``; its body is unread."""
    import requests

    # A compressed answer could not be resumed by its byte count.
    headers = {"Accept-Encoding": "identity"}
    if resuming := part.resumable:
        headers |= {"Range": f"bytes={part.size}-", "If-Range": part.mark}
    try:
        response = requests.get(url, headers=headers, stream=True, timeout=timeout_s)
    except requests.RequestException as error:
        raise DownloadError(
            "the published weights cannot be reached",
            got=error,
            expected="an answer of the server",
            where={"url": url},
            next_step=_NO_NETWORK,
        ) from None
    if response.status_code == 200 or (resuming and _continues(response, part)):
        return response
    response.close()
    if resuming and response.status_code in (206, 416):
        part.discard()  # it is not the beginning of the file that the server has now
        return _ask(url, part, timeout_s)
    raise DownloadError(
        "the server does not give the published weights",
        got=f"HTTP status {response.status_code} {response.reason}",
        expected="HTTP status 200 OK",
        where={"url": response.url},
        next_step=_NO_NETWORK,
    )


def _continues(response: requests.Response, part: _Part) -> bool:
    """Whether the answer begins where ``part`` ends, in the same file."""
    sent = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return (
        response.status_code == 206
        and sent is not None
        and int(sent[1]) == part.size
        and _mark(response) in ("", part.mark)  # a server need not repeat its mark
    )


def _mark(response: requests.Response) -> str:
    """Return what names this version of the file: a strong ETag, else its date, else nothing."""
    etag: str = response.headers.get("ETag", "")
    if etag.startswith('"'):
        return etag
    date: str = response.headers.get("Last-Modified", "")
    return date


def _receive(response: requests.Response, part: _Part, *, progress: bool) -> None:
    """Append the body to ``part``; after a cut it keeps what came."""
    import requests

    length = response.headers.get("Content-Length", "")
    begun = part.size if response.status_code == 206 else 0
    total = begun + int(length) if length.isdigit() else None
    try:
        blocks = response.iter_content(_BLOCK_BYTES)
        first = next(blocks, b"")
        _refuse_page(response, first)  # before old bytes make room
        if response.status_code == 200:
            part.begin(_mark(response))
        with part.path.open("ab") as stream, _bar(part, total, progress=progress) as advance:
            for block in itertools.chain([first], blocks):
                stream.write(block)
                advance(len(block))
                _demand_bounded(stream.tell(), part, response.url)
    except requests.RequestException as error:
        raise _cut_off(response.url, part, total, error) from None


def _refuse_page(response: requests.Response, first: bytes) -> None:
    start = first[:64].lstrip().lower()
    kind = response.headers.get("Content-Type", "")
    if not kind.lower().startswith("text/html") and not start.startswith((b"<!doctype", b"<html")):
        return
    raise CheckpointError(
        "the answer is a web page in place of the published weights",
        got=f"content type {kind or 'not told'}, beginning {first[:24]!r}",
        expected="a PyTorch checkpoint",
        where={"url": response.url},
        next_step="a proxy or a login page stands between: open the URL in a browser, or fetch the"
        " file elsewhere and pass it: --weights=FILE",
    )


def _demand_bounded(size_bytes: int, part: _Part, url: str) -> None:
    if size_bytes <= _MOST_BYTES:
        return
    part.discard()
    raise CheckpointError(
        "the answer does not end",
        got=f"{size_bytes} bytes and more",
        expected=f"weights of at most {_MOST_BYTES} bytes",
        where={"url": url},
        next_step=_NO_NETWORK,
    )


def _cut_off(url: str, part: _Part, total: int | None, error: Exception) -> DownloadError:
    again = "continues from there" if part.resumable else "starts over"
    return DownloadError(
        "the download was cut off",
        got=f"{part.size} of {total or 'an unknown number of'} bytes, then: {error}",
        expected="the whole file",
        where={"url": url, "kept in": part.path},
        next_step=f"run again: it {again}; or fetch the file elsewhere: --weights=FILE",
    )


def _check_received(part: _Part, weights: PublishedWeights) -> None:
    step = "it was removed; run again, and if it stays so, pass another file: --weights=FILE"
    try:
        check_published(part.path, weights, next_step=step)
    except CheckpointError:
        part.discard()
        raise


@contextmanager
def _bar(part: _Part, total: int | None, *, progress: bool) -> Iterator[Callable[[int], None]]:
    """Draw a progress bar on stderr if it is wanted and a terminal; yield what advances it."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    console = Console(stderr=True)
    hidden = not (progress and sys.stderr.isatty())
    with Progress(*columns, TransferSpeedColumn(), console=console, disable=hidden) as bar:
        task = bar.add_task(part.path.stem, total=total, completed=part.size)
        yield lambda size_bytes: bar.advance(task, size_bytes)


def _demand_requests() -> None:
    if importlib.util.find_spec("requests") is None:
        raise ConfigError(
            "published weights cannot be downloaded here",
            got="no package `requests`",
            expected="an installation with the extra `export`",
            next_step="install the extra, or fetch the file elsewhere and pass it: --weights=FILE",
        )
