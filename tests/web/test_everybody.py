"""A studio that admits everybody: who comes without a session is a guest, and the owner has a login."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

import pytest
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from studio.answered.engine import Engine, Refused
from studio.asked.fields import TextToImage
from studio.asked.orders import SubmitRun
from studio.engine.allowances import Allowances, Entry, Load
from studio.web import owner
from studio.web.access import EVERYBODY, Access
from studio.web.limits import VISITOR, LimitedEngine, NewVisitors, UploadLimits
from studio.web.login import GUEST_HEADER, Login
from studio.web.owner import Owner
from studio.web.owner_file import OwnerFile
from studio.web.upload_room import NoRoom, UploadRoom
from studio.web.visitor_cookie import NAME, VisitorCookie
from tests.web.asgi import Visitor, call, studio
from tests.web.test_enter import who

FORM = ("content-type", "application/x-www-form-urlencoded")


async def page(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the marks that have reached it."""
    headers = {name: value for name, value in Headers(scope=scope).items() if name.startswith("x-studio")}
    await JSONResponse(headers)(scope, receive, send)


def open_to_all(folder: Path) -> tuple[ASGIApp, Access]:
    access = everybody(folder)
    return Login(Owner(page, new_visitors=NewVisitors(), cookie=access.cookie), access=access), access


def everybody(folder: Path) -> Access:
    return Access(auth=("ann", "secret"), admits_everybody=True, owner_file=OwnerFile(folder), cookie_folder=folder)


class Accounts:
    """An engine that keeps the account of what waits."""

    def __init__(self) -> None:
        self.allowances, self.there = Allowances(lambda: 0.0), list[Entry]()

    async def submit(self, job: Any, *, owner: str, origin: str) -> str:
        entry = Entry(owner, job.allowance, Load(jobs=1, images=1, steps=2, pixels=2**14))
        self.allowances.check(entry, self.there)
        self.there.append(entry)
        return "id"


def seen(visitor: Visitor) -> dict[str, Any]:
    """The marks of a request as the page gets them."""
    return dict(visitor("/config").json())


def test_who_comes_without_a_session_is_a_guest_of_their_own(tmp_path: Path) -> None:
    app, _ = open_to_all(tmp_path)
    ben, eva = Visitor(app), Visitor(app)
    first = seen(ben)
    assert first[GUEST_HEADER] == "1"
    assert seen(ben)[owner.HEADER] == first[owner.HEADER]
    assert seen(eva)[owner.HEADER] != first[owner.HEADER]


def test_the_owner_has_a_login_and_leaves_no_rights_behind(tmp_path: Path) -> None:
    app, _ = open_to_all(tmp_path)
    ann = Visitor(app)
    as_guest = seen(ann)[owner.HEADER]
    ann("/login", method="POST", headers=[FORM], body=urlencode({"username": "ann", "password": "secret"}).encode())
    as_owner = seen(ann)
    assert GUEST_HEADER not in as_owner
    assert as_owner[owner.HEADER] == as_guest  # the pictures of before stay
    ann("/logout", method="POST")
    after = seen(ann)
    assert after[GUEST_HEADER] == "1"
    assert after[owner.HEADER] != as_owner[owner.HEADER]  # the browser's cookie alone opens nothing of the owner's


def test_everybody_together_has_the_guests_quotas(tmp_path: Path) -> None:
    _, access = open_to_all(tmp_path)
    engine = LimitedEngine(cast(Engine, object()), access, NewVisitors())
    allowance = engine.allowance("0" * 32)
    assert allowance is not None
    assert allowance.group == EVERYBODY
    assert allowance.visitor.jobs == 4
    assert engine.allowance(access.by_password("ann", "secret", "")[1].person) is None  # type: ignore[index]


@pytest.mark.parametrize("made_up", [False, True])
def test_callers_that_keep_no_cookie_or_make_one_up_leave_the_guests_their_places(
    tmp_path: Path, made_up: bool
) -> None:
    """Each was a new visitor with a guest's quotas, so that sixty took all places and every guest was refused."""
    access, strangers, accounts = everybody(tmp_path), NewVisitors(), Accounts()
    engine = LimitedEngine(cast(Engine, accounts), access, strangers)
    app = studio(tmp_path, access=access, new_visitors=strangers)
    job, refused = SubmitRun(request=TextToImage(prompt="x")), 0
    for k in range(60):
        cookie = [("cookie", f"{owner.COOKIE}={k:032x}")] if made_up else []
        caller = call(app, "/", headers=cookie).json()["owners"][0]
        try:
            asyncio.run(engine.submit(job, owner=caller))
        except Refused:
            refused += 1
    assert refused == 60 - (VISITOR.jobs or 0), "all of them are as one guest"
    guest = Visitor(app)
    who(guest)
    for _ in range(VISITOR.jobs or 0):
        asyncio.run(engine.submit(job, owner=who(guest)))
    engine.board.decide({"frozen": True})
    with pytest.raises(Refused, match="has paused new pictures"):
        asyncio.run(engine.submit(job, owner=call(app, "/").json()["owners"][0]))


def test_uploads_of_callers_that_make_up_a_cookie_share_one_visitors_room(tmp_path: Path) -> None:
    access, strangers = everybody(tmp_path), NewVisitors()
    app = studio(tmp_path, access=access, new_visitors=strangers)
    room = UploadRoom(tmp_path, access, strangers, UploadLimits(visitor=20, together=100))
    callers = [call(app, "/", headers=[("cookie", f"{owner.COOKIE}={k:032x}")]).json()["owners"][0] for k in range(2)]
    room.reserve(callers[0], 15)
    with pytest.raises(NoRoom):
        room.reserve(callers[1], 15)


def test_a_visitor_is_the_same_after_a_restart(tmp_path: Path) -> None:
    guest = Visitor(open_to_all(tmp_path)[0])
    first = seen(guest)[owner.HEADER]
    guest.app = open_to_all(tmp_path)[0]
    assert seen(guest)[owner.HEADER] == first
    if os.name != "nt":
        assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600
    assert VisitorCookie().person(guest.cookies[owner.COOKIE]) == first, "a studio for one knows it too"
    value = guest.cookies[owner.COOKIE]
    for forged in (first, f"{first}.", f"{first}.{'0' * 64}", f"{'0' * 32}.{value.partition('.')[2]}", value[:-1]):
        assert VisitorCookie(tmp_path, signed=True).person(forged) == ""


def test_where_the_key_cannot_be_written_it_is_known_until_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cookie = VisitorCookie(tmp_path / "no such folder", signed=True)
    value = cookie.value("a" * 32)
    assert "known until the end" in caplog.text
    assert cookie.person(value) == "a" * 32
