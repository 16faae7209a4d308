"""What goes wrong with a request becomes a sentence, and one line of the log."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from studio.ui.functions import Function
from studio.ui.log import BriefFormatter, in_one_line
from studio.web.calls import Calls
from studio.web.faults import Faults
from tests.web.asgi import Answer, Page, call, studio

JSON = [("content-type", "application/json")]
MAKE = Function(name="make", arguments=("prompt", "seed"), required=frozenset({"prompt"}), inputs=3)
HIDDEN = Function(name="", arguments=(), required=frozenset(), inputs=1)
OURS = ("/picture/x", "/thumbnail/x", "/record/x", "/export/x", "/branches/x", "/sheet/x.png", "/sheet/x.csv",
        "/models-found", "/model-picture/x", "/studio-static/studio.css", "/stop/x", "/again/x", "/keep/x", "/branch/x",
        "/ask/control-map", "/ask/tokens")  # fmt: skip


@pytest.mark.parametrize("path", OURS)
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "BREW"])
def test_a_wrong_method_is_405_and_says_which_is_right(tmp_path: Path, path: str, method: str) -> None:
    inside = studio(tmp_path)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await inside(dict(scope, app=object()), receive, send)  # within an application Starlette raises instead

    answer = call(app, path, method=method)
    assert answer.status == 405
    assert answer.header("allow")
    assert answer.body.decode().startswith("This address takes ")
    assert answer.header("content-security-policy")


@pytest.mark.parametrize(
    ("error", "own", "foreign"),
    [
        (KeyError("x"), 500, 400),
        (ValueError("embedded null byte"), 500, 400),
        (FileNotFoundError(2, "gone"), 404, 404),
        (OSError(36, "File name too long"), 404, 404),
        (OSError(28, "No space left on device"), 507, 507),
        (HTTPException(403, "Not yours."), 403, 403),
    ],
)
def test_an_error_is_a_sentence_for_the_visitor_and_one_line_in_the_log(
    error: Exception, own: int, foreign: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    for is_foreign, status in ((False, own), (True, foreign)):
        caplog.clear()
        answer = call(Faults(app, foreign=is_foreign), "/x\ny")
        assert answer.status == status
        assert "Traceback" not in answer.body.decode()
        assert answer.body.decode().rstrip(")").count(".") >= 1
        assert all("\n" not in record.getMessage() and record.exc_info is None for record in caplog.records)
        assert len(caplog.records) <= 1


def test_a_stream_that_breaks_ends_where_it_broke(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"so far", "more_body": True})
        raise RuntimeError("broken")

    answer = call(Faults(app), "/x")
    assert (answer.status, answer.body) == (200, b"so far")
    assert len(caplog.records) == 1


@pytest.mark.parametrize(("status", "lines"), [(404, 0), (503, 1)])
def test_a_refusal_within_a_stream_is_no_fault_of_the_studio(
    status: int, lines: int, caplog: pytest.LogCaptureFixture
) -> None:
    def page() -> Iterator[bytes]:
        yield b"data: not found"
        raise HTTPException(status)

    app = Starlette(routes=[Route("/x", lambda request: StreamingResponse(page(), media_type="text/event-stream"))])
    answer = call(Faults(app, foreign=True), "/x")
    assert (answer.status, answer.body) == (200, b"data: not found")
    assert len(caplog.records) == lines


def test_a_500_that_is_meant_is_passed_on() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"meant"})

    assert call(Faults(app, foreign=True), "/x").body == b"meant"


def asked(path: str, body: Any, method: str = "POST") -> Answer:
    app = Calls(Page(), functions=lambda: {0: HIDDEN, 4: MAKE})
    return call(app, path, method=method, headers=JSON, body=json.dumps(body).encode())


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/gradio_api/call/make", {"data": ["x", 1]}, 200, ""),
        ("/gradio_api/call/make", {"data": ["x", 1, None]}, 200, ""),  # with the hidden one, as the page sends it
        ("/gradio_api/call/v2/make", {"prompt": "x"}, 200, ""),
        ("/gradio_api/queue/join", {"data": [None], "fn_index": 0, "session_hash": "s"}, 200, ""),
        ("/gradio_api/run/predict", {"data": [1], "fn_index": 0}, 200, ""),
        ("/gradio_api/call/nothing", {"data": []}, 404, "There is no endpoint '/nothing'. There are: /make."),
        ("/gradio_api/call/v2/nothing/", {}, 404, "There are: /make."),
        ("/gradio_api/run/nothing", {"data": []}, 404, "There are: /make."),
        ("/gradio_api/call/" + "n" * 5000, {"data": []}, 404, "There are: /make."),
        ("/gradio_api/call/make", {"data": []}, 422, "/make takes 2 arguments (prompt, seed); this call has 0."),
        ("/gradio_api/call/make", {"data": ["x"] * 4}, 422, "this call has 4."),
        ("/gradio_api/call/make", {}, 422, "data: None is not allowed."),
        ("/gradio_api/call/make", [], 422, "JSON object"),
        ("/gradio_api/call/make", {"data": {"prompt": "x"}}, 422, "a list of the arguments"),
        ("/gradio_api/call/v2/make", {"seed": 1}, 422, "/make needs prompt."),
        ("/gradio_api/call/v2/make", {"prompt": "x", "sede": 1}, 422, "no argument 'sede'. Its arguments: prompt"),
        ("/gradio_api/call/v2/make", None, 422, "JSON object"),
        ("/gradio_api/queue/join", {"data": [], "fn_index": 99, "session_hash": "s"}, 404, "no function 99"),
        ("/gradio_api/queue/join", {"data": [], "fn_index": True, "session_hash": "s"}, 404, "no function True"),
        ("/gradio_api/queue/join", {"data": [], "session_hash": "s"}, 404, "no function None"),
        ("/gradio_api/queue/join", {"data": [], "fn_index": 0}, 422, "this call has 0"),
        ("/gradio_api/queue/join", 3, 422, "JSON object"),
    ],
)  # fmt: skip
def test_a_call_that_cannot_run_is_refused_with_the_reason(path: str, body: Any, status: int, says: str) -> None:
    answer = asked(path, body)
    assert answer.status == status, answer.body
    if says:
        assert says in answer.json()["detail"]
        assert len(answer.body) < 500


def test_a_call_is_a_post() -> None:
    assert asked("/gradio_api/call/make", None, method="GET").status == 405


@pytest.mark.parametrize(
    "body", [b'{"data":[NaN]}', b'{"data":[-Infinity]}', b'{"data":[1e999]}', b'{"a":{"b":[NaN]}}']
)
def test_what_no_json_holds_is_refused(tmp_path: Path, body: bytes) -> None:
    answer = call(studio(tmp_path), "/gradio_api/call/make", method="POST", headers=JSON, body=body)
    assert answer.status == 400
    assert b"The body of this request" in answer.body


def test_a_traceback_in_the_log_is_short_and_written_once() -> None:
    def deep(n: int) -> None:
        if n:
            deep(n - 1)
        raise ValueError("told\nin two lines" + "x" * 5000)

    formatter = BriefFormatter("%(message)s")
    written = []
    for _ in range(2):
        try:
            deep(60)
        except ValueError as error:
            info = (type(error), error, error.__traceback__)
            written.append(formatter.format(logging.LogRecord("a", logging.ERROR, "", 0, "failed", (), info)))
            one_line = in_one_line(error)
    assert len(one_line.splitlines()) == 1
    assert len(written[0].splitlines()) <= 16
    assert len(written[1].splitlines()) == 2
    assert max(len(text) for text in written) < 3000
