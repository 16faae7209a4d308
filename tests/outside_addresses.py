"""What a Python process, and each Python process that it begins, asks of addresses outside of this machine.

Python tells its audit hooks of every name that is looked up and of every address that is connected or sent to. The hook
is in place before a program's first line: it is put into `sitecustomize`, which Python imports by itself.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

REPORT = "OUTSIDE_ADDRESSES"  # the variable that names the file of the report
HOOK = """
import os, socket, sys

HERE = {"", "localhost", "ip6-localhost", "0.0.0.0", "::", "::1", socket.gethostname()}

def heard(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        one, address = arguments[0], arguments[1]
        if one.family not in (socket.AF_INET, socket.AF_INET6) or not isinstance(address, tuple):
            return
        host = address[0]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        host = arguments[0]
    else:
        return
    host = host.decode("ascii", "replace") if isinstance(host, bytes) else host or ""
    if host not in HERE and not host.startswith("127."):
        report = os.open(os.environ["OUTSIDE_ADDRESSES"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(report, f"{event} {arguments[:2]!r} by {sys.argv[:1]!r}\\n".encode())
        os.close(report)

sys.addaudithook(heard)
"""


def watched(folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment in which a process is watched. `folder`: where the hook lies and where it reports."""
    (folder / "hook").mkdir(exist_ok=True)
    (folder / "hook" / "sitecustomize.py").write_text(HOOK)
    path = os.pathsep.join(filter(None, (str(folder / "hook"), environment.get("PYTHONPATH", ""))))
    return {**environment, "PYTHONPATH": path, REPORT: str(folder / "outside")}


def asked(folder: Path) -> list[str]:
    """What was asked outside, a line each."""
    report = folder / "outside"
    return report.read_text().splitlines() if report.exists() else []
