"""How the methods of the studio for programs answer: a form as JSON, and the errors of what was asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from studio.answered.errors import ApiError, error_of, error_of_status
from studio.ui.text import say, spoken_text
from studio.web.api import forms
from studio.web.api.bodies import BadBody
from studio.web.api.errors import response
from studio.web.owner import NO_COOKIE_HEADER
from studio.web.upload_room import NoRoom

NOT_STORED = {"cache-control": "no-store"}

Self = TypeVar("Self")
Handler = Callable[[Self, Request], Awaitable[Response]]


def with_typed_errors(handler: Handler[Self]) -> Handler[Self]:
    """An error of what was asked becomes an answer; any other goes on, to be logged."""

    @wraps(handler)
    async def answer(self: Self, request: Request) -> Response:
        try:
            return await handler(self, request)
        except BadBody as bad:
            error = error_of_status(bad.status, str(bad))
        except NoRoom as full:
            error = ApiError("no_room", str(full))
        except Exception as raised:
            api_error = error_of(raised)
            if api_error is None:
                raise
            error = api_error
        if error.type == "not_found" and NO_COOKIE_HEADER in request.headers:
            error = msgspec.structs.replace(error, message=f"{error.message} {say('api.no_cookie')}")
        return response(error)

    return answer


def json_answer(form: forms.Form, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A form as an answer."""
    return Response(
        msgspec.json.encode(form, enc_hook=spoken_text),
        status,
        {**NOT_STORED, **(headers or {})},
        media_type="application/json",
    )
