"""An error as programs read it: one JSON form for the studio's own addresses and for Gradio's endpoints.

The sentence is what a person reads; everything else is for a program to act on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from studio.answered.engine import RefusalKind, Refused, UnknownJob
from studio.answered.events import Failed
from studio.answered.models import NoSuchModel
from studio.asked.messages import as_text
from studio.asked.problems import InvalidRequest

ErrorType = Literal[
    "bad_request", "invalid", "unauthorized", "forbidden", "not_found", "method_not_allowed", "not_now", "too_large",
    "media_type", "wrong_address", "limit", "full", "unavailable", "no_room", "internal", "job_failed",
]  # fmt: skip

# What each is answered with. A job that failed is an event, or a state of the job: asking for it is answered with 200.
STATUSES: Mapping[ErrorType, int] = {
    "bad_request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "not_now": 409,
    "too_large": 413,
    "media_type": 415,
    "wrong_address": 421,
    "invalid": 422,
    "limit": 429,
    "internal": 500,
    "full": 503,
    "unavailable": 503,
    "no_room": 507,
    "job_failed": 200,
}
_OF_REFUSALS: Mapping[RefusalKind, ErrorType] = {
    "not_now": "not_now",
    "limit": "limit",
    "full": "full",
    "unavailable": "unavailable",
    "forbidden": "forbidden",
    "internal": "internal",
}


class FieldProblem(msgspec.Struct, frozen=True):
    """One bad field: its name, the value that came (shortened), and what is allowed, in words."""

    field: str
    value: str
    allowed: str


class ApiError(msgspec.Struct, frozen=True, omit_defaults=True):
    """One error. `problems`: of "invalid", every bad field; `retry_after`: seconds; `kind`, `error_id`: of a job that
    failed, and the id beside the cause in the studio's log."""

    type: ErrorType
    message: str
    problems: tuple[FieldProblem, ...] = ()
    retry_after: int | None = None
    kind: str = ""
    error_id: str = ""

    @property
    def status(self) -> int:
        """Of the HTTP answer."""
        return STATUSES[self.type]


class ErrorAnswer(msgspec.Struct, frozen=True):
    """What an error is answered with."""

    error: ApiError


def error_of(error: Exception) -> ApiError | None:
    """What a program is told of an error that a visitor may hear of; None for any other."""
    match error:
        case InvalidRequest():
            problems = tuple(FieldProblem(one.field, one.value, one.allowed) for one in error.problems)
            return ApiError("invalid", str(error), problems=problems)
        case Refused():
            return ApiError(_OF_REFUSALS[error.kind], str(error), retry_after=error.retry_after)
        case UnknownJob():
            return ApiError("not_found", str(error) or "This job does not exist any more.")
        case NoSuchModel():
            return ApiError("not_found", str(error) or "There is no such model.")
    return None


def error_of_job(event: Failed) -> ApiError:
    """The same for a job that failed."""
    return ApiError("job_failed", event.message, kind=event.kind, error_id=event.error_id)


def error_of_status(status: int, sentence: str, retry_after: int | None = None) -> ApiError:
    """The same for an answer that has a status and a sentence."""
    kinds: dict[int, ErrorType] = {code: kind for kind, code in STATUSES.items() if kind != "full"}
    kind = kinds.get(status, "bad_request" if status < 500 else "internal")
    return ApiError(kind, sentence, retry_after=retry_after)


def as_json(error: ApiError, text: Callable[[object], str] = as_text) -> bytes:
    """The form. `text` says a `Message` in a language."""
    return msgspec.json.encode(ErrorAnswer(error), enc_hook=text)


def in_text(error: ApiError, text: Callable[[object], str] = as_text) -> str:
    """The sentence, and the form on a line of its own, for a caller that is given nothing but a text."""
    form = as_json(error, text)
    sentence = msgspec.json.decode(form, type=ErrorAnswer).error.message
    return f"{sentence}\n{form.decode()}"


def in_detail(error: ApiError, text: Callable[[object], str] = as_text) -> dict[str, object]:
    """The form beside the sentence in `detail`, where Gradio's own refusals have theirs."""
    values = msgspec.to_builtins(error, enc_hook=text)
    return {"detail": values["message"], "error": values}
