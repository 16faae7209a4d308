"""Servers that have ended, and jobs files that they have left."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from studio.engine.store.servers import Server, boot
from studio.engine.store.store import JobStore, StoredJob


@pytest.fixture(scope="session")
def gone() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def dead(gone: int) -> Callable[[], Server]:
    """Makes servers whose process has ended."""
    return lambda: Server(secrets.token_hex(8), gone, 1.0, boot())


@pytest.fixture
def alive() -> Callable[[], Server]:
    """Makes servers of a process that runs: the parent of this one."""
    parent = psutil.Process().parent()
    assert parent is not None
    return lambda: Server(secrets.token_hex(8), parent.pid, parent.create_time(), boot())


StoreFactory = Callable[..., JobStore]


@pytest.fixture
def store_at(tmp_path: Path) -> Iterator[StoreFactory]:
    """Opens jobs files, in one folder if no other is given; every one is closed at the end of the test."""
    made: list[JobStore] = []

    def make(folder: Path = tmp_path, **settings: Any) -> JobStore:
        made.append(JobStore(folder, **settings))
        return made[-1]

    yield make
    for store in made:
        store.close()


def row(name: str = "here-1", **values: Any) -> StoredJob:
    """A job that waits."""
    return StoredJob(
        **{
            "id": name,
            "studio": "",
            "state": "waiting",
            "owner": "anna",
            "guest": False,
            "passing": False,
            "origin": "api",
            "submitted": 1.0,
            "summary": b"summary",
            "submission": b"submission",
        }
        | values
    )


def settled(store: JobStore) -> None:
    """Wait for everything that is on its way to the file."""
    store._writer.do(lambda connection: None).result(30)
