"""Stand-ins for what Gradio's share links need: the service that names a server, and the tunnel's client program."""

from __future__ import annotations

import hashlib
import http.server
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LINK = "https://a1b2c3.gradio.live"
CLIENTS = {
    "works": f"print('start proxy success: {LINK.replace('https', 'http')}', flush=True); time.sleep(600)",
    "dies": "print('no route'); sys.exit(3)",
    "silent": "time.sleep(600)",
    "refused": "print('login to server failed: bad token', flush=True); time.sleep(600)",
    "chatty": "[print('x' * 100, flush=True) for _ in range(5000)]\n"
    f"print('start proxy success: {LINK}', flush=True)\n"
    "[print('y' * 100, flush=True) for _ in range(50000)]\n"
    "Path(sys.argv[0]).with_name('wrote-all').touch(); time.sleep(600)",
    "ends": f"print('start proxy success: {LINK}', flush=True); time.sleep(1)",
}


@dataclass
class Client:
    """A tunnel client program, and the checksum that Gradio would have of it."""

    path: Path
    sha256: str


def client(folder: Path, kind: str) -> Client:
    """Write the program. It takes the arguments of Gradio's and, as a stand-in, does nothing with them."""
    path = folder / f"client-{kind}"
    path.write_text(f"#!{sys.executable}\nimport sys, time\nfrom pathlib import Path\n{CLIENTS[kind]}\n")
    path.chmod(0o700)
    return Client(path, hashlib.sha256(path.read_bytes()).hexdigest())


@contextmanager
def service(answer: Callable[[], tuple[int, bytes]]) -> Iterator[str]:
    """The service's address; `answer` gives status and body."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answer()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v3/tunnel-request"
        server.shutdown()


def right() -> tuple[int, bytes]:
    """What Gradio's service answers."""
    return 200, json.dumps([{"host": "127.0.0.1", "port": 7000, "root_ca": "-----BEGIN CERTIFICATE-----\n"}]).encode()


@contextmanager
def black_hole() -> Iterator[str]:
    """A service that accepts and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v3/tunnel-request"


def wait_for(there: Callable[[], object], seconds: float = 30.0) -> None:
    """Until something is so."""
    patience = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < patience
        time.sleep(0.02)
