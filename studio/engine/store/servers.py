"""Which servers are there: a job is leased to one, and is free again when that one has ended.

A server is known by its process, the boot of the machine and a heartbeat. Where its process can be looked for, that
decides; a process in another container is only known by its heartbeat.
"""

from __future__ import annotations

import os
import platform
import secrets
from dataclasses import dataclass
from pathlib import Path

import psutil

HEARTBEAT_SECONDS = 10.0
SILENT_SECONDS = 60.0  # without a heartbeat a server counts as ended where its process cannot be looked for
_CLOCK_SECONDS = 5.0  # by which the time of a process's start may seem to move when the clock is set


@dataclass(frozen=True)
class Server:
    """One process that works on jobs. `started`: seconds since 1970; `boot`: of which run of which machine, and in
    which room of it, `pid` is a number."""

    id: str
    pid: int
    started: float
    boot: str

    def has_ended(self, heartbeat: float, now: float) -> bool:
        """Whether nobody will go on with its jobs. `heartbeat`: when it last said that it is there."""
        silent = now - heartbeat > SILENT_SECONDS
        if self.boot != boot():
            return silent
        if self.pid == os.getpid():
            return False
        try:
            drift = abs(psutil.Process(self.pid).create_time() - self.started)
        except psutil.NoSuchProcess:
            return True
        except (psutil.Error, OSError):
            return silent
        return drift > _CLOCK_SECONDS and silent


def this_server() -> Server:
    """A new lease holder: this process."""
    return Server(secrets.token_hex(8), os.getpid(), psutil.Process().create_time(), boot())


def boot() -> str:
    """Within what process ids can be compared: the machine since it was started, and the container."""
    parts = []
    for name in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        try:
            parts.append(os.readlink(name) if name.endswith("pid") else Path(name).read_text(encoding="ascii").strip())
        except (OSError, ValueError):
            continue
    return " ".join(parts) or f"{platform.node()} {psutil.boot_time():.0f}"
