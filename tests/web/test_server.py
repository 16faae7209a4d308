"""The web server: bound before it says so, where the name says, and closed in a second."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from studio.web.server import Server


async def slow(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers /forever never, and anything else at once."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/forever":
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        await asyncio.sleep(1e6)
    await send({"type": "http.response.body", "body": b"done"})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_it_answers_where_it_says(host: str) -> None:
    server = Server(slow, host=host, port=0)
    server.start()
    try:
        with httpx.Client(trust_env=False) as client:
            assert client.get(server.url).text == "done"
    finally:
        server.close()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
def test_with_a_certificate_it_answers_over_https_alone(tmp_path: Path) -> None:
    chain, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    options = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-days", "2"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        + [*options, "-keyout", str(key), "-out", str(chain)],
        check=True,
        capture_output=True,
    )
    seen: list[str] = []

    async def page(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            seen.append(scope["scheme"])  # by it cookies know that they are for https alone
        await slow(scope, receive, send)

    server = Server(page, host="127.0.0.1", port=0, certificate=(chain, key))
    server.start()
    try:
        assert server.url == f"https://127.0.0.1:{server.port}/"
        with httpx.Client(trust_env=False, verify=ssl.create_default_context(cafile=str(chain))) as client:
            assert client.get(server.url).text == "done"
            with pytest.raises(httpx.HTTPError):
                client.get(server.url.replace("https", "http"))
    finally:
        server.close()
    assert seen == ["https"]


def test_a_port_that_is_taken_is_an_error_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            Server(slow, host="127.0.0.1", port=taken.getsockname()[1])


def test_a_name_with_an_address_that_is_switched_off_is_served_at_its_other(monkeypatch: pytest.MonkeyPatch) -> None:
    off = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))  # no address of this machine
    here = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [off, here])
    server = Server(slow, host="127.0.0.1", port=0)
    server.start()
    server.close()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [off])
    with pytest.raises(OSError, match="assign"):
        Server(slow, host="127.0.0.1", port=0)


def test_a_connection_that_lasts_does_not_keep_it_open(caplog: pytest.LogCaptureFixture) -> None:
    server = Server(slow, host="127.0.0.1", port=0)
    server.start()
    begun = threading.Event()

    def watch() -> None:
        try:
            with httpx.stream("GET", server.url + "forever", timeout=None, trust_env=False) as answer:
                for _ in answer.iter_bytes():
                    begun.set()
        except httpx.HTTPError:
            begun.set()

    threading.Thread(target=watch, daemon=True).start()
    assert begun.wait(30)
    start = time.monotonic()
    server.close()
    assert time.monotonic() - start < 3
    assert "Traceback" not in caplog.text
