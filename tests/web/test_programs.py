"""Tokens for programs: one is one visitor, remembered as a hash, slowed when wrong, and over at once when revoked."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.answered.events import JobSummary
from studio.asked.fields import TextToImage
from studio.asked.problems import InvalidRequest
from studio.picture.gallery import Gallery
from studio.web import middleware
from studio.web.access import PROGRAMS, Access
from studio.web.limits import VISITOR, LimitedEngine, NewVisitors
from studio.web.programs import MAX_PROGRAMS, NAME, PREFIX, USED_SECONDS, Programs
from tests.web.asgi import HOST, Answer, Page, Records, Visitor, call, studio
from tests.web.test_enter import Clock, enter


def bearer(token: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}")]


def who(app: ASGIApp, token: str) -> str:
    answer = call(app, "/", headers=bearer(token))
    assert answer.status == 200, answer.body
    assert answer.header("set-cookie") is None
    (owner,) = answer.json()["owners"]
    return str(owner)


# ------------------------------------------------------------------------------------------------------ the file


def test_a_token_is_remembered_as_a_hash_in_a_file_of_this_account_alone(tmp_path: Path) -> None:
    programs = Programs(tmp_path)
    token, program = programs.make("  my\tscript ")
    assert program.name == "my script"
    assert token.startswith(PREFIX)
    assert len(token) >= len(PREFIX) + 32
    file = tmp_path / NAME
    assert token not in file.read_text()
    assert json.loads(file.read_text())["version"] == 1
    if os.name != "nt":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = Programs(tmp_path).by_token(token)
    assert again is not None
    assert (again.id, again.person, again.rights) == (program.id, program.person, "guest")
    assert Programs(tmp_path).by_token(token + "x") is None
    assert list(tmp_path.glob("*.part")) == []


def test_another_studio_on_the_same_folder_learns_of_a_new_one_and_of_its_end(tmp_path: Path) -> None:
    here, there = Programs(tmp_path), Programs(tmp_path)
    token, program = here.make("a")
    assert there.by_token(token) is not None
    there.revoke(program.id)
    assert here.by_token(token) is None
    assert here.revoke(program.id) is None


def test_when_it_was_used_last_is_written_down_now_and_then(tmp_path: Path) -> None:
    clock = Clock()
    programs = Programs(tmp_path, clock)
    token, _ = programs.make("a")
    assert programs.all()[0].used == 0
    programs.by_token(token)
    written = (tmp_path / NAME).stat().st_mtime_ns
    clock.now += 1
    programs.by_token(token)
    assert (tmp_path / NAME).stat().st_mtime_ns == written
    clock.now += USED_SECONDS
    programs.by_token(token)
    assert Programs(tmp_path).all()[0].used == clock.now


SPOILED = [b"", b"[]", b"{}", b'{"version": 1}', b"\xff", b"[" * 100_000, b'{"version": 1, "programs": [{}, 3]}']


@pytest.mark.parametrize("content", SPOILED, ids=lambda content: ascii(content[:24]))
def test_a_spoiled_file_opens_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    programs = Programs(tmp_path)
    assert programs.all() == ()
    assert programs.by_token("") is None
    token, _ = programs.make("a")
    assert Programs(tmp_path).by_token(token) is not None


def test_a_newer_studios_file_is_left_alone(tmp_path: Path) -> None:
    content = b'{"version": 2, "programs": []}'
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(InvalidRequest, match="newer"):
        Programs(tmp_path).make("a")
    assert (tmp_path / NAME).read_bytes() == content


def test_without_a_writable_folder_a_token_is_good_until_the_end(tmp_path: Path) -> None:
    programs = Programs(tmp_path / "absent")
    token, program = programs.make("a")
    assert programs.by_token(token) is not None
    programs.revoke(program.id)
    assert programs.by_token(token) is None


def test_names_are_short_and_each_is_one_tokens(tmp_path: Path) -> None:
    programs = Programs(tmp_path)
    programs.make("a")
    for name in ("a", "", "  ", "x" * 61, None, 3, ["a"]):
        with pytest.raises(InvalidRequest, match="name"):
            programs.make(name)
    with pytest.raises(InvalidRequest, match="rights"):
        programs.make("b", "admin")
    for k in range(MAX_PROGRAMS - 1):
        programs.make(f"{k}")
    with pytest.raises(InvalidRequest, match="at most 100"):
        programs.make("one more")


# --------------------------------------------------------------------------------------------------- the visitor


@pytest.fixture
def access(tmp_path: Path) -> Access:
    return Access(programs=Programs(tmp_path), clock=Clock())


@pytest.fixture
def app(access: Access, tmp_path: Path) -> ASGIApp:
    return studio(tmp_path, access=access)


@pytest.mark.parametrize("shared", [False, True])
def test_one_token_is_one_visitor_with_and_without_a_share(app: ASGIApp, access: Access, shared: bool) -> None:
    one, first = access.programs.make("one")
    two, _ = access.programs.make("two")
    browser = Visitor(app)
    browser("/")
    if shared:
        access.share()
    assert who(app, one) == who(app, one) == first.person
    assert who(app, two) not in (first.person, browser.cookies["studio_owner"])
    cookie = ("cookie", f"studio_owner={browser.cookies['studio_owner']}")
    (owner,) = call(app, "/", headers=[*bearer(one), cookie]).json()["owners"]
    assert owner == first.person, "what a program says of itself beside its token counts for nothing"


def test_gradio_clients_own_argument_works_too(app: ASGIApp, access: Access) -> None:
    token, program = access.programs.make("a")
    answer = call(app, "/", headers=[("x-hf-authorization", f"Bearer {token}")])
    assert answer.json()["owners"] == [program.person]


def test_a_token_opens_what_is_closed_and_a_link_key_is_none(app: ASGIApp, access: Access) -> None:
    token, program = access.programs.make("a")
    keys = access.share()
    assert call(app, "/", headers=bearer(token)).status == 200
    assert call(app, "/", headers=bearer(keys.guest)).status == 401
    assert call(app, "/", headers=bearer("")).status == 401
    assert enter(Visitor(app), token).status == 401, "and a token is no key of a link"
    access.programs.revoke(program.id)
    assert call(app, "/", headers=bearer(token)).status == 401


def test_a_wrong_token_is_refused_where_nobody_needs_one(app: ASGIApp) -> None:
    answer = call(app, "/", headers=bearer(PREFIX + "x" * 32))
    assert answer.status == 401
    assert b"revoked" in answer.body
    assert call(app, "/", headers=bearer("hf_of_a_proxy")).status == 200
    assert call(app, "/api/v1/models", headers=bearer("hf_of_a_proxy")).status == 401


def test_wrong_tokens_slow_their_sender_and_neither_the_right_one_nor_a_password(tmp_path: Path) -> None:
    access = Access(auth=("ann", "secret"), programs=Programs(tmp_path), clock=Clock())
    app = studio(tmp_path, access=access)
    token, _ = access.programs.make("a")
    answers = [call(app, "/", headers=bearer(f"{PREFIX}{k}")) for k in range(1000)]
    assert sum(answer.status == 401 for answer in answers) == 5
    last = answers[-1]
    assert last.status == 429
    assert 0 < int(last.header("retry-after") or 0) <= 60
    assert call(app, "/", headers=bearer(token)).status == 200
    form = [("content-type", "application/x-www-form-urlencoded")]
    login = call(app, "/login", method="POST", headers=form, body=b"username=ann&password=secret")
    assert login.json() == {"success": True}


def test_a_guests_token_has_a_guests_limits_and_an_owners_has_none(access: Access) -> None:
    _, guest = access.programs.make("a")
    _, owner = access.programs.make("b", "owner")
    engine: Any = Records()
    limits = LimitedEngine(engine, access, NewVisitors())
    allowance = limits.allowance(guest.person)
    assert allowance is not None
    assert (allowance.group, allowance.visitor) == (PROGRAMS, VISITOR)
    assert limits.allowance(owner.person) is None


# ------------------------------------------------------------------------------------------------- the owner's panel


def act(visitor: Visitor, action: str, **more: object) -> Answer:
    return visitor("/programs", method="POST", body=json.dumps({"action": action, **more}).encode())


def test_the_owner_makes_one_sees_it_once_and_revokes_it(app: ASGIApp) -> None:
    here = Visitor(app)
    assert here("/programs").json() == {"programs": [], "token": ""}
    made = act(here, "make", name="my script").json()
    token = made["token"]
    [row] = made["programs"]
    assert (row["name"], row["rights"], row["used"]) == ("my script", "guest", 0)
    who(app, token)
    view = here("/programs").json()
    assert view["token"] == ""
    assert view["programs"][0]["used"] > 0
    assert token not in json.dumps(view)
    shown = {"id", "name", "rights", "made", "used", "jobs", "seconds"}
    assert set(view["programs"][0]) == shown, "nothing that opens anything"
    assert act(here, "revoke", id=row["id"]).json()["programs"] == []
    assert call(app, "/", headers=bearer(token)).status == 401


def test_guests_and_programs_make_no_tokens_and_share_nothing(tmp_path: Path, app: ASGIApp, access: Access) -> None:
    token, _ = access.programs.make("mine", "owner")
    guest = Visitor(app)
    enter(guest, access.share().guest)
    assert guest("/programs").status == act(guest, "make", name="a").status == 403
    for path in ("/programs",):
        body = b'{"action": "make", "name": "a"}'
        assert call(app, path, method="POST", headers=bearer(token), body=body).status == 403
    assert call(app, "/programs").status == 401
    assert len(access.programs.all()) == 1


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "action"),
        (b'{"action": "open"}', "action"),
        (b'{"action": "make"}', "name"),
        (b'{"action": "make", "name": "a", "rights": "root"}', "rights"),
        (b'{"action": "make", "name": {"a": 1}}', "name"),
    ],
)
def test_another_order_is_named(app: ASGIApp, body: bytes, says: str) -> None:
    answer = Visitor(app)("/programs", method="POST", body=body)
    assert answer.status == 400
    assert answer.body.decode().startswith(says)


def test_revoking_stops_the_jobs_and_ends_what_is_being_sent(tmp_path: Path) -> None:
    access, records = Access(programs=Programs(tmp_path)), Records()
    token, program = access.programs.make("a")
    sent: list[Message] = []
    go_on = asyncio.Event()

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for k in range(1000):
            await send({"type": "http.response.body", "body": b"%d" % k, "more_body": True})
            go_on.set()
            await asyncio.sleep(0)
        raise AssertionError("nobody ended it")

    engine: Any = records
    app: ASGIApp = endless
    for layer in reversed(middleware(engine, Gallery(tmp_path), hosts=set(), access=access)):
        app = layer.cls(app, *layer.args, **layer.kwargs)
    scope: Scope = {
        "type": "http", "method": "GET", "path": "/stream", "scheme": "http", "query_string": b"", "root_path": "",
        "headers": [(b"host", HOST.encode()), (b"authorization", f"Bearer {token}".encode())],
        "client": ("127.0.0.1", 1),
    }  # fmt: skip

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def run() -> None:
        stream = asyncio.create_task(app(scope, receive, send))  # type: ignore[arg-type]
        await go_on.wait()
        access.programs.revoke(program.id)
        await asyncio.wait_for(stream, 10)

    asyncio.run(run())
    assert sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
    assert len(sent) < 100


def test_revoking_on_the_panel_stops_its_jobs(tmp_path: Path) -> None:
    access, records = Access(programs=Programs(tmp_path)), Records()
    app = studio(tmp_path, access=access, records=records, page=Page())
    _, program = access.programs.make("a")
    records.known.append(JobSummary(job_id="j", request=TextToImage(prompt="x"), state="running", origin="api"))
    records.owners["j"] = program.person
    act(Visitor(app), "revoke", id=program.id)
    assert records.stopped == ["j"]
