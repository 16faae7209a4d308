"""Other web pages, rebound names and over-large bodies are turned away before anything of the studio sees them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from studio.web.guard import MAX_BODY_BYTES, MAX_UPLOAD_BYTES, SECURITY_HEADERS, Guard
from tests.web.asgi import HOST, Page, call, studio

JSON = ("content-type", "application/json")
UPLOAD = ("content-type", "multipart/form-data; boundary=x")


@pytest.fixture
def page() -> Page:
    return Page()


@pytest.fixture
def guard(page: Page) -> Guard:
    return Guard(page, hosts=())


# ---------------------------------------------------------------------------------------------------------- host


@pytest.mark.parametrize(
    "host", ["127.0.0.1:7860", "127.0.0.1", "localhost:7860", "LocalHost:1", "localhost.:7860", "[::1]:7860", "[::1]"]
)
def test_loopback_names_are_answered(guard: Guard, host: str) -> None:
    assert call(guard, "/", host=host).status == 200


@pytest.mark.parametrize(
    "host",
    ["rebind.example", "rebind.example:7860", "192.168.1.5:7860", "127.0.0.1.evil.example", "evil@127.0.0.1",
     "127.0.0.1:7860:1", "localhost:", "localhost:x", "[::2]", "::1", "", " ", "localhost x", "2130706433", None],
)  # fmt: skip
def test_other_names_are_misdirected(guard: Guard, page: Page, host: str | None) -> None:
    assert call(guard, "/", host=host).status == 421
    assert page.reached == []


def test_two_host_headers_are_refused(guard: Guard) -> None:
    assert call(guard, "/", headers=[("host", "evil.example")]).status == 421


def test_names_may_be_added_while_running(page: Page) -> None:
    hosts = {"Studio.Local"}
    guard = Guard(page, hosts=hosts)
    assert call(guard, "/", host="studio.local:7860").status == 200
    assert call(guard, "/", host="abc.gradio.live").status == 421
    hosts.add("abc.gradio.live")
    assert call(guard, "/", host="abc.gradio.live").status == 200


@pytest.mark.parametrize("everywhere", ["0.0.0.0", "::"])
def test_listening_everywhere_admits_addresses_but_no_names(page: Page, everywhere: str) -> None:
    guard = Guard(page, hosts={everywhere})
    assert call(guard, "/", host="192.168.1.5:7860").status == 200
    assert call(guard, "/", host="[fe80::1]:7860").status == 200
    assert call(guard, "/", host="rebind.example").status == 421


# -------------------------------------------------------------------------------------------------- other pages


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        (HOST, f"http://{HOST}"),
        ("localhost", "http://localhost"),
        ("localhost", "https://localhost"),
        ("localhost:443", "https://localhost"),
        ("localhost:80", "http://localhost"),
        ("[::1]:7860", "http://[::1]:7860"),
    ],
)
def test_the_studios_own_page_is_let_in(guard: Guard, host: str, origin: str) -> None:
    assert call(guard, "/", host=host, headers=[("origin", origin)]).status == 200


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "", "http://127.0.0.1:9998", "http://127.0.0.1", "http://localhost:7860",
     "https://127.0.0.1", f"http://x@{HOST}", f"chrome-extension://{HOST}", f"http://{HOST}.evil.example", "http://[",
     f"http://{HOST}/"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_origins_are_refused_whatever_they_ask(guard: Guard, page: Page, method: str, origin: str) -> None:
    assert call(guard, "/x", method=method, headers=[("origin", origin)]).status == 403
    assert page.reached == []


def test_two_origins_are_refused(guard: Guard) -> None:
    twice = [("origin", f"http://{HOST}"), ("origin", f"http://{HOST}")]
    assert call(guard, "/", headers=twice).status == 403


@pytest.mark.parametrize(
    ("method", "site", "mode", "dest", "status"),
    [
        ("GET", "same-origin", "cors", "empty", 200),
        ("POST", "same-origin", "cors", "empty", 200),
        ("GET", "none", "navigate", "document", 200),
        ("GET", "cross-site", "navigate", "document", 200),  # a link in a chat
        ("GET", "same-site", "navigate", "document", 200),
        ("GET", "cross-site", "no-cors", "image", 403),  # <img src> on another page
        ("GET", "same-site", "no-cors", "script", 403),  # another port of this machine
        ("GET", "cross-site", "navigate", "iframe", 403),
        ("POST", "cross-site", "navigate", "document", 403),  # a form on another page
        ("POST", "cross-site", "no-cors", "empty", 403),
        ("GET", "cross-site", None, None, 403),
        ("GET", "new-word", "cors", "empty", 403),
    ],
)
def test_browsers_say_who_asks(guard: Guard, method: str, site: str, mode: str, dest: str, status: int) -> None:
    headers = [("sec-fetch-site", site)]
    headers += [("sec-fetch-mode", mode), ("sec-fetch-dest", dest)] if mode else []
    assert call(guard, "/", method=method, headers=headers).status == status


@pytest.mark.parametrize(
    ("origin", "kind"), [(f"http://{HOST}", "websocket.accept"), ("http://evil", "websocket.close")]
)
def test_websockets_meet_the_same_rules(guard: Guard, origin: str, kind: str) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"host", HOST.encode()), (b"origin", origin.encode())]
    scope = {"type": "websocket", "path": "/ws", "scheme": "ws", "headers": headers}
    asyncio.run(guard(scope, receive, send))  # type: ignore[arg-type]
    assert [message["type"] for message in sent] == [kind]


# --------------------------------------------------------------------------------------------------------- bodies


def test_bodies_arrive_whole(guard: Guard) -> None:
    body = json.dumps({"data": ["x" * 100_000]}).encode()
    assert call(guard, "/gradio_api/queue/join", method="POST", headers=[JSON], body=body).json()["length"] == len(body)
    parts = [body[:50_000], body[50_000:], b""]
    assert call(guard, "/gradio_api/queue/join", method="POST", headers=[JSON], body=parts).json()["length"] == len(
        body
    )


@pytest.mark.parametrize("kind", [JSON, ("content-type", "text/plain"), UPLOAD, ("x-nothing", "")])
def test_a_body_over_the_limit_is_refused_unread(guard: Guard, page: Page, kind: tuple[str, str]) -> None:
    for body in (b" " * (MAX_BODY_BYTES + 1), [b" " * 2**20] * 3):
        answer = call(guard, "/gradio_api/queue/join", method="POST", headers=[kind], body=body)
        assert (answer.status, answer.header("connection")) == (413, "close")
        assert b"at most 2 MiB" in answer.body
    stated = [kind, ("content-length", str(10**15))]
    assert call(guard, "/gradio_api/queue/join", method="POST", headers=stated).status == 413
    assert page.reached == []


@pytest.mark.parametrize("stated", ["-1", "1e3", "", "0x10", "9" * 30])
def test_a_length_that_is_no_number_is_refused(guard: Guard, stated: str) -> None:
    assert call(guard, "/", method="POST", headers=[("content-length", stated)]).status == 400


def test_uploads_have_a_limit_of_their_own(guard: Guard, page: Page) -> None:
    size = MAX_UPLOAD_BYTES - 1000
    answer = call(guard, "/gradio_api/upload", method="POST", headers=[UPLOAD], body=bytes(size))
    assert answer.json()["length"] == size
    stated = [UPLOAD, ("content-length", str(MAX_UPLOAD_BYTES + 1))]
    assert call(guard, "/gradio_api/upload", method="POST", headers=stated).status == 413
    assert page.reached == ["/gradio_api/upload"]


def test_a_picture_that_is_asked_about_may_be_as_large_as_an_upload(guard: Guard, page: Page) -> None:
    picture = ("content-type", "image/png")
    assert call(guard, "/ask/start", method="POST", headers=[picture], body=bytes(3 * 2**20)).status == 200
    for path, kind in (("/ask/start", "application/json"), ("/gradio_api/run", "image/png")):
        answer = call(guard, path, method="POST", headers=[("content-type", kind)], body=bytes(3 * 2**20))
        assert answer.status == 413, path
    assert page.reached == ["/ask/start"]


def test_an_endless_upload_is_cut_off_at_its_limit() -> None:
    seen = 0

    async def eager(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal seen
        try:
            async for part in Request(scope, receive).stream():
                seen += len(part)
            answer = PlainTextResponse("stored")
        except Exception:  # as FastAPI does: whatever goes wrong while reading is called a bad request
            answer = PlainTextResponse("There was an error parsing the body", status_code=400)
        await answer(scope, receive, send)

    parts = [bytes(2**20)] * 40
    answer = call(Guard(eager, hosts=()), "/gradio_api/upload", method="POST", headers=[UPLOAD], body=parts)
    assert answer.status == 413
    assert seen == MAX_UPLOAD_BYTES


def test_an_upload_that_grows_after_the_answer_began_just_ends() -> None:
    async def hasty(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while (await receive())["type"] == "http.request":
            pass
        await send({"type": "http.response.body", "body": b"done"})

    answer = call(Guard(hasty, hosts=()), "/upload", method="POST", headers=[UPLOAD], body=[bytes(2**20)] * 40)
    assert (answer.status, answer.body) == (200, b"done")


# ------------------------------------------------------------------------------------- what JSON asks to be opened

PIXEL = "data:image/png;base64,iVBORw0KGgo="


@pytest.mark.parametrize(
    ("data", "status"),
    [
        ({"data": [{"path": None, "url": PIXEL}]}, 413),
        ({"data": [{"url": f" DATA{PIXEL[4:]}"}]}, 413),
        ({"data": [{"background": {"url": PIXEL}}]}, 413),
        ({"data": [[{"image": {"path": PIXEL}}]]}, 400),
        ({"data": [{"path": "http://169.254.169.254/latest/meta-data"}]}, 400),
        ({"data": [{"path": "https://evil.example/x.png"}]}, 400),
        ({"data": [{"path": "file:///etc/passwd"}]}, 400),
        ({"data": [{"path": " ftp://evil.example"}]}, 400),
        ({"data": ["data: a robot made of numbers", "http://a.fox/", 5, None]}, 200),
        ({"data": [{"path": "/tmp/studio/a b.png", "url": f"http://{HOST}/gradio_api/file=/tmp/x", "size": 3}]}, 200),
        ({"data": [{"path": "C:\\Temp\\a.png"}]}, 200),
        ({"path": {"url": [1]}}, 200),
        ([], 200),
        ("text", 200),
    ],
)
def test_files_are_uploaded_and_not_written_into_json(guard: Guard, page: Page, data: Any, status: int) -> None:
    body = json.dumps(data).encode()
    for kind in ("application/json", "Application/JSON; charset=utf-8", "application/x+json"):
        answer = call(guard, "/gradio_api/call/x", method="POST", headers=[("content-type", kind)], body=body)
        assert answer.status == status, kind
    assert bool(page.reached) == (status == 200)


def test_escapes_hide_nothing(guard: Guard) -> None:
    body = b'{"data": [{"\\u0075rl": "\\u0064ata:image/png;base64,AAAA"}]}'
    assert call(guard, "/x", method="POST", headers=[JSON], body=body).status == 413


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 1_000_000, b'{"a":' * 200_000, b"9" * 10_000])
def test_what_is_no_json_is_refused(guard: Guard, page: Page, body: bytes) -> None:
    assert call(guard, "/x", method="POST", headers=[JSON], body=body).status == 400
    assert page.reached == []


def test_a_visitor_who_leaves_in_mid_body_reaches_nobody_with_half_of_it(guard: Guard) -> None:
    stated = [JSON, ("content-length", "100")]

    async def receive() -> Message:
        return next(messages)

    async def send(message: Message) -> None:
        raise AssertionError(message)

    messages = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])
    headers = [(b"host", HOST.encode()), *((k.encode(), v.encode()) for k, v in stated)]
    scope = {"type": "http", "method": "POST", "path": "/x", "headers": headers}
    asyncio.run(guard(scope, receive, send))


# ---------------------------------------------------------------------------------------------------- the answers


def test_every_answer_tells_browsers_what_to_forbid(tmp_path: Path) -> None:
    app = studio(tmp_path, auth=("ann", "secret"))
    answers = [
        call(app, "/"),
        call(app, "/login"),
        call(app, "/login", headers=[("origin", "http://evil.example")]),
        call(app, "/", host="evil.example"),
        call(app, "/x", method="POST", headers=[JSON], body=b"{"),
    ]
    assert [answer.status for answer in answers] == [401, 200, 403, 421, 400]
    for answer in answers:
        assert SECURITY_HEADERS.items() <= dict(answer.headers).items()
    policy = SECURITY_HEADERS["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "http" not in policy
    assert "*" not in policy


def test_events_are_not_held_back(tmp_path: Path) -> None:
    """Each event is sent on before the next one exists, through every layer."""
    log: list[str] = []

    async def events(scope: Scope, receive: Receive, send: Send) -> None:
        async def produce() -> Any:
            for k in range(5):
                log.append(f"made {k}")
                yield f"data: {k}\n\n"

        await StreamingResponse(produce(), media_type="text/event-stream")(scope, receive, send)

    app = studio(tmp_path, page=events)
    headers: dict[bytes, bytes] = {}

    async def send(message: Message) -> None:
        headers.update(message.get("headers", []))
        if message.get("body"):
            log.append(f"sent {message['body'].decode()[6]}")

    async def receive() -> Message:
        await asyncio.sleep(3600)
        raise AssertionError

    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "method": "GET", "path": "/queue/data",
        "scheme": "http", "query_string": b"", "headers": [(b"host", HOST.encode())],
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    assert log == [f"{word} {k}" for k in range(5) for word in ("made", "sent")]
    assert headers[b"x-accel-buffering"] == b"no"
    assert headers[b"cache-control"] == b"no-cache"
