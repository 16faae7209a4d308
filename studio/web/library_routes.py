"""The library's addresses for the page. A picture that somebody may not see is answered as one that is not there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from studio.answered.engine import Engine
from studio.asked.messages import Message
from studio.asked.orders import ModelList
from studio.asked.problems import InvalidRequest
from studio.picture.library import reading
from studio.picture.library.library import MAX_TOGETHER, Library, Shown
from studio.picture.library.search import OWNER, Viewer
from studio.picture.library.trash import DAYS
from studio.picture.metadata import texts_of
from studio.ui.library.settings import settings_of
from studio.ui.picture_settings import sheet_of
from studio.ui.text import spoken
from studio.ui.visible import visible
from studio.web.answers import json_object, refusal
from studio.web.library_viewer import limit_of, number_of, search_of, viewer_of
from studio.web.picture_files import picture_file
from studio.web.share_pictures import zip_stream

PAGE = 120
_STORED = {"cache-control": "private, max-age=3600", "x-content-type-options": "nosniff"}
_NOT_STORED = {"cache-control": "no-store"}


class LibraryRoutes:
    """ASGI middleware: answers what is below /library and passes everything else on."""

    def __init__(self, app: ASGIApp, *, library: Library, engine: Engine) -> None:
        self.app = app
        self.engine = engine
        self.library = library
        self.router = Router(
            [
                Route("/library", self.page),
                Route("/library/choices", self.choices),
                Route("/library/one/{picture_id}", self.one),
                Route("/library/settings/{picture_id}", self.settings),
                Route("/library/picture/{picture_id}", self.picture),
                Route("/library/thumbnail/{picture_id}", self.thumbnail),
                Route("/library/rate", self.rate, methods=["POST"]),
                Route("/library/board", self.board, methods=["POST"]),
                Route("/library/board/change", self.change_board, methods=["POST"]),
                Route("/library/delete", self.delete, methods=["POST"]),
                Route("/library/restore", self.restore, methods=["POST"]),
                Route("/library/pictures.zip", self.zip, methods=["POST"]),
            ],
            redirect_slashes=False,
            default=app,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self.router if scope["type"] == "http" else self.app)(scope, receive, send)

    async def page(self, request: Request) -> Response:
        """GET ?q=…&offset=0&limit=120&until=n: pictures, newest first, and how many there are. `until`: the answer's
        own of the first question, so that the places stay while pictures come. Without it the folders are looked
        through first."""
        return await _answered(partial(self._page, viewer_of(request), dict(request.query_params)))

    def _page(self, viewer: Viewer, values: dict[str, str]) -> dict[str, Any]:
        search = search_of(values)
        offset, limit = number_of(values, "offset", 0), limit_of(values, PAGE)
        until = number_of(values, "until", 0)
        complete = self.library.look() if not until else True
        until = until or self.library.newest()
        shown = self.library.page(viewer, search, offset=offset, limit=limit, until=until)
        return {
            "total": self.library.count(viewer, search, until),
            "until": until,
            "offset": offset,
            "complete": complete,
            "on_disk": self.library.on_disk,
            "owner": viewer == OWNER,
            "pictures": [_tile(one) for one in shown],
        }

    async def choices(self, request: Request) -> Response:
        """GET: the models, LoRAs, sizes and boards to choose from."""
        viewer = viewer_of(request)
        return await _answered(lambda: asdict(self.library.choices(viewer)))

    async def one(self, request: Request) -> Response:
        """GET: a picture with all that its file says."""
        viewer, picture_id = viewer_of(request), request.path_params["picture_id"]
        return await _answered(lambda: self._one(viewer, self.library.one(viewer, picture_id)))

    def _one(self, viewer: Viewer, shown: Shown | None) -> dict[str, Any] | None:
        if shown is None:
            return None
        facts = reading.facts_of(shown.row.path)
        row = shown.row
        return _tile(shown) | {
            "prompt": visible(facts.prompt, "\n"),
            "negative_prompt": visible(facts.negative_prompt, "\n"),
            "program": visible(facts.program),
            "settings": settings_of(facts),
            "file": visible(f"{row.folder}/{row.name}" if row.folder else row.name),
            "boards": self.library.boards_of(viewer, row.id),
        }

    async def settings(self, request: Request) -> Response:
        """GET: the `name` of the picture's file, and what can be taken over from it: `says`, as of
        `picture_settings.sheet_of`."""
        shown = await self._shown(request)
        if shown is None:
            return _nothing_here()
        models = (await self.engine.ask(ModelList())).models

        def read() -> dict[str, Any]:
            return {"name": visible(shown.row.name), "says": sheet_of(texts_of(shown.row.path), models)}

        return await _answered(read)

    async def picture(self, request: Request) -> Response:
        """GET: the picture; ?download=1 as a file to be saved, ?lossless=1 with every pixel as it is. One of the
        studio's also in another format or without its metadata, as `studio.picture.saved_copies` says."""
        shown = await self._shown(request)
        if shown is None:
            return _nothing_here()
        query = dict(request.query_params)
        lossless, download = query.get("lossless") == "1", query.get("download") == "1"
        if "format" not in query:
            query.pop("lossless", None)
        try:
            content, media_type = await run_in_threadpool(self.library.content, shown, lossless=lossless)
            if isinstance(content, Path):
                return await picture_file(content, query, _STORED, download=download)
        except InvalidRequest as error:
            return refusal(422, str(error))
        except OSError:
            return _nothing_here()
        name = f"{shown.row.id[:8]}.{media_type.rpartition('/')[2]}"
        headers = _STORED | ({"content-disposition": f'attachment; filename="{name}"'} if download else {})
        return Response(content, media_type=media_type, headers=headers)

    async def thumbnail(self, request: Request) -> Response:
        """GET: a JPEG of at most 256 pixels a side."""
        shown = await self._shown(request)
        jpeg = await run_in_threadpool(self.library.thumbnail, shown) if shown is not None else None
        return Response(jpeg, media_type="image/jpeg", headers=_STORED) if jpeg is not None else _nothing_here()

    async def rate(self, request: Request) -> Response:
        """POST {"pictures": [ids], "rating": 0 to 5}; answers how many."""
        return await self._each(request, lambda viewer, one, order: self.library.rate(viewer, one, order.get("rating")))

    async def board(self, request: Request) -> Response:
        """POST {"pictures": [ids], "board": name, "on": true}; answers how many."""

        def put(viewer: Viewer, one: str, order: dict[str, Any]) -> bool:
            return self.library.put_on_board(viewer, one, order.get("board"), order.get("on") is not False)

        return await self._each(request, put)

    async def change_board(self, request: Request) -> Response:
        """POST {"board": name, "to": new name, or null to remove it}; answers its pictures."""
        order, viewer = json_object(await request.body()), viewer_of(request)

        def change() -> dict[str, Any] | None:
            pictures = self.library.change_board(viewer, order.get("board"), order.get("to"))
            return {"pictures": pictures} if pictures is not None else None

        return await _answered(change)

    async def delete(self, request: Request) -> Response:
        """POST {"pictures": [ids]}: into the trash; answers how many, and after how many days they are gone."""
        return await self._each(request, lambda viewer, one, order: self.library.delete(viewer, one))

    async def restore(self, request: Request) -> Response:
        """POST {"pictures": [ids]}: back from the trash."""
        return await self._each(request, lambda viewer, one, order: self.library.restore(viewer, one))

    async def zip(self, request: Request) -> Response:
        """POST {"pictures": [ids]}, as JSON or as the field `pictures` of a form: their files."""
        form = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
        if form:
            async with request.form(max_fields=2) as fields:
                names = str(fields.get("pictures", "")).split(",")
        else:
            names = _names(json_object(await request.body()))
        viewer = viewer_of(request)
        files = await run_in_threadpool(self._files, viewer, names[:MAX_TOGETHER])
        if not files:
            return _nothing_here()
        headers = {"content-disposition": 'attachment; filename="pictures.zip"'} | _NOT_STORED
        return StreamingResponse(zip_stream(files), media_type="application/zip", headers=headers)

    def _files(self, viewer: Viewer, names: Sequence[str]) -> list[tuple[str, Path]]:
        shown = [one for name in dict.fromkeys(names) if (one := self.library.one(viewer, name)) is not None]
        files: dict[str, Path] = {}
        for one in shown:
            name = f"{one.row.folder}/{one.row.name}" if one.row.folder else one.row.name
            files[name if name not in files else f"{one.row.id[:8]}/{name}"] = one.row.path
        return list(files.items())

    async def _shown(self, request: Request) -> Shown | None:
        return await run_in_threadpool(self.library.one, viewer_of(request), request.path_params["picture_id"])

    async def _each(self, request: Request, act: Callable[[Viewer, str, dict[str, Any]], bool]) -> Response:
        order, viewer = json_object(await request.body()), viewer_of(request)
        names = _names(order)
        if len(names) > MAX_TOGETHER:
            return refusal(400, Message("At most {most} pictures at a time.", most=MAX_TOGETHER))
        if not names:
            return _nothing_here()

        def acts() -> dict[str, Any] | None:
            done = [name for name in dict.fromkeys(names) if act(viewer, name, order)]
            return {"done": done, "days": DAYS} if done else None

        try:
            return await _answered(acts)
        except OSError as error:
            return refusal(
                507, Message("The outputs folder cannot be changed ({reason}).", reason=error.strerror or "")
            )


async def _answered(make: Callable[[], Any]) -> Response:
    try:
        view = await run_in_threadpool(make)
    except InvalidRequest as error:
        return refusal(400, str(error))
    return JSONResponse(spoken(view), headers=_NOT_STORED) if view is not None else _nothing_here()


def _names(order: dict[str, Any]) -> list[str]:
    names = order.get("pictures")
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _tile(shown: Shown) -> dict[str, Any]:
    row = shown.row
    return {
        "id": row.id,
        "width": row.width,
        "height": row.height,
        "saved": row.saved,
        "prompt": visible(row.prompt[:300]),
        "rating": shown.rating,
        "foreign": shown.foreign,
    }


def _nothing_here() -> Response:
    return refusal(404, Message("There is nothing here."))
