"""The page's addresses for presets: the visitor's own, as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from studio.answered.engine import Engine
from studio.asked.messages import Message, sentences
from studio.asked.presets import (
    ModelPreset,
    Preset,
    Presets,
    fields_of,
    fields_of_model,
    fields_of_page,
    from_json,
    link_of,
    name_of,
    rows_of_presets,
    tab_of,
    to_json,
)
from studio.asked.problems import InvalidRequest, Problem, quoted_value
from studio.asked.requests import REQUEST_KINDS
from studio.asked.resolved import Suits
from studio.picture.preset_files import NAME, PresetFiles
from studio.ui.text import spoken
from studio.web.answers import json_object, refusal
from studio.web.owner import HEADER
from studio.web.style_routes import visitor_of

MAX_BODY = 2**20
MAX_LINK = 6000  # characters; servers and chat programs cut longer ones


class PresetRoutes:
    """ASGI middleware: answers /presets and passes everything else on."""

    def __init__(self, app: ASGIApp, *, files: PresetFiles, engine: Engine) -> None:
        self.app = app
        self.files = files
        self.engine = engine
        self.router = Router(
            [
                Route("/presets", self.answer, methods=["GET", "POST"]),
                Route("/presets/import", self.take_file, methods=["POST"]),
                Route("/presets/link", self.link, methods=["POST"]),
                Route("/presets/link/{job_id}", self.link_of_run, methods=["GET"]),
                Route(f"/{NAME}", self.file),
            ],
            redirect_slashes=False,
            default=app,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self.router if scope["type"] == "http" else self.app)(scope, receive, send)

    async def answer(self, request: Request) -> Response:
        """GET: the visitor's presets. POST with "tab" and one order: {"save": name, "fields"}, {"rename": name,
        "to": name}, {"delete": name}, {"remember": checkpoint, "fields"} or {"forget": checkpoint}. Fields are those
        of the page, or with "as_stored" those of a preset. Both answer {"presets", "models"} as of the file."""
        visitor = visitor_of(request)
        if request.method == "GET":
            return await self._attempt(partial(self.files.of, visitor))
        body = await request.body()
        if len(body) > MAX_BODY:
            return refusal(413, Message("A preset is too long."))
        order = json_object(body)
        return await self._attempt(lambda: self.files.change(visitor, _change_of(order)))

    async def take_file(self, request: Request) -> Response:
        """POST: the body is a file of presets. Takes all of it or nothing. Answers as `answer`, and in "says" what
        came."""
        visitor, body = visitor_of(request), await request.body()
        if len(body) > MAX_BODY:
            return refusal(413, Message("The file is too large: at most {most} MiB.", most=MAX_BODY // 2**20))
        says: list[Message] = []

        def take(presets: Presets) -> Presets:
            both, said = presets.with_file(from_json(body.decode("utf-8-sig", "replace")))
            says.extend(said)
            return both

        return await self._attempt(lambda: self.files.change(visitor, take), says)

    async def link(self, request: Request) -> Response:
        """POST {"tab", "fields"}: {"query"}, the parameters of a link that reopens them."""
        order = json_object(await request.body())
        try:
            tab = tab_of(order.get("tab"))
            fields = fields_of_page(tab, order.get("fields"))
        except InvalidRequest as error:
            return refusal(400, str(error))
        return self._link(tab, fields)

    async def link_of_run(self, request: Request) -> Response:
        """GET /presets/link/{job}?seed=...: {"query"}, the parameters of a link that reopens the settings of a run of
        this visitor, with the seed of the one picture that is looked at."""
        jobs = await self.engine.jobs(owner=request.headers[HEADER])
        job = next((one for one in jobs if one.job_id == request.path_params["job_id"]), None)
        tab = next(
            (name for name, kind in REQUEST_KINDS.items() if job is not None and type(job.request) is kind), None
        )
        if job is None or tab is None:
            return Response(status_code=404)
        fields = {name: getattr(job.request, name) for name in rows_of_presets(tab)} | {"num_images_per_prompt": 1}
        if "seed" in request.query_params:
            fields["seed"] = request.query_params["seed"]
        try:
            return self._link(tab, fields_of(tab, fields))
        except InvalidRequest as error:
            return refusal(400, str(error))

    def _link(self, tab: str, fields: Mapping[str, object]) -> Response:
        suits = {one.name: one.suits for one in self.engine.catalog()}
        query = urlencode(link_of(tab, fields, suits.get(str(fields.get("checkpoint")), Suits())))
        if len(query) > MAX_LINK:
            return refusal(400, Message("These settings are too long for a link: save them, and give the file away."))
        return JSONResponse({"query": query}, headers={"cache-control": "no-store"})

    async def file(self, request: Request) -> Response:
        """GET: the visitor's `presets.json`."""
        try:
            text = to_json(await run_in_threadpool(self.files.of, visitor_of(request)))
        except InvalidRequest as error:
            return refusal(409, str(error))
        headers = {"content-disposition": f'attachment; filename="{NAME}"', "cache-control": "no-store"}
        return Response(text, media_type="application/json", headers=headers)

    async def _attempt(self, act: Callable[[], Presets], says: Iterable[Message] = ()) -> Response:
        try:
            presets = await run_in_threadpool(act)
        except InvalidRequest as error:
            return refusal(400, str(error))
        except OSError as error:
            cause = error.strerror or ""
            return refusal(507, Message("The presets cannot be read or written down: {cause}.", cause=cause))
        return _view(presets, says)


def _change_of(order: dict[str, Any]) -> Callable[[Presets], Presets]:
    """What an order does. Raises InvalidRequest."""
    tab = tab_of(order.get("tab"))
    read = fields_of if order.get("as_stored") is True else fields_of_page
    if "save" in order:
        name, fields = name_of(order["save"]), read(tab, order.get("fields"))
        return lambda presets: presets.with_preset(Preset(name=name, tab=tab, fields=fields))
    if "rename" in order:
        return lambda presets: presets.renamed(tab, order["rename"], order.get("to"))
    if "delete" in order:
        return lambda presets: presets.without_preset(tab, order["delete"])
    if "remember" in order:
        fields = read(tab, order.get("fields"))
        checkpoint = order["remember"]
        if not isinstance(checkpoint, str) or not checkpoint:
            expectation = Message("the name of an installed checkpoint")
            raise InvalidRequest(Problem("checkpoint", quoted_value(checkpoint), expectation))
        of_model = ModelPreset(checkpoint=checkpoint, tab=tab, fields=fields_of_model(tab, fields))
        return lambda presets: presets.with_model(of_model)
    if "forget" in order:
        return lambda presets: presets.without_model(tab, order["forget"])
    allowed = Message("one of {choices}", choices="save, rename, delete, remember, forget")
    raise InvalidRequest(Problem("order", quoted_value(next(iter(order), None)), allowed))


def _view(presets: Presets, says: Iterable[Message]) -> Response:
    named = [{"name": one.name, "tab": one.tab, "fields": dict(one.fields)} for one in presets.named]
    models = [{"checkpoint": one.checkpoint, "tab": one.tab, "fields": dict(one.fields)} for one in presets.of_models]
    view = {"presets": named, "models": models, "says": sentences(list(says))}
    return JSONResponse(spoken(view), headers={"cache-control": "no-store"})
