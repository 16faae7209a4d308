"""Checks a call of the page's functions before Gradio runs it: the name, the arguments, their number.

Gradio answers a bad call with a traceback in the log and `{"error": null}`. The function itself checks the values
(studio.asked).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.answered.errors import error_of_status, in_detail
from studio.asked.problems import quoted_value
from studio.ui.functions import Function, Functions
from studio.ui.text import spoken_text
from studio.web.faults import METHODS

_CALL = re.compile(r"/gradio_api/(call/v2|call|run|api)/([^/]+)/?")
_EVENT = re.compile(r"/gradio_api/call/(?:v2/)?[^/]+/[^/]+/?")
_JOIN = re.compile(r"/gradio_api/queue/join/?")
_UPLOAD = re.compile(r"/gradio_api/upload/?")
_UNKNOWN_EVENT = re.compile(rb'event: error\ndata: "404')
_PAGE_CALL = "predict"  # what Gradio's page calls a function by its number with


class Refusal(Exception):
    """The call is answered here. The text is a plain sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Calls:
    """ASGI middleware: a call that cannot run gets a 4xx and a sentence, in `detail`, as Gradio's own refusals do."""

    def __init__(self, app: ASGIApp, *, functions: Functions) -> None:
        self.app = app
        self.functions = functions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"] if scope["type"] == "http" else ""
        if not path.startswith("/gradio_api/"):
            await self.app(scope, receive, send)
            return
        try:
            call, join = _CALL.fullmatch(path), _JOIN.fullmatch(path)
            if call or join:
                if scope["method"] != "POST":
                    raise Refusal(405, METHODS.format(allow="POST", method=scope["method"]))
                body, receive = await _read(receive)
                if call:
                    self._check_call(call[1], call[2], body)
                else:
                    self._check_join(body)
            elif _EVENT.fullmatch(path):
                stream = _Stream(send)
                await self.app(scope, receive, stream.send)
                if stream.unknown:
                    raise Refusal(404, "There is no call of this id, or its answer has been fetched already.")
                return
            await self.app(scope, receive, send)
        except Refusal as refusal:
            headers = {"cache-control": "no-store"} | ({"allow": "POST"} if refusal.status == 405 else {})
            answer = JSONResponse(
                in_detail(error_of_status(refusal.status, str(refusal)), spoken_text),
                status_code=refusal.status,
                headers=headers,
            )
            await answer(scope, receive, send)

    def _check_call(self, way: str, name: str, body: Any) -> None:
        if name == _PAGE_CALL and way in ("run", "api"):
            self._check_join(body)
            return
        by_name = {function.name: function for function in self.functions().values() if function.name}
        function = by_name.get(name)
        if function is None:
            raise Refusal(
                404,
                f"There is no endpoint {quoted_value('/' + name)}. There are: {_name_list('/' + n for n in by_name)}.",
            )
        if not isinstance(body, dict):
            raise Refusal(422, 'The body of a call is a JSON object, such as {"data": [...]}.')
        if way == "call/v2":
            _check_names(function, body)
        else:
            _check_data(function, body)

    def _check_join(self, body: Any) -> None:
        if not isinstance(body, dict):
            raise Refusal(422, 'The body of a call is a JSON object, such as {"data": [...], "fn_index": 0}.')
        number = body.get("fn_index")
        functions = self.functions()
        if not isinstance(number, int) or isinstance(number, bool) or number not in functions:
            raise Refusal(404, f"fn_index: there is no function {quoted_value(number)} on this page.")
        _check_data(functions[number], body)


def _check_data(function: Function, body: Mapping[str, Any]) -> None:
    data = body.get("data")
    if not isinstance(data, list):
        raise Refusal(422, f"data: {quoted_value(data)} is not allowed. Allowed: a list of the arguments.")
    if len(data) == function.inputs or (function.name and len(data) == len(function.arguments)):
        return
    if function.name:
        takes = f"/{function.name} takes {len(function.arguments)} arguments ({', '.join(function.arguments)})"
    else:
        takes = f"this function of the page takes {function.inputs} values"
    raise Refusal(422, f"data: {takes}; this call has {len(data)}.")


def _check_names(function: Function, body: Mapping[str, Any]) -> None:
    missing = [name for name in function.arguments if name in function.required and name not in body]
    unknown = [name for name in body if name not in function.arguments and name != "oauth_token"]
    if missing:
        raise Refusal(422, f"/{function.name} needs {', '.join(missing)}.")
    if unknown:
        choices = ", ".join(function.arguments) or "none"
        raise Refusal(422, f"/{function.name} has no argument {quoted_value(unknown[0])}. Its arguments: {choices}.")


def _name_list(names: Any) -> str:
    return ", ".join(names) or "none"


async def _read(receive: Receive) -> tuple[Any, Receive]:
    """The body as JSON (None if it is none), and a `receive` that returns it again. The guard has limited its size."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            break
        body += message.get("body", b"")
        more = message.get("more_body", False)
    ahead: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return ahead.pop() if ahead else await receive()

    try:
        return json.loads(body), again
    except (ValueError, RecursionError):
        return None, again


class _Stream:
    """The answer to a call, on its way. Gradio begins one for every id, known or not; for an unknown one nothing is
    passed on."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self.unknown = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        if self._start is not None and _UNKNOWN_EVENT.match(message.get("body", b"")):
            self.unknown = True
        if self.unknown:
            return
        if self._start is not None:
            await self._send(self._start)
            self._start = None
        await self._send(message)
