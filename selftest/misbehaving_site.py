"""A web server on this machine that misbehaves on demand."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Noise, so that no two places of them are alike.
CONTENT = hashlib.shake_256(b"one").digest(300_000)
OTHER = hashlib.shake_256(b"two").digest(300_000)
NAME = "net-01234567.pth"


@dataclass
class Site:
    """What the server gives, how it misbehaves, and what it was asked."""

    url: str = ""
    content: bytes = field(default=CONTENT, repr=False)
    etag: str = '"one"'
    date: str = ""
    kind: str = "application/octet-stream"
    status: int = 200
    ranges: bool = True
    obeys_if_range: bool = True
    tells_length: bool = True
    shift: int = 0
    cut_after: int | None = None
    hang_after: int | None = None
    surplus: bytes = b""
    asked: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def begin_of(self, asked: dict[str, str]) -> int | None:
        """Return the first byte of the range to be sent, or None for the whole."""
        if not self.ranges or "Range" not in asked:
            return None
        if self.obeys_if_range and asked.get("If-Range") not in (self.etag, self.date):
            return None
        return int(asked["Range"].removeprefix("bytes=").removesuffix("-")) + self.shift


class Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        site, asked = self.site, dict(self.headers)
        site.asked.append(asked)
        site.paths.append(self.path)
        if site.hang_after == -1:
            site.released.wait(10)
            return
        begin = site.begin_of(asked)
        if begin is not None and begin >= len(site.content):
            self.send_error(416)
            return
        body = site.content[begin or 0 :]
        self.send_response(206 if begin is not None else site.status)
        if begin is not None:
            total = len(site.content)
            self.send_header("Content-Range", f"bytes {begin}-{total - 1}/{total}")
        for name, value in (("ETag", site.etag), ("Last-Modified", site.date)):
            if value:
                self.send_header(name, value)
        if site.tells_length:
            self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", site.kind)
        self.end_headers()
        stop = site.cut_after if site.cut_after is not None else site.hang_after
        self.wfile.write((body + site.surplus)[:stop])
        if site.hang_after is not None:
            self.wfile.flush()
            site.released.wait(10)

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@contextmanager
def serving() -> Iterator[Site]:
    """Serve until the context ends; every hanging answer is let go then."""
    site = Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"site": site}))
    server.daemon_threads = True
    site.url = f"http://127.0.0.1:{server.server_port}/{NAME}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield site
    finally:
        site.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
