"""With a login, nothing of the studio shows before it, and guessing is slow."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from urllib.parse import urlencode

import pytest
from starlette.types import ASGIApp, Message

from studio.web.login import COOKIE, FAILURES_IN_ALL, SESSION_SECONDS, WINDOW_SECONDS, Login
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
    return Login(page, user="ann", password="pä:ss word", clock=clock)


def log_in(visitor: Visitor, user: str = "ann", password: str = "pä:ss word", *extra: tuple[str, str]) -> Answer:
    body = urlencode({"username": user, "password": password}).encode()
    return visitor("/login", method="POST", headers=[FORM, *extra], body=body)


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
    assert b"do not belong together" in wrong.body
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
    assert re.search(r"; HttpOnly; Max-Age=604800; Path=/; SameSite=lax$", cookie)
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


def test_five_wrong_passwords_make_a_name_wait(app: ASGIApp, clock: Clock) -> None:
    visitor = Visitor(app)
    for _ in range(5):
        assert log_in(visitor, "ann", "wrong").status == 401
        clock.now += 1
    waiting = log_in(visitor)
    assert (waiting.status, waiting.header("retry-after")) == (429, "55")
    assert waiting.json() == {"detail": "There were too many wrong passwords. Try again in 55 seconds."}
    assert visitor.cookies == {}
    assert log_in(visitor, "bob", "x").status == 401  # another name is not held up
    clock.now += 55
    assert log_in(visitor).status == 200


def test_a_thousand_guesses_are_hardly_looked_at_and_the_right_one_works_later(app: ASGIApp, clock: Clock) -> None:
    visitor = Visitor(app)
    evaluated = [0] * 10
    for k in range(1000):
        clock.now += 0.6
        status = log_in(visitor, f"name {k % 50}", "wrong").status
        evaluated[k // 100] += status == 401
        assert status in (401, 429)
    assert max(evaluated) <= FAILURES_IN_ALL < 20
    clock.now += WINDOW_SECONDS
    assert log_in(visitor).status == 200


def test_who_is_in_stays_in_while_others_guess(app: ASGIApp) -> None:
    ann = Visitor(app)
    log_in(ann)
    for k in range(40):
        log_in(Visitor(app), f"name {k}", "wrong")
    assert ann("/").status == 200


def test_the_failures_kept_are_bounded(page: Page, clock: Clock) -> None:
    login = Login(page, user="ann", password="x", clock=clock)
    for k in range(500):
        log_in(Visitor(login), f"{k}" * 500, "wrong")
    assert len(login.failures._all) <= FAILURES_IN_ALL


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
