"""The owner's address for how pictures are saved: the choice that holds, and another one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from studio.asked.messages import Message
from studio.asked.problems import InvalidRequest
from studio.picture.file_formats import FILE_FORMATS
from studio.picture.gallery import Gallery
from studio.picture.naming import DEFAULT_PATTERN, WORDS, example_of
from studio.picture.saving import Saving, SavingFile, as_text
from studio.ui.text import say, spoken
from studio.web.answers import is_owner, json_object, refusal
from studio.web.private_file import write_private


class SavingRoutes:
    """ASGI middleware: answers /saving and passes everything else on."""

    def __init__(self, app: ASGIApp, *, gallery: Gallery) -> None:
        self.gallery = gallery
        self.app = app
        self.router = Router(
            [Route("/saving", self.answer, methods=["GET", "POST"])], redirect_slashes=False, default=app
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self.router if scope["type"] == "http" else self.app)(scope, receive, send)

    async def answer(self, request: Request) -> Response:
        """GET: how pictures are saved; with ?pattern=…&format=… and the name that these would give. POST {"format": …,
        "quality": …, "lossless": …, "pattern": …}: from now on so; what is absent stays. The owner's alone."""
        if not is_owner(request):
            return refusal(403, say("models.guest"))
        saving_file = self.gallery.saving
        if request.method == "POST":
            try:
                await run_in_threadpool(change, saving_file, json_object(await request.body()))
            except InvalidRequest as error:
                return refusal(400, str(error))
            except OSError as error:
                return refusal(507, not_changed(error))
        view = await run_in_threadpool(view_of, saving_file, dict(request.query_params))
        return JSONResponse(spoken(view), headers={"cache-control": "no-store"})


def change(saving_file: SavingFile, values: dict[str, Any]) -> Saving:
    """Choose these values beside those that hold. Raises InvalidRequest and OSError."""
    saving = Saving.parse(saving_file.now().to_dict() | values)
    write_private(saving_file.path, as_text(saving))
    return saving


def not_changed(error: OSError) -> Message:
    """Why the choice could not be written down."""
    return Message("The outputs folder cannot be changed ({reason}).", reason=error.strerror or "")


def view_of(saving_file: SavingFile, query: Mapping[str, str]) -> dict[str, Any]:
    """What holds, what can be chosen, and the name that a pattern gives: the one of `query`, or that which holds."""
    saving, now = saving_file.now(), datetime.now().astimezone()
    pattern, file_format = query.get("pattern", saving.pattern), query.get("format", saving.format)
    ending = next((one.ending for name, one in FILE_FORMATS.items() if name == file_format), "")
    example, problem = "", ""
    try:
        example = example_of(pattern, now) + ending
    except InvalidRequest as error:
        problem = str(error)
    return {
        "saving": saving.to_dict(),
        "formats": {name: one.label for name, one in FILE_FORMATS.items()},
        "usual_pattern": DEFAULT_PATTERN,
        "words": {f"[{word}]": example_of(f"[{word}]", now) for word in WORDS},
        "example": example,
        "problem": problem,
    }
