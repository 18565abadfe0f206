"""A server of files on the loopback that misbehaves as asked, and notes what was requested and sent."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CHUNK = 8192


@dataclass
class Page:
    """What a path answers."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    first: list[Page] = field(default_factory=list)  # answers to the first requests, one each
    etag: str | None = '"1"'  # None: no validator
    takes_ranges: bool = True
    claims: int | None = None  # Content-Length, if it is wrong
    cut_after: int | None = None  # close the connection after as many bytes of the body
    chunk: int = CHUNK  # bytes that are sent at once
    pause_s: float = 0.0  # after each chunk
    before: Callable[[], object] = lambda: None  # called before the answer


@dataclass
class Request:
    """A request, and how much of a body was sent for it."""

    path: str
    host: str  # address that was connected to
    headers: dict[str, str]
    status: int = 0  # of the answer
    start: int = 0  # of the bytes that were sent
    sent: int = 0


class FileServer:
    """Pages by path, and the requests for them in the order in which they came."""

    def __init__(self, address: str, port: int) -> None:
        self.pages: dict[str, Page] = {}
        self.requests: list[Request] = []
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # or small chunks would wait for each other

            def do_GET(self) -> None:
                server._answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 100

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # clients are killed

        self._server = Server((address, port), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://{address}:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=[0.01], daemon=True).start()

    def requests_for(self, path: str) -> list[Request]:
        """The requests for a path."""
        with self._lock:
            return [request for request in self.requests if request.path == path]

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        address = str(handler.connection.getsockname()[0])
        request = Request(handler.path, address, dict(handler.headers.items()))
        with self._lock:
            self.requests.append(request)
            page = self.pages.get(handler.path, Page(b"no such page", 404))
            if page.first:
                page = page.first.pop(0)
        page.before()
        body, status, headers = page.body, page.status, dict(page.headers)
        if status == 200 and page.etag:
            headers["ETag"] = page.etag
        validator = page.etag or headers.get("Last-Modified")
        asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        if status == 200 and asked and page.takes_ranges and handler.headers.get("If-Range") == validator:
            request.start, status = int(asked[1]), 206
            headers["Content-Range"] = f"bytes {request.start}-{len(body) - 1}/{len(body)}"
            body = body[request.start :]
        request.status = status
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        if "Transfer-Encoding" not in headers:
            handler.send_header("Content-Length", str(len(body) if page.claims is None else page.claims))
        handler.end_headers()
        whole = len(body) if page.cut_after is None else page.cut_after
        for start in range(0, whole, page.chunk):
            chunk = body[start : min(start + page.chunk, whole)]
            handler.wfile.write(chunk)
            request.sent += len(chunk)
            time.sleep(page.pause_s)
        if whole != len(body) or page.claims is not None:
            handler.close_connection = True


@contextmanager
def serve(address: str = "127.0.0.1", port: int = 0) -> Iterator[FileServer]:
    """A running server. Port 0: any that is free."""
    server = FileServer(address, port)
    try:
        yield server
    finally:
        server.close()
