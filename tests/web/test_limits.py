"""Who gets which allowance, how fast calls may come, and how much uploads may take of the disk."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from studio.answered.engine import Refused
from studio.asked.fields import TextToImage
from studio.asked.orders import SubmitRun
from studio.ui.text import say
from studio.web import owner
from studio.web.access import Access
from studio.web.arrivals import Arrivals
from studio.web.limits import MACHINE, NO_COOKIE, TOGETHER, VISITOR, NewVisitors, UploadLimits, with_limits
from studio.web.login import GUEST_HEADER
from studio.web.rates import BURST, SHARED_BURST, UPSCALE_BURST, Rates
from studio.web.upload_room import NoRoom, UploadRoom
from tests.web.asgi import Page, Visitor, call, studio
from tests.web.test_enter import enter, who

MB = 10**6


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Asked:
    """An engine that keeps what it is asked."""

    def __init__(self) -> None:
        self.jobs: list[Any] = []

    async def submit(self, job: Any, *, owner: str, origin: str) -> str:
        self.jobs.append(job)
        return "id"

    def status(self) -> str:
        return "as it is"


def test_a_guest_has_an_allowance_the_owner_none_and_clients_without_a_cookie_share_one(tmp_path: Path) -> None:
    access, strangers, asked = Access(), NewVisitors(), Asked()
    engine, limits = with_limits(asked, access, strangers)  # type: ignore[arg-type]
    app = studio(tmp_path, access=access, new_visitors=strangers)
    browser = Visitor(app)
    mine = who(browser)
    assert limits.allowance(mine) is not None  # it has not shown its cookie yet
    assert limits.allowance(who(browser)) is None
    one, two = ((limits.allowance(call(app, "/").json()["owners"][0])) for _ in range(2))
    assert one == two
    assert one is not None
    assert one.group == NO_COOKIE
    guest = Visitor(app)
    enter(guest, access.share().guest)
    allowance = limits.allowance(who(guest))
    assert allowance is not None
    assert (allowance.visitor, allowance.together, allowance.machine) == (VISITOR, TOGETHER, MACHINE)
    job = SubmitRun(request=TextToImage(prompt="x"))
    asyncio.run(engine.submit(job, owner=who(guest)))
    asyncio.run(engine.submit(job, owner=mine))
    assert [job.allowance for job in asked.jobs] == [allowance, None]
    assert engine.status() == "as it is"  # type: ignore[comparison-overlap]
    limits.board.decide({"frozen": True})
    with pytest.raises(Refused, match="has paused new pictures"):
        asyncio.run(engine.submit(job, owner=who(guest)))
    asyncio.run(engine.submit(job, owner=mine))


def test_guests_together_leave_places_in_the_queue_for_the_owner() -> None:
    for name in ("jobs", "images", "steps", "pixels", "device_seconds"):
        assert getattr(VISITOR, name) < getattr(TOGETHER, name) < getattr(MACHINE, name)
    assert MACHINE.jobs is not None
    assert MACHINE.jobs < 64
    assert MACHINE.device_seconds is not None
    assert MACHINE.device_seconds < 3600


# ------------------------------------------------------------------------------------------------------------- rates


def paced(clock: Clock) -> ASGIApp:
    """The rates behind what says whose a request is; `guest` in the query makes it a guest's."""
    rates = Rates(Page(), clock=clock)

    async def marked(scope: Scope, receive: Receive, send: Send) -> None:
        if b"guest" in scope["query_string"]:
            scope = dict(scope, headers=[*scope["headers"], (GUEST_HEADER.encode(), b"1")])
        await rates(scope, receive, send)

    return owner.Owner(marked)


CALL = "/gradio_api/call/text_to_image"


def test_pictures_that_are_decoded_for_the_page_have_a_pace_too() -> None:
    for path in ("/ask/control-map", "/ask/picture-settings", "/ask/upscale"):
        app = paced(Clock())
        statuses = [call(app, path, method="POST").status for _ in range(500)]
        assert statuses.count(429) == 500 - SHARED_BURST


def test_a_thousand_calls_without_a_cookie_share_one_pace_and_slow_nobody_else() -> None:
    clock = Clock()
    app = paced(clock)
    browser = Visitor(app)
    browser("/")
    statuses = [call(app, CALL, method="POST").status for _ in range(1000)]
    assert statuses.count(200) == SHARED_BURST
    refused = call(app, CALL, method="POST")
    assert (refused.status, refused.header("retry-after")) == (429, "1")
    sentence = say("share.busy", seconds=1)
    error = {"type": "limit", "message": sentence, "retry_after": 1}
    assert refused.json() == {"detail": sentence, "error": error}
    assert browser(CALL, method="POST").status == 200
    assert call(app, "/", method="POST").status == 200
    clock.now += 1
    assert [call(app, CALL, method="POST").status for _ in range(30)].count(200) == 20


def test_a_guest_who_hurries_slows_themselves_alone() -> None:
    app = paced(Clock())
    ann, bob = Visitor(app), Visitor(app)
    ann("/")
    bob("/")
    statuses = [ann(CALL, method="POST", query="guest").status for _ in range(500)]
    assert statuses.count(200) == BURST
    assert bob(CALL, method="POST", query="guest").status == 200


def test_a_guest_upscales_at_a_slower_pace_by_the_page_and_by_a_program_together() -> None:
    clock = Clock()
    app = paced(clock)
    ann, bob = Visitor(app), Visitor(app)
    ann("/")
    bob("/")
    addresses = ("/ask/upscale", "/api/v1/upscale")
    statuses = [ann(addresses[k % 2], method="POST", query="guest").status for k in range(60)]
    assert statuses.count(200) == UPSCALE_BURST
    refused = ann("/ask/upscale", method="POST", query="guest")
    assert (refused.status, refused.header("retry-after")) == (429, "2")
    clock.now += 2
    assert ann("/ask/upscale", method="POST", query="guest").status == 200
    assert ann(CALL, method="POST", query="guest").status == 200
    assert bob("/ask/upscale", method="POST", query="guest").status == 200
    assert [ann("/ask/upscale", method="POST").status for _ in range(60)] == [200] * 60  # the owner


# ----------------------------------------------------------------------------------------------------------- uploads


class Disk:
    """A folder on a disk of a size of its own."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self.size = folder, size

    def free(self, folder: Path) -> int:
        return self.size - sum(file.stat().st_size for file in self.folder.iterdir())

    def room(self, access: Access, strangers: NewVisitors, **limits: int) -> UploadRoom:
        return UploadRoom(self.folder, access, strangers, UploadLimits(**limits), self.free)

    def put(self, room: UploadRoom, visitor: str, size: int) -> Path:
        place = room.reserve(visitor, size)
        file = self.folder / f"{len(list(self.folder.iterdir()))}.png"
        file.write_bytes(bytes(size))
        room.settle(place, [str(file)])
        return file


def test_one_visitor_does_not_fill_a_small_disk(tmp_path: Path) -> None:
    """Four uploads of 9 MB filled one of 40 MB, and every other visitor's call failed."""
    disk, strangers = Disk(tmp_path, 40 * MB), NewVisitors()
    room = disk.room(Access(), strangers)
    first = disk.put(room, "ann", 9 * MB)
    with pytest.raises(NoRoom, match="Your pictures take 9 MB here and 10 MB are allowed"):
        disk.put(room, "ann", 9 * MB)
    disk.put(room, "bob", 9 * MB)
    with pytest.raises(NoRoom, match="too little room"):
        disk.put(room, "cy", 9 * MB)
    assert disk.free(tmp_path) >= 20 * MB
    first.unlink()
    disk.put(room, "ann", 9 * MB)


def test_what_arrives_at_the_same_time_is_counted(tmp_path: Path) -> None:
    room = Disk(tmp_path, 1000 * MB).room(Access(), NewVisitors(), visitor=20 * MB)
    first = room.reserve("ann", 15 * MB)
    with pytest.raises(NoRoom):
        room.reserve("ann", 15 * MB)
    room.settle(first, [])  # it failed
    room.reserve("ann", 15 * MB)


def test_guests_of_one_invitation_and_clients_without_a_cookie_have_one_share(tmp_path: Path) -> None:
    access, strangers = Access(), NewVisitors()
    disk = Disk(tmp_path, 1000 * MB)
    room = disk.room(access, strangers, visitor=20 * MB, together=30 * MB)
    key = access.share().guest
    guests = [access.by_key(key, "") for _ in range(2)]
    people = [entered[1].person for entered in guests if entered is not None]
    disk.put(room, people[0], 18 * MB)
    with pytest.raises(NoRoom, match="all guests"):
        disk.put(room, people[1], 18 * MB)
    for k in range(2):
        strangers.record(f"stranger {k}", with_cookie=False)
    disk.put(room, "stranger 0", 18 * MB)
    with pytest.raises(NoRoom):
        disk.put(room, "stranger 1", 18 * MB)


def test_an_upload_without_room_is_refused_before_it_is_read(tmp_path: Path) -> None:
    page = Page()
    room = Disk(tmp_path, 1000 * MB).room(Access(), NewVisitors(), visitor=5)

    class Keeper:
        def accept(self, owner: str, paths: Any) -> None:
            raise AssertionError("nothing arrives")

        def visitor(self, owner: str, *, here: bool) -> None: ...

    app = owner.Owner(Arrivals(page, keeper=Keeper(), room=room))
    answer = call(app, "/gradio_api/upload", method="POST", body=b"123456")
    assert answer.status == 507
    assert "MB are allowed" in answer.json()["detail"]
    assert page.reached == []
