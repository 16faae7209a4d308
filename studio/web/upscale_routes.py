"""The page's addresses to enlarge a picture: with what, and the result as one more picture of this visitor."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from studio.answered.engine import Answer, Engine, Refused
from studio.answered.events import Picture
from studio.asked.messages import Message
from studio.asked.orders import ModelList
from studio.asked.problems import MAX_IMAGE_BYTES, InvalidRequest, Problem, quoted_value
from studio.asked.upscale import FACTOR, LANCZOS, MAX_PIXELS, SIDE, Upscale
from studio.picture import enlarged
from studio.picture.gallery import Gallery, SaveFailed
from studio.picture.library.library import Library
from studio.picture.library.thumbnails import read_file
from studio.ui.render import picture_view
from studio.ui.text import spoken
from studio.ui.visible import visible
from studio.web.answers import refusal
from studio.web.departure import unless_left
from studio.web.library_viewer import viewer_of
from studio.web.limits import GUEST_UPSCALE_PIXELS
from studio.web.login import GUEST_HEADER
from studio.web.owner import HEADER
from studio.web.picture_bodies import room_for
from studio.web.upload_room import NoRoom, UploadRoom

MOST_AT_ONCE = 2  # pictures that are resized or saved at the same time; the largest takes 400 MB meanwhile
_NOT_STORED = {"cache-control": "no-store"}
_NUMBERS: Mapping[str, type[int] | type[float]] = {"factor": float, "width": int, "height": int}
_FLAGS = {"0": False, "1": True}


class UpscaleRoutes:
    """ASGI middleware: answers /ask/upscale and /ask/upscalers, and passes everything else on."""

    def __init__(
        self, app: ASGIApp, *, engine: Engine, gallery: Gallery, library: Library, room: UploadRoom | None = None
    ) -> None:
        """`room`: where pictures that come with a request are counted."""
        self.app = app
        self.engine = engine
        self.gallery = gallery
        self.library = library
        self.room = room
        self._places = asyncio.Semaphore(MOST_AT_ONCE)
        self.router = Router(
            [
                Route("/ask/upscalers", self.upscalers),
                Route("/ask/upscale", self.upscale, methods=["POST"]),
            ],
            redirect_slashes=False,
            default=app,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self.router if scope["type"] == "http" else self.app)(scope, receive, send)

    async def upscalers(self, request: Request) -> Response:
        """GET: the upscalers that this visitor may use, {"name", "label", "scale"} each, and the limits."""
        models = (await self.engine.ask(ModelList())).models
        there = [one for one in models if one.kind == "upscaler" and one.state == "usable"]
        view = {
            "upscalers": [{"name": one.name, "label": visible(one.name), "scale": one.facts.scale} for one in there],
            "lanczos": LANCZOS,
            "factors": [FACTOR.low, FACTOR.high],
            "most_side": SIDE.high,
            "most_pixels": GUEST_UPSCALE_PIXELS if GUEST_HEADER in request.headers else MAX_PIXELS,
        }
        return JSONResponse(spoken(view), headers=_NOT_STORED)

    async def upscale(self, request: Request) -> Response:
        """POST ?upscaler=…&factor=2 (or &width=…&height=…&crop=1): enlarge the picture in the body, that of the gallery
        with the id `picture`, or that of the library with the id `library`; answers with the view of the saved one.
        Whoever leaves before stops it."""
        owner = request.headers[HEADER]
        values = dict(request.query_params)
        try:
            if "picture" in values or "library" in values:
                image = await self._stored(request, values)
                if image is None:
                    return refusal(404, Message("There is nothing here."))
                answer = await self._asked(request, image, values, owner)
            else:
                async with room_for(request, self.room):
                    answer = await self._asked(request, await _body(request), values, owner)
            if answer is None:
                return Response(status_code=499)  # nobody is there to read it
            async with self._places:
                picture: Picture = await run_in_threadpool(enlarged.save, answer.content, self.gallery, owner)
        except InvalidRequest as error:
            return refusal(400, str(error))
        except Refused as error:
            return refusal(409, str(error))
        except (NoRoom, SaveFailed) as error:
            return refusal(507, error.args[0])
        return JSONResponse(spoken(picture_view(picture)), headers=_NOT_STORED)

    async def _asked(self, request: Request, image: bytes, values: Mapping[str, str], owner: str) -> Answer | None:
        return await unless_left(request, self._enlarged(_order(image, values), owner))

    async def _enlarged(self, order: Upscale, owner: str) -> Answer:
        if order.upscaler.strip().casefold() != LANCZOS:
            return await self.engine.ask(order, owner=owner)  # in turn with the others, between the steps of runs
        async with self._places:
            return await self.engine.ask(order, owner=owner)

    async def _stored(self, request: Request, values: dict[str, str]) -> bytes | None:
        """The file of the picture that an address names, which goes from `values`; None where there is none."""
        picture_id, in_library = values.pop("picture", None), values.pop("library", None)
        path: Path | None = None
        if picture_id is not None:
            path = await run_in_threadpool(self.gallery.path, picture_id, request.headers[HEADER])
        elif in_library is not None:
            shown = await run_in_threadpool(self.library.one, viewer_of(request), in_library)
            path = shown.row.path if shown is not None else None
        try:
            return await run_in_threadpool(read_file, path) if path is not None else None
        except OSError:
            return None


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_IMAGE_BYTES:
            break  # the order says what is allowed
    return bytes(body)


def _order(image: bytes, texts: Mapping[str, str]) -> Upscale:
    """Raises InvalidRequest with every problem."""
    names = ("upscaler", *_NUMBERS, "crop")
    values: dict[str, Any] = {}
    for name, text in texts.items():
        if name not in names:
            raise InvalidRequest(Problem(name, quoted_value(text), ", ".join(names)))
        values[name] = _number(text, _NUMBERS[name]) if name in _NUMBERS else text
    if "crop" in values:
        values["crop"] = _FLAGS.get(values["crop"], values["crop"])
    order = Upscale(image=image, **values)
    if problems := order.problems():
        raise InvalidRequest(*problems)
    return order


def _number(text: str, kind: type[int] | type[float]) -> object:
    """The number, or the text where it is none."""
    try:
        return kind(text) if len(text) <= 40 else text
    except ValueError:
        return text
