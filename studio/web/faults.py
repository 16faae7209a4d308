"""A request that fails gets a sentence, never a traceback, and the log gets one line."""

from __future__ import annotations

import errno
import logging
import secrets

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.asked import messages
from studio.ui.log import in_one_line
from studio.ui.text import spoken

logger = logging.getLogger(__name__)

_FULL = (errno.ENOSPC, errno.EDQUOT)
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EISDIR, errno.ELOOP)
METHODS = "This address takes {allow}, not {method}."


class Faults:
    """ASGI middleware: answers when something inside raises.

    `foreign`: what lies inside is not the studio's own code but Gradio's, which fails on requests that it does not
    expect; then the answer is a 400 and not a 500.
    """

    def __init__(self, app: ASGIApp, *, foreign: bool = False) -> None:
        self.app = app
        self.foreign = foreign

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer = _Answer(send)
        response: Response | None = None
        try:
            await self.app(scope, receive, answer.send)
        except ClientDisconnect:
            return
        except HTTPException as error:
            response = _refusal(error, scope)
        except Exception as error:
            refusal = _refusal_of_stream(error)
            if refusal is not None:  # the stream's last event says it
                await answer.finish()
                if not answer.has_ended:
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            error_id = secrets.token_hex(4)
            status, sentence = _verdict(error, self.foreign)
            logger.error("%s %s (error id %s): %s", scope["method"], _path(scope), error_id, in_one_line(error))
            error.__traceback__ = None
            sentence_with_id = messages.Message(
                "{sentence} (error id {error_id})", sentence=sentence, error_id=error_id
            )
            response = PlainTextResponse(spoken(sentence_with_id), status, {"cache-control": "no-store"})
        if response is None:
            await answer.finish()
        elif not answer.has_begun:
            await response(scope, receive, send)
        elif not answer.has_ended:  # what was sent so far is all there is
            await send({"type": "http.response.body", "body": b"", "more_body": False})


class _Answer:
    """An answer on its way. A 500 is held back: Starlette sends one and raises its cause after it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._buffer: list[Message] = []
        self.has_begun = self.has_ended = False

    async def send(self, message: Message) -> None:
        if self._buffer or (message["type"] == "http.response.start" and message["status"] == 500):
            self._buffer.append(message)
            return
        self.has_begun = True
        self.has_ended = message["type"] == "http.response.body" and not message.get("more_body", False)
        await self._send(message)

    async def finish(self) -> None:
        """Send what was held back: nothing was raised."""
        for message in self._buffer:
            await self._send(message)


def _refusal_of_stream(error: Exception) -> HTTPException | None:
    """The refusal that Gradio raises once it has begun a stream, such as for a session or a call that it does not know.
    Starlette, which can answer it no more, raises an error of its own about it."""
    refusal = error.__cause__ if isinstance(error, RuntimeError) else None
    return refusal if isinstance(refusal, HTTPException) and refusal.status_code < 500 else None


def _path(scope: Scope) -> str:
    return ascii(scope["path"][:100])


def _refusal(error: HTTPException, scope: Scope) -> PlainTextResponse:
    sentence = error.detail
    headers = dict(error.headers or {})
    if error.status_code == 405:
        sentence = METHODS.format(allow=headers.get("Allow", "another method"), method=scope["method"])
    return PlainTextResponse(sentence, status_code=error.status_code, headers=headers | {"cache-control": "no-store"})


def _verdict(error: Exception, foreign: bool) -> tuple[int, str]:
    """Status and sentence."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return 507, messages.Message("The studio's disk is full.")
    if isinstance(error, OSError) and error.errno in _NOT_THERE:
        return 404, messages.Message("There is nothing here.")
    if foreign:
        return 400, messages.Message(
            "This request could not be understood: a part of it is missing, or is not what belongs there."
        )
    return 500, messages.Message("Something went wrong in the studio; its log has the cause.")
