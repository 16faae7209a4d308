"""Pictures that a program has sent: for how long they lie, whose they are, and what they count for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from studio.asked.problems import InvalidRequest
from studio.web.access import Access
from studio.web.api import once
from studio.web.api.uploads import SECONDS_UNUSED, PictureUploads
from studio.web.limits import NewVisitors, UploadLimits
from studio.web.upload_room import NoRoom, UploadRoom
from tests.web.test_limits import Clock


def test_an_upload_goes_ten_minutes_after_its_last_use_and_its_room_with_it(tmp_path: Path) -> None:
    clock = Clock()
    room = UploadRoom(tmp_path, Access(), NewVisitors(), UploadLimits(visitor=100))
    uploads = PictureUploads(room, clock)
    name = uploads.keep("ann", b"x" * 80, uploads.reserve("ann", 80))
    with pytest.raises(NoRoom):
        uploads.reserve("ann", 30)
    uploads.free(uploads.reserve("bob", 30))
    for _ in range(3):
        clock.now += SECONDS_UNUSED - 1
        assert uploads.read("ann", name) == b"x" * 80, "each use is a new beginning"
    assert uploads.read("bob", name) is None
    for other in ("", "0" * 32, name.upper(), f"../{name}", None, 3, [name]):
        assert uploads.read("ann", other) is None
    clock.now += SECONDS_UNUSED + 1
    assert uploads.read("ann", name) is None
    uploads.free(uploads.reserve("ann", 100))


def test_two_that_are_sent_at_once_under_one_key_are_one_and_old_keys_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(once, "MAX_KEYS", 3)
    calls: list[str] = []

    async def make() -> str:
        calls.append("x")
        await asyncio.sleep(0.01)
        return f"job {len(calls)}"

    async def run() -> None:
        keys = once.Once()
        assert await asyncio.gather(*(keys.run("ann", "k", "d", make) for _ in range(5))) == ["job 1"] * 5
        leaving = asyncio.ensure_future(keys.run("ann", "l", "d", make))
        await asyncio.sleep(0)
        leaving.cancel()
        assert await keys.run("ann", "l", "d", make) == "job 2", "whoever left has still begun it"
        for k in range(3):
            await keys.run("ann", f"{k}", "d", make)
        assert await keys.run("ann", "k", "another", make) == "job 6", "forgotten"
        assert await keys.run("ann", None, "d", make) == "job 7"
        for bad in ("", "a b", "é", "x" * 201):
            with pytest.raises(InvalidRequest, match="Idempotency-Key"):
                await keys.run("ann", bad, "d", make)

    asyncio.run(run())
