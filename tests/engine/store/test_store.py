"""The jobs file: leases, two servers, versions, disks that are full, read-only or far away."""

from __future__ import annotations

import logging
import os
import sqlite3
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from studio.engine.store import database, disk, servers, store
from studio.engine.store.database import NAME, VERSION
from studio.engine.store.servers import SILENT_SECONDS, Server, boot, this_server
from studio.engine.store.store import GUEST_SECONDS, MOST_ENDED, OWNER_SECONDS, JobStore
from tests.engine.store.conftest import StoreFactory, row, settled

MakeServer = Callable[[], Server]


def end(one: JobStore, name: str, state: str = "finished", **more: bool) -> None:
    one.end(name, state, lambda: b"events", lambda: b"summary", **more)  # type: ignore[arg-type]
    settled(one)


def claimed(one: JobStore, name: str) -> bool:
    """Whether a job is this server's to begin."""
    refused: list[str] = []
    one.claim(name, lambda: refused.append(name))
    if one.is_on_disk:
        settled(one)
    return not refused


def raw(folder: Path, statement: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(folder / NAME) as connection:
        return connection.execute(statement).fetchall()


def test_the_file_is_this_accounts_alone_and_so_are_the_files_beside_it(store_at: StoreFactory, tmp_path: Path) -> None:
    one = store_at()
    assert one.add(row()) == ""
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob(f"{NAME}*")} == {
        NAME: 0o600,
        f"{NAME}-wal": 0o600,
        f"{NAME}-shm": 0o600,
    }


def test_a_file_that_others_can_read_is_closed_to_them(store_at: StoreFactory, tmp_path: Path) -> None:
    store_at().close()
    (tmp_path / NAME).chmod(0o644)
    store_at()
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600


def test_what_waits_and_what_ran_is_taken_over_from_a_server_that_has_ended(
    store_at: StoreFactory, dead: MakeServer
) -> None:
    before = store_at(server=dead())
    for name in ("here-1", "here-2", "here-3"):
        before.add(row(name))
    assert claimed(before, "here-2")
    before.remember_seeds("here-2", lambda: b"seeds")
    end(before, "here-3")
    after = store_at()
    waiting, ran = after.take_over()
    assert (waiting.id, waiting.state, waiting.submission) == ("here-1", "waiting", b"submission")
    assert (ran.id, ran.state, ran.seeds) == ("here-2", "running", b"seeds")
    assert after.take_over() == [], "they are this server's now"
    assert not claimed(before, "here-1"), "it is not the old one's any more, should it wake up"
    assert claimed(after, "here-1")


def test_the_jobs_of_a_server_that_runs_are_left_alone(store_at: StoreFactory, alive: MakeServer) -> None:
    other = store_at(server=alive())
    other.add(row())
    assert store_at().take_over() == []
    assert claimed(other, "here-1")


def test_each_job_is_taken_over_by_one_server_alone(
    store_at: StoreFactory, dead: MakeServer, alive: MakeServer
) -> None:
    before = store_at(server=dead())
    names = [f"here-{k}" for k in range(40)]
    for name in names:
        before.add(row(name))
    rivals = [store_at(server=alive()) for _ in range(4)]
    taken: list[list[str]] = [[] for _ in rivals]
    barrier = threading.Barrier(len(rivals))

    def take(k: int) -> None:
        barrier.wait()
        taken[k] = [job.id for job in rivals[k].take_over()]

    threads = [threading.Thread(target=take, args=[k]) for k in range(len(rivals))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(name for some in taken for name in some) == sorted(names)
    claims = [[claimed(rival, name) for rival in rivals] for name in names]
    assert all(sum(one) == 1 for one in claims)


def test_another_server_gives_one_that_has_ended_the_time_to_start_again(
    store_at: StoreFactory, dead: MakeServer
) -> None:
    now = time.time()
    before = store_at(server=dead(), clock=lambda: now)
    before.add(row())
    other = store_at(clock=lambda: now + 1)
    assert other.take_over(at_start=False) == []
    patient = store_at(clock=lambda: now + SILENT_SECONDS / 2 + 1)
    assert [job.id for job in patient.take_over(at_start=False)] == ["here-1"]


def test_a_server_is_known_by_its_process_and_elsewhere_by_its_heartbeat(dead: MakeServer, alive: MakeServer) -> None:
    now = 1e9
    assert dead().has_ended(now, now)
    assert not alive().has_ended(now - 10 * SILENT_SECONDS, now), "it runs, and was held up"
    assert not this_server().has_ended(0.0, now)
    reused = Server("x", alive().pid, alive().started - 1000, boot())
    assert reused.has_ended(now - SILENT_SECONDS - 1, now), "another process has got its number"
    elsewhere = Server("x", 1, 1.0, "another boot")
    assert not elsewhere.has_ended(now - 1, now)
    assert elsewhere.has_ended(now - SILENT_SECONDS - 1, now)


def test_at_the_end_what_waits_waits_for_the_next_start_and_what_ran_is_interrupted(store_at: StoreFactory) -> None:
    before = store_at()
    for name in ("here-1", "here-2", "here-3"):
        before.add(row(name))
    assert claimed(before, "here-2")
    assert claimed(before, "here-3")
    end(before, "here-3", "stopped")  # by its visitor
    end(before, "here-1", "interrupted", closed=True)
    end(before, "here-2", "interrupted", closed=True)
    assert before.close() == 1
    after = store_at()
    assert [(job.id, job.state) for job in after.take_over()] == [("here-1", "waiting")]
    assert [(job.id, job.state) for job in after.of_owner("anna")] == [("here-3", "stopped"), ("here-2", "interrupted")]


def test_what_a_job_was_asked_for_is_overwritten_when_it_is_over(store_at: StoreFactory, tmp_path: Path) -> None:
    upload = b"an uploaded picture" * 5000
    one = store_at()
    one.add(row("here-1", submission=upload))
    one.add(row("here-2", submission=upload))
    for name in ("here-1", "here-2"):
        assert claimed(one, name)
    end(one, "here-1", "finished")
    end(one, "here-2", "interrupted")
    assert one.get("here-1", "anna").submission is None  # type: ignore[union-attr]
    assert one.get("here-2", "anna").submission == upload, "it can be run again"  # type: ignore[union-attr]
    assert one.get("here-2", "ben") is None
    one.dismiss("here-2")
    settled(one)
    one.close()
    assert upload[:19] not in (tmp_path / NAME).read_bytes()
    assert (tmp_path / NAME).stat().st_size < 64 * 1024


def test_a_guests_ended_job_is_forgotten_after_a_day_and_the_owners_after_a_week(
    store_at: StoreFactory, tmp_path: Path
) -> None:
    now = time.time()
    before = store_at(clock=lambda: now)
    before.add(row("here-1", guest=True))
    before.add(row("here-2"))
    before.add(row("here-3", guest=True))
    end(before, "here-1")
    end(before, "here-2")
    before.close()

    def left(seconds: float) -> list[object]:
        store_at(clock=lambda: now + seconds).close()
        return [name for (name,) in raw(before_folder, "SELECT id FROM jobs ORDER BY number")]

    before_folder = tmp_path
    assert left(GUEST_SECONDS - 1) == ["here-1", "here-2", "here-3"]
    assert left(GUEST_SECONDS + 1) == ["here-2", "here-3"]
    assert left(OWNER_SECONDS + 1) == ["here-3"], "what waits is not over"


def test_no_more_than_the_newest_ended_jobs_are_remembered(
    store_at: StoreFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MOST_ENDED == 500
    monkeypatch.setattr(store, "MOST_ENDED", 3)
    one = store_at()
    for k in range(6):
        one.add(row(f"here-{k}"))
        if k:
            end(one, f"here-{k}")
    one._writer.do(one._beat).result(30)
    assert [job.id for job in one.of_owner("anna")] == ["here-5", "here-4", "here-3"]
    assert claimed(one, "here-0")
    end(one, "here-0")
    assert one.get("here-0", "anna") is not None


def test_every_job_that_is_remembered_is_listed(store_at: StoreFactory) -> None:
    one = store_at()
    for k in range(130):
        one.add(row(f"here-{k}"))
        assert claimed(one, f"here-{k}")
        end(one, f"here-{k}")
    assert [job.id for job in one.of_owner("anna")] == [f"here-{k}" for k in reversed(range(130))]


# ------------------------------------------------------------------------------------------- files and disks


def not_used(folder: Path, caplog: pytest.LogCaptureFixture) -> str:
    """Why a folder is not used. What was in it is as it was; the log says it once."""
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.glob("*") if path.is_file()}
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        one = JobStore(folder)
    assert not one.is_on_disk
    assert one.add(row()) == ""
    assert claimed(one, "here-1")
    end_nothing = one.end("here-1", "finished", lambda: b"", lambda: b"")
    assert end_nothing is None
    assert (one.take_over(), one.of_owner("anna"), one.get("here-1", "anna"), one.close()) == ([], [], None, 0)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before} == before
    assert len(caplog.records) == 1
    assert "in memory alone" in caplog.text
    return one.why_not


def test_a_newer_version_is_refused_and_not_touched(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    JobStore(tmp_path).close()
    with sqlite3.connect(tmp_path / NAME) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    assert f"newer studio (version {VERSION + 1}, not {VERSION})" in not_used(tmp_path, caplog)
    assert not list(tmp_path.glob(f"{NAME}-*"))


def test_a_file_that_is_not_ours_is_refused_and_not_touched(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / NAME).write_bytes(b"not a database")
    assert "no SQLite file" in not_used(tmp_path, caplog)
    (tmp_path / NAME).unlink()
    with sqlite3.connect(tmp_path / NAME) as connection:
        connection.execute("CREATE TABLE birds (name TEXT)")
        connection.execute("PRAGMA user_version = 7")
    connection.close()
    assert "another program's" in not_used(tmp_path, caplog)
    data = bytearray((tmp_path / NAME).read_bytes())
    assert struct.unpack_from(">I", data, 60)[0] == 7, "the test looks where SQLite keeps its version"


def test_a_damaged_file_is_refused_and_not_touched(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one = JobStore(tmp_path)
    for k in range(50):
        one.add(row(f"here-{k}", submission=bytes(4000)))
    one.close()
    data = bytearray((tmp_path / NAME).read_bytes())
    data[100:4096] = os.urandom(3996)
    (tmp_path / NAME).write_bytes(data)
    assert "cannot be used" in not_used(tmp_path, caplog)


def test_a_link_in_its_place_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    target = tmp_path / "elsewhere"
    target.write_text("something")
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / NAME).symlink_to(target)
    assert "is a link" in not_used(tmp_path / "outputs", caplog)
    assert target.read_text() == "something"


def test_a_read_only_folder_keeps_jobs_in_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "outputs"
    folder.mkdir(mode=0o555)
    if os.geteuid() == 0:  # root may write anywhere: a disk that is mounted read-only says the same

        def refuse(*_: object, **__: object) -> int:
            raise OSError(30, "Read-only file system")

        monkeypatch.setattr(database.os, "open", refuse)
    why = not_used(folder, caplog)
    assert "cannot be written" in why
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("kind", "options", "named"),
    [("nfs4", "rw", "nfs4"), ("fuse.sshfs", "rw", "fuse.sshfs"), ("NTFS", "rw,remote", "NTFS")],
)
def test_a_network_drive_keeps_jobs_in_memory(
    kind: str,
    options: str,
    named: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Mount = type("Mount", (), {})

    def mount(point: Path, fstype: str, opts: str) -> object:
        one = Mount()
        one.mountpoint, one.fstype, one.opts = str(point), fstype, opts
        return one

    far = tmp_path / "far"
    near = far / "near"
    near.mkdir(parents=True)
    mounts = [mount(Path("/"), "ext4", "rw"), mount(far, kind, options), mount(near, "ext4", "rw")]
    monkeypatch.setattr(disk.psutil, "disk_partitions", lambda all: mounts)
    assert f"network drive ({named})" in not_used(far, caplog)
    assert not list(far.glob(f"{NAME}*"))
    one = JobStore(near)
    assert one.is_on_disk
    one.close()


def test_a_disk_that_cannot_lock_keeps_jobs_in_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sqlite3.connect

    class NoLocks(sqlite3.Connection):
        def execute(self, statement: str, *values: object) -> sqlite3.Cursor:
            if statement.startswith(("BEGIN IMMEDIATE", "PRAGMA journal_mode")):
                raise sqlite3.OperationalError("locking protocol")
            return super().execute(statement, *values)

    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    monkeypatch.setattr(database.sqlite3, "connect", lambda *a, **k: real(*a, **k, factory=NoLocks))
    assert "locking protocol" in not_used(tmp_path, caplog)


def test_a_full_disk_leaves_nothing_half_written_and_is_told(
    store_at: StoreFactory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = store_at()
    one.add(row("here-1"))
    pages = one._writer.do(lambda connection: connection.execute("PRAGMA page_count").fetchone()[0]).result(30)
    one._writer.do(lambda connection: connection.execute(f"PRAGMA max_page_count = {pages + 4}").fetchall()).result(30)
    with caplog.at_level(logging.WARNING):
        for name in ("here-2", "here-3"):
            assert "database or disk is full" in one.add(row(name, submission=bytes(10**6)))
    assert len(caplog.records) == 1, "said once"
    assert claimed(one, "here-2"), "the job runs"
    end(one, "here-2")
    assert one.add(row("here-4")) == "", "what fits is kept"
    assert [name for (name,) in raw(tmp_path, "SELECT id FROM jobs")] == ["here-1", "here-4"]
    assert raw(tmp_path, "PRAGMA integrity_check") == [("ok",)]


def test_what_is_too_large_is_not_kept_and_says_so(store_at: StoreFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MAX_SUBMISSION_BYTES", 2**20)
    one = store_at()
    assert "larger than 1 MB" in one.add(row(submission=bytes(2**20 + 1)))
    assert one.add(row("here-2", submission=bytes(2**20))) == ""


def test_one_write_that_fails_costs_no_other(store_at: StoreFactory) -> None:
    one = store_at()
    busy, hold = threading.Event(), threading.Event()
    one._writer.do(lambda connection: (busy.set(), hold.wait(30)))
    assert busy.wait(30), "what comes from now on waits in the queue"
    adding = [threading.Thread(target=one.add, args=[row(name)]) for name in ("here-1", "here-1", "here-2")]
    for thread in adding:
        thread.start()
    while one._writer._writes.qsize() < 3:
        time.sleep(0.001)
    hold.set()  # the three are one transaction, of which one cannot be
    for thread in adding:
        thread.join(30)
    ids = one._writer.do(lambda connection: connection.execute("SELECT id FROM jobs ORDER BY id").fetchall()).result(30)
    assert ids == [("here-1",), ("here-2",)]


def test_two_servers_may_make_the_file_at_the_same_time(tmp_path: Path) -> None:
    made: list[JobStore] = []
    barrier = threading.Barrier(4)

    def make() -> None:
        barrier.wait()
        made.append(JobStore(tmp_path))

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.why_not for one in made] == [""] * 4
    for k, one in enumerate(made):
        assert one.add(row(f"here-{k}")) == ""
    for one in made:
        one.close()
    assert servers.HEARTBEAT_SECONDS < SILENT_SECONDS / 4
