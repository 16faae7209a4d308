"""What several of the studio's own addresses answer with, and how they read a body."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from studio.ui.text import spoken
from studio.web.login import GUEST_HEADER, PROGRAM_HEADER


def is_owner(request: Request) -> bool:
    """Whether a person with the owner's rights asks: no guest, and no program."""
    return GUEST_HEADER not in request.headers and PROGRAM_HEADER not in request.headers


def json_object(body: bytes) -> dict[str, Any]:
    """A body's JSON object; empty where it is none."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def refusal(status: int, sentence: str) -> Response:
    """A refusal in a sentence, which nothing on its way may store."""
    return PlainTextResponse(spoken(sentence), status_code=status, headers={"cache-control": "no-store"})
