"""A studio that admits everybody: who comes without a session is a guest, and the owner has a login."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from studio.answered.engine import Engine
from studio.web import owner
from studio.web.access import EVERYBODY, Access
from studio.web.limits import LimitedEngine, NewVisitors
from studio.web.login import GUEST_HEADER, Login
from studio.web.owner import Owner
from studio.web.owner_file import OwnerFile
from tests.web.asgi import Visitor

FORM = ("content-type", "application/x-www-form-urlencoded")


async def page(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the marks that have reached it."""
    headers = {name: value for name, value in Headers(scope=scope).items() if name.startswith("x-studio")}
    await JSONResponse(headers)(scope, receive, send)


def open_to_all(folder: Path) -> tuple[ASGIApp, Access]:
    access = Access(auth=("ann", "secret"), admits_everybody=True, owner_file=OwnerFile(folder))
    return Login(Owner(page, new_visitors=NewVisitors()), access=access), access


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
