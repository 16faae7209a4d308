"""What Python tells its audit hooks: the addresses that a process asks, the files that a block of a test opens.

A whole process is watched by this very file, put where Python imports it by itself before a program's first line
(`sitecustomize`). What a C library does on its own is not seen.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

REPORT = "ADDRESSES_ASKED"  # the variable that names the file of a process's report
_LOOKED_UP = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
_CONNECTED = ("socket.connect", "socket.sendto", "socket.sendmsg")
_HERE = {"", "localhost", "ip6-localhost", "0.0.0.0", "::", "::1", socket.gethostname()}


def outside(event: str, arguments: tuple[Any, ...]) -> str:
    """The name that is looked up or the address that is asked, where it is not this machine's; else ""."""
    host: Any = ""
    if event in _LOOKED_UP:
        host = arguments[0]
    elif event in _CONNECTED and arguments[0].family in (socket.AF_INET, socket.AF_INET6) and arguments[1]:
        host = arguments[1][0]
    host = host.decode("ascii", "replace") if isinstance(host, bytes) else host or ""
    return "" if host in _HERE or host.startswith("127.") else str(host)


# ------------------------------------------------------------------------------------------------- another process


def watched(folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment in which a process and its children are watched. `folder`: where they report."""
    (folder / "hook").mkdir(exist_ok=True)
    begin = "\n\nsys.addaudithook(report)\n"
    (folder / "hook" / "sitecustomize.py").write_text(Path(__file__).read_text(encoding="utf-8") + begin)
    path = os.pathsep.join(filter(None, (str(folder / "hook"), environment.get("PYTHONPATH", ""))))
    return {**environment, "PYTHONPATH": path, REPORT: str(folder / "asked")}


def report(event: str, arguments: tuple[Any, ...]) -> None:
    """The hook of a watched process."""
    if host := outside(event, arguments):
        file = os.open(os.environ[REPORT], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(file, f"{event} {host} {sys.argv[:1]}\n".encode())
        os.close(file)


def asked(folder: Path) -> list[str]:
    """What was asked outside, a line each."""
    file = folder / "asked"
    return file.read_text().splitlines() if file.exists() else []


# ---------------------------------------------------------------------------------------------------- this process

_listeners: list[Callable[[str, tuple[Any, ...]], None]] = []
_is_hooked = False


@contextmanager
def _listening(listener: Callable[[str, tuple[Any, ...]], None]) -> Iterator[None]:
    global _is_hooked
    if not _is_hooked:  # a hook stays for as long as the process
        _is_hooked = True
        sys.addaudithook(lambda event, arguments: [one(event, arguments) for one in _listeners] and None)
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


@contextmanager
def addresses_asked() -> Iterator[list[str]]:
    """The names and addresses outside of this machine that any thread of this process asks within the block."""
    hosts: list[str] = []
    with _listening(lambda event, arguments: hosts.extend(filter(None, [outside(event, arguments)]))):
        yield hosts


@contextmanager
def paths_opened() -> Iterator[list[str]]:
    """The files and folders that are opened or listed within the block."""
    paths: list[str] = []

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("open", "os.listdir", "os.scandir") and isinstance(arguments[0], (str, bytes, Path)):
            paths.append(os.path.abspath(os.fsdecode(arguments[0])))

    with _listening(note):
        yield paths
