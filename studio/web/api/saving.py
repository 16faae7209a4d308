"""How pictures are saved, for programs: the owner's choice. A token with the owner's rights may read and change it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from studio.answered.errors import ApiError
from studio.picture.file_formats import FORMAT_NAMES, MAX_QUALITY
from studio.picture.gallery import Gallery
from studio.picture.naming import MAX_PATTERN
from studio.ui.text import say
from studio.web.api.answering import json_answer, with_typed_errors
from studio.web.api.bodies import Bodies
from studio.web.api.errors import response
from studio.web.api.forms import Form
from studio.web.login import GUEST_HEADER
from studio.web.saving_routes import change, not_changed, view_of

BODY: Mapping[str, Mapping[str, Any]] = {
    "format": {"type": "string", "enum": list(FORMAT_NAMES)},
    "quality": {"type": "integer", "minimum": 1, "maximum": MAX_QUALITY, "description": "of JPEG and of lossy WebP"},
    "lossless": {"type": "boolean", "description": "of WebP"},
    "pattern": {"type": "string", "maxLength": MAX_PATTERN, "description": "folders and name, in A1111's words"},
}


class SavingForm(Form):
    """How pictures are saved. `example`: the name that the pattern gives; `words`: those that it may have."""

    format: str
    quality: int
    lossless: bool
    pattern: str
    example: str
    words: tuple[str, ...]


class SavingApi:
    """Answers the operations whose names begin with `saving`."""

    def __init__(self, gallery: Gallery, bodies: Bodies) -> None:
        self._gallery = gallery
        self._bodies = bodies

    @with_typed_errors
    async def saving(self, request: Request) -> Response:
        """The choice that holds."""
        return await self._answer() if GUEST_HEADER not in request.headers else _forbidden()

    @with_typed_errors
    async def saving_change(self, request: Request) -> Response:
        """Another choice; what is absent stays."""
        if GUEST_HEADER in request.headers:
            return _forbidden()
        async with self._bodies.json(request) as body:
            try:
                await run_in_threadpool(change, self._gallery.saving, body)
            except OSError as error:
                return response(ApiError("no_room", not_changed(error)))
        return await self._answer()

    async def _answer(self) -> Response:
        view = await run_in_threadpool(view_of, self._gallery.saving, {})
        return json_answer(SavingForm(**view["saving"], example=view["example"], words=tuple(view["words"])))


def _forbidden() -> Response:
    return response(ApiError("forbidden", say("models.guest")))
