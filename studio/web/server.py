"""The web server: one thread of this process that serves the page. It binds its port before it gives its address.

Gradio's own `launch` is not used: it answers preflights before every guard, requests its own address through the
system's proxy at the start, and waits at its end for as long as visitors stay connected.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp

START_SECONDS = 60.0  # of the application's own start; a busy machine is no fault
CLOSE_SECONDS = 1  # time for open connections to end, then their tasks are cancelled
_LOGGERS = ("uvicorn.error", "uvicorn.asgi")


class Server:
    """Serves `app` at `host` and `port` (0: any free one), over https with a `certificate`: the PEM files of a chain
    and of its key. Raises OSError, at once, when the address cannot be had."""

    def __init__(self, app: ASGIApp, *, host: str, port: int, certificate: tuple[Path, Path] | None = None) -> None:
        self._sockets = _listening_sockets(host, port)
        self.host = host
        self._scheme = "http" if certificate is None else "https"
        chain, key = certificate or (None, None)
        self.port = int(self._sockets[0].getsockname()[1])
        config = uvicorn.Config(
            app,
            log_config=None,  # its warnings go to the studio's log
            log_level="warning",
            access_log=False,
            lifespan="on",
            timeout_graceful_shutdown=CLOSE_SECONDS,
            ssl_certfile=chain,
            ssl_keyfile=key,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": self._sockets}, name="web-server", daemon=True
        )

    @property
    def url(self) -> str:
        """The address for a browser on this machine, with a slash at its end."""
        name = {"0.0.0.0": "localhost", "::": "[::1]"}.get(
            self.host, f"[{self.host}]" if ":" in self.host else self.host
        )
        return f"{self._scheme}://{name}:{self.port}/"

    def start(self) -> None:
        """Returns when requests are answered. Raises RuntimeError when the application does not start."""
        self._thread.start()
        patience = time.monotonic() + START_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > patience:
                raise RuntimeError("The web server did not start; the log has the cause.")
            time.sleep(0.002)

    def stop(self) -> None:
        """Begin to close: accept no new connections and give open ones a second. Returns at once."""
        for name in _LOGGERS:  # every cut connection would log a traceback
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        self._server.should_exit = True

    def close(self, seconds: float = CLOSE_SECONDS + 4.0) -> None:
        """Close, and wait at most so long for it."""
        self.stop()
        if self._thread.is_alive():
            self._thread.join(seconds)
        for one in self._sockets:
            one.close()


def address_for_others(host: str, port: int, scheme: str = "http") -> str:
    """The address for a browser on another machine of the network, without a slash at its end."""
    name = _network_address() if host in ("0.0.0.0", "::") else host
    return f"{scheme}://{f'[{name}]' if ':' in name else name}:{port}"


def _network_address() -> str:
    """This machine's address on its network, or its name. Nothing is sent: the system is asked which of its addresses
    it would use to reach others."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address of documentation (RFC 5737)
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()


def _listening_sockets(host: str, port: int) -> list[socket.socket]:
    """A listening socket for each address of the name: `localhost` has two."""
    sockets: list[socket.socket] = []
    absent: OSError | None = None
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    try:
        for family, kind, protocol, _, address in dict.fromkeys(addresses):
            if sockets and port == 0:  # one free port is enough
                break
            try:
                sockets.append(_listening(family, kind, protocol, address))
            except OSError as error:
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                absent = error  # such as ::1 where IPv6 is switched off
        if not sockets and absent is not None:
            raise absent
    except OSError:
        for one in sockets:
            one.close()
        raise
    return sockets


def _listening(family: int, kind: int, protocol: int, address: Any) -> socket.socket:
    one = socket.socket(family, kind, protocol)
    try:
        if os.name != "nt":  # on Windows this option would let two servers share a port
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)
        one.listen(2048)
        one.setblocking(False)
    except OSError:
        one.close()
        raise
    return one
