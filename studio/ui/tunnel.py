"""Gradio's tunnel to this server: a public address for as long as its client runs, a week at most.

Gradio's own `setup_tunnel` leaves a client whose checksum is wrong in place and runs it at the next start. It waits for
a silent client without end, and spins for half a minute when the client dies. It writes its certificate into the
working directory. It stops reading the client's output, which then blocks the client.
"""

from __future__ import annotations

import hashlib
import os
import queue
import re
import threading
import time
import urllib.parse
from pathlib import Path
from typing import IO, Any

import httpx
from gradio import networking, tunneling

from studio.ui.text import say

SERVICE_SECONDS = 10.0  # for the service's address and each part of its answer
CLIENT_SECONDS = 30.0  # from the client's start to its link
_LINK = re.compile(r"start proxy success: (https?://[A-Za-z0-9.-]+)")
_NOT_IN = re.compile(r"login to server failed")


class TunnelFailed(Exception):
    """There is no tunnel. The text is a plain sentence that says why."""


class Tunnel:
    """A tunnel that is up. `link`: its address, such as https://abc.gradio.live."""

    def __init__(self, client: _Client, link: str) -> None:
        self._client = client
        self.link = link

    def wait(self) -> None:
        """Returns when the tunnel's client has ended."""
        process = self._client.proc
        if process is not None:
            process.wait()

    def close(self) -> None:
        """End it."""
        self._client.end()


def open_tunnel(host: str, port: int, token: str, folder: Path) -> Tunnel:
    """Open a tunnel to this server; takes up to a minute. `token` names it for the service, `folder` gets the service's
    certificate. Raises TunnelFailed."""
    remote_host, remote_port, certificate = _server()
    file = folder / "share-certificate.pem"
    file.write_text(certificate, encoding="ascii")
    binary = _client_program()
    client = _Client(remote_host, remote_port, host, port, token, str(file))
    try:
        link = client._start_tunnel(str(binary))
    except OSError as error:
        raise TunnelFailed(say("share.failed.client", cause=error.strerror or type(error).__name__)) from error
    except TunnelFailed:
        client.end()
        raise
    return Tunnel(client, urllib.parse.urlunsplit(("https", urllib.parse.urlsplit(link).netloc, "", "", "")))


def _server() -> tuple[str, int, str]:
    """(host, port, certificate) of a server that has room, as the service says."""
    try:
        answer = httpx.get(networking.GRADIO_API_SERVER, timeout=SERVICE_SECONDS)
        answer.raise_for_status()
    except httpx.TimeoutException as error:
        raise TunnelFailed(say("share.failed.silent", seconds=round(SERVICE_SECONDS))) from error
    except httpx.HTTPStatusError as error:
        raise TunnelFailed(say("share.failed.service", cause=f"HTTP {error.response.status_code}")) from error
    except httpx.HTTPError as error:
        raise TunnelFailed(say("share.failed.offline")) from error
    try:
        first: dict[str, Any] = answer.json()[0]
        return str(first["host"]), int(first["port"]), str(first["root_ca"])
    except (ValueError, LookupError, TypeError) as error:
        raise TunnelFailed(say("share.failed.service", cause=say("share.failed.unreadable"))) from error


def _client_program() -> Path:
    """The tunnel's client, downloaded once and compared with Gradio's checksum at each start."""
    path = Path(tunneling.BINARY_PATH)
    right = tunneling.CHECKSUMS.get(tunneling.BINARY_URL)
    if right is None:
        raise TunnelFailed(say("share.failed.platform"))
    if path.is_file() and _sha256(path.read_bytes()) == right:
        return path
    try:
        answer = httpx.get(tunneling.BINARY_URL, timeout=SERVICE_SECONDS, follow_redirects=True)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise TunnelFailed(say("share.failed.download")) from error
    if _sha256(answer.content) != right:
        raise TunnelFailed(say("share.failed.checksum"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        part.write_bytes(answer.content)
        part.chmod(0o700)
        part.replace(path)
    except OSError as error:
        raise TunnelFailed(say("share.failed.client", cause=error.strerror)) from error
    return path


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class _Client(tunneling.Tunnel):
    """Gradio's command line of the client, with a reader of its output that always comes to an end."""

    def end(self) -> None:
        if self.proc is not None:
            self.proc.terminate()
        if self in tunneling.CURRENT_TUNNELS:
            tunneling.CURRENT_TUNNELS.remove(self)

    def kill(self) -> None:  # Gradio calls it at the end of the process
        self.end()

    def _read_url_from_tunnel_stream(self) -> str:
        assert self.proc is not None
        lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        end = threading.Event()
        for stream in (self.proc.stdout, self.proc.stderr):
            if stream is not None:
                threading.Thread(target=_read, args=(stream, lines, end), name="tunnel-output", daemon=True).start()
        until = time.monotonic() + CLIENT_SECONDS
        try:
            while time.monotonic() < until:
                try:
                    line = lines.get(timeout=0.2)
                except queue.Empty:
                    if self.proc.poll() is not None:
                        raise TunnelFailed(say("share.failed.ended", code=self.proc.returncode)) from None
                    continue
                if link := _LINK.search(line):
                    return link[1]
                if _NOT_IN.search(line):
                    raise TunnelFailed(say("share.failed.refused"))
            raise TunnelFailed(say("share.failed.no_link", seconds=round(CLIENT_SECONDS)))
        finally:
            end.set()


def _read(stream: IO[bytes], lines: queue.SimpleQueue[str], end: threading.Event) -> None:
    """Reads to the end, since a client whose output nobody reads stops; what comes after the link is let go."""
    for line in stream:
        if not end.is_set():
            lines.put(line.decode("utf-8", "replace"))
