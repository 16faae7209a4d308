"""AUTOMATIC1111's addresses, /sdapi/v1/...: one method each, over the engine that the page uses.

Everything is its visitor's alone: options, progress, interrupt, pictures. Who may enter is decided before
(`studio.web.login`); there is no CORS, so no other web page reads an answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from studio.answered.engine import Engine, Refused, UnknownJob
from studio.answered.errors import ApiError, error_of, error_of_job, error_of_status
from studio.answered.events import Failed, Finished, Picture, Stopped
from studio.answered.models import Model
from studio.asked.orders import ModelList
from studio.asked.problems import InvalidRequest, Problem, quoted_value
from studio.asked.upscale import Upscale
from studio.picture.gallery import Gallery
from studio.picture.metadata import texts_of
from studio.picture.styles import Styles
from studio.web import base64_pictures, guard, picture_bodies
from studio.web.a1111 import answers, extras, files, listings, options, reading
from studio.web.a1111.running import Run, Runs
from studio.web.api.errors import ErrorForm
from studio.web.departure import unless_left, wait_for_departure
from studio.web.interfaces import Interface
from studio.web.login import BASIC_CHALLENGE
from studio.web.owner import HEADER
from studio.web.style_routes import visitor_of
from studio.web.upload_room import NoRoom, UploadRoom

PREFIX = "/sdapi/"
_STATUS = {"bad_request": 422, "disk": 507}  # of a job that failed


def interface(engine: Engine, gallery: Gallery, room: UploadRoom | None = None) -> Interface:
    """The API as a layer of the server; off unless it is asked for. `room`: how much may be uploaded."""
    error_form = Middleware(
        ErrorForm,
        covers=lambda path: path.startswith(PREFIX),
        write=answers.error_json,
        has_form=answers.is_error,
        challenge=BASIC_CHALLENGE["www-authenticate"],
    )
    layer = Middleware(A1111, engine=engine, gallery=gallery, room=room)
    return Interface(PREFIX, layer, basic=True, error_form=error_form)


class A1111:
    """ASGI middleware: answers below /sdapi/ and passes everything else on. `room`: how much may be uploaded."""

    def __init__(self, app: ASGIApp, *, engine: Engine, gallery: Gallery, room: UploadRoom | None = None) -> None:
        self.app = app
        self.engine = engine
        self.gallery = gallery
        self.room = room
        self.runs = Runs(engine)
        self.book = options.OptionsBook()
        self.styles = Styles(gallery.outputs_dir)
        forms_of_models: dict[str, Callable[[Sequence[Model]], Any]] = {
            "sd-models": listings.checkpoints,
            "sd-vae": listings.vaes,
            "loras": listings.loras,
            "embeddings": listings.embeddings,
            "upscalers": listings.upscalers,
            "realesrgan-models": listings.realesrgan_models,
        }
        constants: dict[str, object] = {
            "samplers": listings.samplers(),
            "schedulers": listings.schedulers(),
            "latent-upscale-modes": listings.latent_upscalers(),
            "scripts": {"txt2img": [], "img2img": []},
            "script-info": [],
            "cmd-flags": {"api": True},  # nothing else of how this studio was started is anybody's business
            "hypernetworks": [],
            "face-restorers": [],
        }
        self.router = Router(
            [
                _route("txt2img", partial(self.make, from_picture=False), "POST"),
                _route("img2img", partial(self.make, from_picture=True), "POST"),
                _route("progress", self.progress),
                _route("interrupt", self.interrupt, "POST"),
                _route("png-info", self.png_info, "POST"),
                _route("extra-single-image", self.enlarge, "POST"),
                _route("extra-batch-images", self.enlarge_all, "POST"),
                _route("options", self.options, "GET", "POST"),
                _route("prompt-styles", self.prompt_styles),
                *(_route(name, partial(self.models, form=form)) for name, form in forms_of_models.items()),
                *(_route(name, partial(self.constant, value=value)) for name, value in constants.items()),
            ],
            redirect_slashes=False,
            default=_nothing_here,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        ours = scope["type"] == "http" and scope["path"].startswith(PREFIX)
        await (self.router if ours else self.app)(scope, receive, send)

    async def make(self, request: Request, *, from_picture: bool) -> Response:
        """POST /sdapi/v1/txt2img, img2img: make pictures, and answer when they are there."""
        owner = request.headers[HEADER]
        kind = "img2img" if from_picture else "txt2img"
        async with picture_bodies.room_for(request, self.room):
            order = await self._order(request, from_picture)
            if order.options is not None:
                self.book.choose(owner, order.options)
            outcome = await self.runs.make(
                order.request, owner=owner, kind=kind, caller_left=partial(wait_for_departure, request)
            )
        if outcome is None:
            return Response(status_code=499)  # nobody is there to read it
        event, run = outcome
        if isinstance(event, Failed):
            return _json(answers.error(error_of_job(event)), _STATUS.get(event.kind, 500))
        return _json(await run_in_threadpool(self._answer, order, run, event, owner))

    async def _order(self, request: Request, from_picture: bool) -> reading.Order:
        """The run that a body asks for; the body itself is let go of."""
        owner = request.headers[HEADER]
        body = await picture_bodies.read(request)
        models = (await self.engine.ask(ModelList(), owner=owner)).models
        options_of_caller, saving = self.book.of(owner), self.gallery.saving.now()
        names = reading.style_names(body)
        styles = await run_in_threadpool(self.styles.named, visitor_of(request), names) if names else []
        read = partial(reading.read, body, options_of_caller, models, from_picture=from_picture, saving=saving)
        read = partial(read, styles=styles)
        return await run_in_threadpool(read)

    def _answer(self, order: reading.Order, run: Run, event: Finished | Stopped, owner: str) -> dict[str, Any]:
        contents: list[bytes] = []
        notices = list(order.notices)
        wanted = order.files.order(self.gallery.saving.now())
        for picture in event.pictures if order.send_images else ():
            content, more = files.content(self._path(picture, owner), wanted)
            contents.append(content)
            notices += [one for one in more if one not in notices]
        return answers.of_run(replace(order, notices=tuple(notices)), run, event, contents)

    def _path(self, picture: Picture, owner: str) -> Path:
        path = self.gallery.path(picture.id, owner)
        if path is None:
            raise UnknownJob("The picture's file is gone.")
        return path

    async def progress(self, request: Request) -> Response:
        """GET /sdapi/v1/progress?skip_current_image=false: of the oldest run that this visitor's calls wait for."""
        runs = self.runs.of(request.headers[HEADER])
        skips_picture = request.query_params.get("skip_current_image", "").lower() in ("true", "1")
        return _json(answers.progress(runs[0] if runs else None, len(runs), with_picture=not skips_picture))

    async def interrupt(self, request: Request) -> Response:
        """POST /sdapi/v1/interrupt: stop this visitor's runs; their calls answer with what there is."""
        await self.runs.interrupt(request.headers[HEADER])
        return _json({})

    async def png_info(self, request: Request) -> Response:
        """POST /sdapi/v1/png-info {"image": base64}: what a picture's file says of how it was made."""
        async with picture_bodies.room_for(request, self.room):
            body = await picture_bodies.read(request)
            if not isinstance(body, dict):
                raise InvalidRequest(Problem("body", quoted_value(body), "a JSON object with an image"))
            data = await run_in_threadpool(base64_pictures.read, "image", body.get("image"))
            return _json(answers.png_info(await run_in_threadpool(texts_of, data)))

    async def enlarge(self, request: Request) -> Response:
        """POST /sdapi/v1/extra-single-image: a picture, enlarged. It is the caller's alone and not saved here."""
        async with picture_bodies.room_for(request, self.room):
            order = await run_in_threadpool(extras.read, await picture_bodies.read(request))
            enlarged = await unless_left(request, self._enlarged([order], request.headers[HEADER]))
        if enlarged is None:
            return Response(status_code=499)  # nobody is there to read it
        return _json(await run_in_threadpool(extras.answer, *enlarged))

    async def enlarge_all(self, request: Request) -> Response:
        """POST /sdapi/v1/extra-batch-images: several pictures, enlarged alike, one after the other."""
        async with picture_bodies.room_for(request, self.room):
            wanted = await run_in_threadpool(extras.read_all, await picture_bodies.read(request))
            enlarged = await unless_left(request, self._enlarged(wanted, request.headers[HEADER]))
        if enlarged is None:
            return Response(status_code=499)
        return _json(await run_in_threadpool(extras.answer_all, enlarged))

    async def _enlarged(self, wanted: Sequence[Upscale], owner: str) -> list[bytes]:
        """Raises InvalidRequest by the names of the body's fields."""
        try:
            return [(await self.engine.ask(order, owner=owner)).content for order in wanted]
        except InvalidRequest as error:
            raise extras.refusal(error) from None

    async def options(self, request: Request) -> Response:
        """GET /sdapi/v1/options; POST {name: value}: this visitor's own."""
        owner = request.headers[HEADER]
        models = (await self.engine.ask(ModelList(), owner=owner)).models
        saving = self.gallery.saving.now()
        if request.method == "GET":
            return _json(options.answer(self.book.of(owner), models, saving))
        async with picture_bodies.room_for(request, self.room):
            body = await picture_bodies.read(request)
        if not isinstance(body, dict):
            raise InvalidRequest(Problem("body", quoted_value(body), "an object: name of an option => its value"))
        choice, notices = options.read(body, self.book.of(owner), models, saving=saving)
        self.book.choose(owner, choice)
        return _json(answers.set_options(notices))

    async def prompt_styles(self, request: Request) -> Response:
        """GET /sdapi/v1/prompt-styles: this visitor's own."""
        return _json(listings.styles(await run_in_threadpool(self.styles.of, visitor_of(request))))

    async def models(self, request: Request, *, form: Callable[[Sequence[Model]], Any]) -> Response:
        """GET /sdapi/v1/sd-models, sd-vae, loras, embeddings, upscalers, realesrgan-models."""
        return _json(form((await self.engine.ask(ModelList(), owner=request.headers[HEADER])).models))

    async def constant(self, request: Request, *, value: object) -> Response:
        """GET /sdapi/v1/samplers and the like: the same for everybody."""
        return _json(value)


def _route(name: str, endpoint: Callable[..., Awaitable[Response]], *methods: str) -> Route:
    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except (InvalidRequest, Refused, UnknownJob) as error:
            refusal = error_of(error) or ApiError("bad_request", str(error))
        except NoRoom as error:
            refusal = ApiError("no_room", str(error))
        except guard.Refusal as error:
            refusal = error_of_status(error.status, error.sentence)
        return _refusal(refusal)

    return Route(f"{PREFIX}v1/{name}", answer, methods=list(methods or ("GET",)))


async def _nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    sentence = "There is no such address of AUTOMATIC1111's API here: see docs/other-programs.md."
    await _refusal(ApiError("not_found", sentence))(scope, receive, send)


def _refusal(error: ApiError) -> Response:
    headers = {"retry-after": str(error.retry_after)} if error.retry_after is not None else {}
    return _json(answers.error(error), error.status, headers)


def _json(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(value, status, {"cache-control": "no-store", **(headers or {})})
