"""With a login, nothing of the studio shows before it, and guessing is slow."""

from __future__ import annotations

import asyncio
import hmac
import re
from pathlib import Path
from urllib.parse import urlencode

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.ui.text import say
from studio.web.access import HOUR, PASSWORD, SESSION_SECONDS, SESSIONS_AN_HOUR, Access
from studio.web.failures import FAILURES_OF_UNKNOWN, FAILURES_PER_SENDER, WINDOW_SECONDS
from studio.web.language import Language
from studio.web.login import COOKIE, Login
from tests.web.asgi import HOST, Answer, Page, Visitor, call, studio

FORM = ("content-type", "application/x-www-form-urlencoded")
BROWSER = ("accept", "text/html,application/xhtml+xml")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def page() -> Page:
    return Page()


@pytest.fixture
def app(page: Page, clock: Clock) -> ASGIApp:
    return Login(page, access=Access(auth=("ann", "pä:ss word"), guest=("friends", "guests pass"), clock=clock))


def log_in(
    visitor: Visitor, user: str = "ann", password: str = "pä:ss word", *extra: tuple[str, str], **sender: str
) -> Answer:
    body = urlencode({"username": user, "password": password}).encode()
    return visitor("/login", method="POST", headers=[FORM, *extra], body=body, **sender)


# ------------------------------------------------------------------------------------------------ in, and out again


def test_who_has_logged_in_sees_the_page_until_he_logs_out(app: ASGIApp) -> None:
    ann, stranger = Visitor(app), Visitor(app)
    answer = log_in(ann)
    assert (answer.status, answer.json()) == (200, {"success": True})  # what Gradio answers to its own client
    assert ann("/config").json()["path"] == "/config"
    assert stranger("/config").status == 401
    kept = dict(ann.cookies)
    assert ann("/logout", method="POST").status == 303
    assert ann("/config").status == 401
    ann.cookies = kept  # the old cookie is worth nothing now
    assert ann("/config").status == 401


def test_a_browser_is_led_to_the_form_and_back(app: ASGIApp) -> None:
    ann = Visitor(app)
    answer = ann("/", headers=[BROWSER])
    assert (answer.status, answer.header("location")) == (303, "/login")
    assert b'action="/login"' in ann("/login", headers=[BROWSER]).body
    wrong = log_in(ann, "ann", "wrong", BROWSER)
    assert wrong.status == 401
    assert b"do not match" in wrong.body
    right = log_in(ann, "ann", "pä:ss word", BROWSER)
    assert (right.status, right.header("location")) == (303, "/")
    assert ann("/", headers=[BROWSER]).status == 200
    assert b'action="/logout"' in ann("/logout").body
    assert ann("/").status == 200  # a link to /logout on another page ends nothing


def test_the_session_is_random_kept_from_scripts_and_ends(app: ASGIApp, clock: Clock) -> None:
    ann, also_ann = Visitor(app), Visitor(app)
    cookie = log_in(ann).header("set-cookie") or ""
    log_in(also_ann)
    assert ann.cookies[COOKIE] != also_ann.cookies[COOKIE]
    assert len(ann.cookies[COOKIE]) >= 43
    assert re.search(r"; Path=/; Max-Age=604800; HttpOnly; SameSite=Lax$", cookie)
    body = urlencode({"username": "ann", "password": "pä:ss word"}).encode()
    secure = call(app, "/login", method="POST", headers=[FORM], body=body, scheme="https").header("set-cookie") or ""
    assert secure.endswith("; Secure")
    clock.now += SESSION_SECONDS - 1
    assert ann("/").status == 200
    clock.now += 2
    assert ann("/").status == 401


@pytest.mark.parametrize("cookie", ["", "x", "0", '""', "a" * 4000])
def test_a_made_up_session_opens_nothing(app: ASGIApp, cookie: str) -> None:
    assert call(app, "/", headers=[("cookie", f"{COOKIE}={cookie}")]).status == 401


@pytest.mark.parametrize(
    ("user", "password"),
    [("ann", ""), ("", ""), ("ann", "pä:ss"), ("Ann", "pä:ss word"), ("bob", "pä:ss word"), ("ann pä:ss", "word"),
     ("ann", "pä:ss word "), ("ann\0", "pä:ss word")],
)  # fmt: skip
def test_only_the_right_pair_opens(app: ASGIApp, user: str, password: str) -> None:
    visitor = Visitor(app)
    answer = log_in(visitor, user, password)
    assert (answer.status, answer.header("set-cookie")) == (401, None)
    assert visitor("/").status == 401


@pytest.mark.parametrize(
    "body",
    [b"", b"username=ann", b"password=x", b"{}", b"\xff\xfe", b"&" * 100, b"username=ann&password=" + b"x" * 9000,
     b"a=1&" * 50 + b"username=ann&password=x"],
)  # fmt: skip
def test_what_is_no_form_is_refused(app: ASGIApp, body: bytes) -> None:
    assert call(app, "/login", method="POST", headers=[FORM], body=body).status == 400


@pytest.mark.parametrize("path", ["/login", "/logout"])
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_named_as_wrong(app: ASGIApp, path: str, method: str) -> None:
    assert call(app, path, method=method).status == 405


# -------------------------------------------------------------------------------------------------------- guessing


def test_a_wrong_password_slows_its_own_sender_and_not_the_right_one(app: ASGIApp, clock: Clock) -> None:
    hostile, owner = Visitor(app), Visitor(app)
    evaluated = 0
    for k in range(1000):  # one try a second by anybody locked the owner out
        clock.now += 1
        status = log_in(hostile, "ann", f"wrong {k}", client="10.0.0.9").status
        evaluated += status == 401
        assert status in (401, 429)
        if k % 100 == 50:
            assert log_in(Visitor(app), client="10.0.0.1").status == 200
    assert evaluated <= FAILURES_PER_SENDER * (1000 / WINDOW_SECONDS + 1)
    assert log_in(owner, client="10.0.0.1").status == 200


def test_five_wrong_passwords_make_a_sender_wait(app: ASGIApp, clock: Clock) -> None:
    visitor = Visitor(app)
    for _ in range(5):
        assert log_in(visitor, "ann", "wrong").status == 401
        clock.now += 1
    waiting = log_in(visitor)
    assert (waiting.status, waiting.header("retry-after")) == (429, "55")
    assert waiting.json() == {"detail": "There were too many wrong passwords. Try again in 55 seconds."}
    assert visitor.cookies == {}
    clock.now += 55
    assert log_in(visitor).status == 200


def test_of_a_thousand_guesses_at_most_twenty_a_minute_are_evaluated(app: ASGIApp, clock: Clock) -> None:
    """From a thousand addresses; a browser of the owner's, and one on this machine, are not held up."""
    owner = Visitor(app)
    assert log_in(owner, client="10.0.0.1").status == 200
    owner("/logout", method="POST")
    evaluated = [0] * 10
    for k in range(1000):
        clock.now += 0.6
        status = log_in(Visitor(app), f"name {k % 50}", "wrong", client=f"10.1.{k // 250}.{k % 250}").status
        evaluated[k // 100] += status == 401
        assert status in (401, 429)
    assert max(evaluated) <= FAILURES_OF_UNKNOWN < 20
    assert log_in(owner, client="10.0.0.1").status == 200
    assert log_in(Visitor(app), client="127.0.0.1").status == 200
    clock.now += WINDOW_SECONDS
    assert log_in(Visitor(app), client="10.0.0.2").status == 200


def test_a_wrong_name_costs_the_same_comparisons_as_a_wrong_password(
    app: ASGIApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One hash of both, of one length, is compared with every pair there is: no answer says that a name exists."""
    compared: list[tuple[int, int]] = []
    compare = hmac.compare_digest

    def count(one: str, other: str) -> bool:
        compared.append((len(one), len(other)))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", count)
    seen = []
    for user, password in (("ann", "wrong"), ("nobody", "wrong"), ("friends", "x" * 500), ("n" * 500, "")):
        compared.clear()
        answer = log_in(Visitor(app), user, password)
        seen.append((answer.status, answer.body, list(compared)))
    assert seen == [seen[0]] * 4
    assert compared == [(64, 64)] * 2


def test_behind_a_tunnel_the_senders_are_told_apart_by_what_its_server_adds(app: ASGIApp) -> None:
    """What a sender writes into the header stands before what the server adds."""
    tunnel = {"host": "x.gradio.live"}
    for k in range(FAILURES_PER_SENDER):
        forged = ("x-forwarded-for", f"10.0.0.{k}, 203.0.113.9")
        assert log_in(Visitor(app), "ann", "wrong", forged, **tunnel).status == 401
    assert log_in(Visitor(app), "ann", "wrong", ("x-forwarded-for", "10.0.0.77, 203.0.113.9"), **tunnel).status == 429
    assert log_in(Visitor(app), "ann", "pä:ss word", ("x-forwarded-for", "203.0.113.1"), **tunnel).status == 200
    assert log_in(Visitor(app)).status == 200  # this machine


def test_what_a_peer_that_is_no_proxy_writes_of_its_sender_is_not_believed(page: Page, clock: Clock) -> None:
    """Whoever wrote the proxy's name into Host chose their sender anew with each guess."""
    app = Login(page, access=Access(auth=("ann", "secret"), clock=clock), proxies=["10.0.0.0/8"])
    for k in range(FAILURES_PER_SENDER):
        chosen = ("x-forwarded-for", f"203.0.113.{k}")
        name = ("localhost", "studio.example.org")[k % 2]
        assert log_in(Visitor(app), "ann", "wrong", chosen, host=name, client="198.51.100.7").status == 401
    chosen = ("x-forwarded-for", "203.0.113.99")
    direct = {"host": "studio.example.org", "client": "198.51.100.7"}
    assert log_in(Visitor(app), "ann", "wrong", chosen, **direct).status == 429
    assert log_in(Visitor(app), "ann", "secret", chosen, host="studio.example.org", client="10.1.2.3").status == 200
    for _ in range(FAILURES_PER_SENDER):
        log_in(Visitor(app), "ann", "wrong", chosen, host="localhost", client="10.1.2.3")
    assert log_in(Visitor(app), "ann", "secret", host="localhost").status == 200, "this machine is another sender"


def test_who_is_in_stays_in_while_others_guess(app: ASGIApp) -> None:
    ann = Visitor(app)
    log_in(ann)
    for k in range(40):
        log_in(Visitor(app), f"name {k}", "wrong")
    assert ann("/").status == 200


def test_the_failures_in_memory_are_bounded(page: Page, clock: Clock) -> None:
    login = Login(page, access=Access(auth=("ann", "x"), clock=clock))
    for k in range(500):
        log_in(Visitor(login), f"{k}" * 500, "wrong", client=f"10.0.{k % 256}.1")
    assert len(login.failures._all) <= FAILURES_OF_UNKNOWN


def test_a_guest_logs_in_two_hundred_times_and_is_taken_in_sixty_times_an_hour(app: ASGIApp, clock: Clock) -> None:
    statuses = [log_in(Visitor(app), "friends", "guests pass").status for _ in range(200)]
    assert statuses == [200] * SESSIONS_AN_HOUR + [429] * (200 - SESSIONS_AN_HOUR)
    refused = log_in(Visitor(app), "friends", "guests pass")
    assert refused.json()["detail"] == say("login.full", minutes=60)
    assert log_in(Visitor(app)).status == 200, "the owner is always taken in"
    clock.now += HOUR
    assert log_in(Visitor(app), "friends", "guests pass").status == 200


# ------------------------------------------------------------------------------------------- who somebody is, once in


def marks(app: ASGIApp, visitor: Visitor) -> dict[str, str]:
    """What the layers behind the login are told of a visitor."""
    told: dict[str, str] = {}

    async def page(scope: Scope, receive: Receive, send: Send) -> None:
        told.update({n.decode(): v.decode() for n, v in scope["headers"] if n.startswith(b"x-studio")})
        await PlainTextResponse("x")(scope, receive, send)

    assert isinstance(app, Login)
    app.app = page
    visitor("/", headers=[("x-studio-guest", ""), ("x-studio-person", "f" * 32), ("x-studio-login", "no")])
    return told


def test_the_owner_is_one_person_on_every_browser_and_each_guest_is_their_own(app: ASGIApp) -> None:
    owners, guests = [Visitor(app) for _ in range(2)], [Visitor(app) for _ in range(2)]
    for one in owners:
        log_in(one)
    for one in guests:
        log_in(one, "friends", "guests pass")
    told = [marks(app, one) for one in (*owners, *guests)]
    people = [one["x-studio-person"] for one in told]
    assert people[0] == people[1]
    assert len({*people}) == 3
    assert "f" * 32 not in people
    assert ["x-studio-guest" in one for one in told] == [False, False, True, True]


def test_a_guest_who_knows_the_owners_id_does_not_become_the_owner(app: ASGIApp) -> None:
    owner, guest = Visitor(app), Visitor(app)
    log_in(owner)
    person = marks(app, owner)["x-studio-person"]
    guest.cookies["studio_owner"] = person
    log_in(guest, "friends", "guests pass")
    assert marks(app, guest)["x-studio-person"] != person


def test_a_guest_stays_the_same_visitor_when_they_come_back(app: ASGIApp) -> None:
    guest = Visitor(app)
    log_in(guest, "friends", "guests pass")
    before = marks(app, guest)["x-studio-person"]
    guest("/logout", method="POST")
    log_in(guest, "friends", "guests pass")
    assert marks(app, guest)["x-studio-person"] == before
    assert isinstance(app, Login)
    assert app.access.guests() == {before: PASSWORD}


# ----------------------------------------------------------------------------------------- nothing before the login


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    "path", ["/", "/config", "/gradio_api/info", "/studio-static/studio.css", "/picture/x", "/login/x", "//login"]
)
def test_nothing_else_answers(app: ASGIApp, page: Page, method: str, path: str) -> None:
    answer = call(app, path, method=method)
    assert (answer.status, answer.body, answer.header("cache-control")) == (401, b"Log in first.", "no-store")
    assert page.reached == []


def test_websockets_need_the_login_too(app: ASGIApp) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/ws", "scheme": "ws", "headers": [(b"host", HOST.encode())]}
    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_the_studios_own_routes_are_behind_the_login(tmp_path: Path) -> None:
    app = studio(tmp_path, auth=("ann", "secret"))
    for path in ("/picture/x", "/thumbnail/x", "/record/x", "/studio-static/studio.css"):
        assert call(app, path).status == 401
    ann = Visitor(app)
    log_in(ann, "ann", "secret")
    assert ann("/picture/x").status == 404
    assert ann("/").json()["path"] == "/"


def test_the_form_loads_nothing_and_names_nothing(app: ASGIApp) -> None:
    for path in ("/login", "/logout"):
        text = call(app, path).body.decode()
        assert not re.search(r"<script|src=|href=|url\(|gradio|https?:", text)
        assert "<title>Latent Studio</title>" in text


def test_the_form_speaks_the_visitors_language_and_has_a_switch(app: ASGIApp) -> None:
    app = Language(app)
    chinese = call(app, "/login", headers=[("accept-language", "zh-CN")]).body.decode()
    assert '<html lang="zh-CN">' in chinese
    assert "密码" in chinese
    assert ">English</button>" in chinese
    answer = call(app, "/login", query="language=zh")
    assert (answer.status, answer.header("location")) == (303, "/login")
    cookie = str(answer.header("set-cookie"))
    assert cookie.startswith("studio_language=zh; Path=/; ")
    assert "HttpOnly" not in cookie  # the page's switch writes it too
    assert "密码" in call(app, "/login", headers=[("cookie", "studio_language=zh")]).body.decode()
    assert call(app, "/login", query="language=xx%0d%0a").status == 200
