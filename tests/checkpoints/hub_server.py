"""A hub on loopback: one repository, byte ranges, and whatever goes wrong with real ones, on demand."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


class HubServer:
    """Serves `files` as owner/model. `drop_after`: bytes after which each connection ends, one entry per connection;
    `statuses`: status codes that come first; `token`: what a gated repository asks for."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.hashes = {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}
        self.token: str | None = None
        self.drop_after: list[int] = []
        self.statuses: list[int] = []
        self.retry_after = "7"
        self.ranges: list[str] = []  # of every request for a file
        self.ignores_ranges = False
        self.hold = threading.Event()  # while clear, a file's bytes come no further than `hold_at`
        self.hold.set()
        self.hold_at = 0
        self.held = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                """Quiet."""

            def do_GET(self) -> None:
                server.answer(self)

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.hold.set()
        self._http.shutdown()
        self._http.server_close()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = unquote(urlsplit(handler.path).path)
        if self.token is not None and handler.headers.get("authorization") != f"Bearer {self.token}":
            return self._plain(handler, 401)
        if path == "/api/models/owner/model/revision/main":
            siblings = [
                {"rfilename": name, "size": len(data), "lfs": {"sha256": self.hashes[name]}}
                for name, data in self.files.items()
            ]
            return self._plain(handler, 200, json.dumps({"siblings": siblings}).encode())
        name = path.removeprefix("/owner/model/resolve/main/")
        if name not in self.files:
            return self._plain(handler, 404)
        self.ranges.append(handler.headers.get("range", ""))
        if self.statuses:
            return self._plain(handler, self.statuses.pop(0))
        return self._file(handler, self.files[name])

    def _plain(self, handler: BaseHTTPRequestHandler, status: int, body: bytes = b"") -> None:
        handler.send_response(status)
        handler.send_header("content-length", str(len(body)))
        if status == 429:
            handler.send_header("retry-after", self.retry_after)
        handler.end_headers()
        handler.wfile.write(body)

    def _file(self, handler: BaseHTTPRequestHandler, data: bytes) -> None:
        asked = handler.headers.get("range") if not self.ignores_ranges else None
        first, _, last = (asked or "bytes=0-").removeprefix("bytes=").partition("-")
        begin = int(first)
        if last:  # a look at the beginning
            part = data[begin : int(last) + 1]
            handler.send_response(206)
            handler.send_header("content-length", str(len(part)))
            handler.send_header("content-range", f"bytes {begin}-{begin + len(part) - 1}/{len(data)}")
            handler.end_headers()
            handler.wfile.write(part)
            return
        handler.send_response(206 if begin else 200)
        handler.send_header("content-length", str(len(data) - begin))
        if begin:
            handler.send_header("content-range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        handler.end_headers()
        end = begin + self.drop_after.pop(0) if self.drop_after else len(data)
        if not self.hold.is_set() and self.hold_at < end:
            handler.wfile.write(data[begin : self.hold_at])
            handler.wfile.flush()
            self.held.set()
            self.hold.wait(60)
            begin = max(begin, self.hold_at)
        handler.wfile.write(data[begin:end])
        if end < len(data):
            handler.wfile.flush()
            handler.close_connection = True
            handler.connection.shutdown(2)
