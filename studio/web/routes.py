"""The studio's own addresses: pictures, thumbnails and records for their owner, and the page's static files.

Serves what the gallery and the engine hold; knows nothing of how a picture is made. A request for somebody else's
picture gets the same 404 as one for a picture that does not exist.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, cast

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from studio.answered.engine import ComparisonNow, Engine, Refused, UnknownJob
from studio.answered.events import CellEvent, Failed, Finished
from studio.asked.axes import AXIS_FIELDS
from studio.asked.branch import Branch
from studio.asked.control import PREPROCESSORS, PreprocessorName
from studio.asked.messages import Message
from studio.asked.orders import BranchTree, Cells, ModelList, ModelPicture, RecordPart, SubmitBranch
from studio.asked.problems import MAX_IMAGE_BYTES, InvalidRequest, Problem, one_of, quoted_value
from studio.asked.questions import parse
from studio.export.files import File, export, name_of
from studio.export.page_answers import PageAnswer
from studio.export.replay import Replay
from studio.picture import sheet
from studio.picture.control_maps import preview
from studio.picture.gallery import Gallery, SaveFailed
from studio.ui import assets
from studio.ui.models import model_list
from studio.ui.text import in_english, spoken
from studio.web.live_routes import LiveRoutes
from studio.web.login import GUEST_HEADER
from studio.web.owner import HEADER
from studio.web.picture_files import picture_file
from studio.web.picture_settings import PictureSettings
from studio.web.prompt_names import PromptNames
from studio.web.replay_answers import replay_answers
from studio.web.upload_room import UploadRoom

STATIC_DIR = Path(__file__).resolve().parent.parent / "ui" / "static"

# Our own table: Python's reads the registry on Windows, where .js may be text/plain, which browsers then refuse to run.
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".safetensors": "application/octet-stream",
}
# A recording, its header and the studio's answers about it => a page that replays it
ReplayPage = Callable[[bytes, Mapping[str, object], list[PageAnswer]], bytes]

_STATIC_NAME = re.compile(r"(?:[A-Za-z0-9_-]+/)*[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+")
_WHOLE_NUMBER = re.compile(r"[0-9]{1,6}")


class Routes:
    """ASGI middleware: answers our own addresses and passes everything else to the page."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        engine: Engine,
        gallery: Gallery,
        static_dir: Path = STATIC_DIR,
        replay_page: ReplayPage | None = None,
        room: UploadRoom | None = None,
    ) -> None:
        self.app = app
        self.engine = engine
        self.gallery = gallery
        self.static_dir = static_dir
        self.replay_page = replay_page
        self.router = Router(
            [
                Route("/picture/{picture_id}", self.picture),
                Route("/thumbnail/{picture_id}", self.thumbnail),
                Route("/record/{job_id}", self.record),
                Route("/export/{job_id}", self.export),
                *LiveRoutes(engine, gallery).routes(),
                Route("/branch/{job_id}", self.branch, methods=["POST"]),
                Route("/branches/{job_id}", self.branches),
                Route("/sheet/{job_id}.png", self.compare_sheet),
                Route("/sheet/{job_id}.csv", self.compare_timings),
                Route("/ask/control-map", self.control_map, methods=["POST"]),
                Route("/ask/prompt-names", PromptNames(engine).answer),
                Route("/ask/picture-settings", PictureSettings(engine, room).answer, methods=["POST"]),
                Route("/ask/{name}", self.ask, methods=["GET", "POST"]),
                Route("/models-found", self.list_of_models),
                Route("/model-picture/{model_id}", self.model_picture),
                Route("/studio-static/{name:path}", self.static),
            ],
            redirect_slashes=False,
            default=app,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self.router if scope["type"] == "http" else self.app)(scope, receive, send)

    async def picture(self, request: Request) -> Response:
        """GET /picture/{id}: the file as it was saved; ?download=1 as an attachment, ?format=webp&quality=80&metadata=0
        a copy in another format and without its metadata (`studio.picture.saved_copies`)."""
        picture_id, owner = request.path_params["picture_id"], request.headers[HEADER]
        attachment = request.query_params.get("download", "0") not in ("", "0")
        if attachment:  # whoever takes a live picture away wants to have it; what cannot be saved is sent all the same
            with suppress(SaveFailed):
                await run_in_threadpool(self.gallery.keep_live, picture_id, owner)
        path = await run_in_threadpool(self.gallery.path, picture_id, owner)
        if path is None:
            return _nothing_here()
        headers = {"cache-control": "private, max-age=31536000, immutable"}
        try:
            return await picture_file(path, request.query_params, headers, download=attachment)
        except InvalidRequest as error:
            return PlainTextResponse(spoken(str(error)), status_code=400)

    async def thumbnail(self, request: Request) -> Response:
        """GET /thumbnail/{id}: a JPEG of at most 256 pixels a side."""
        make = partial(self.gallery.thumbnail, request.path_params["picture_id"], request.headers[HEADER])
        jpeg = await run_in_threadpool(make)
        if jpeg is None:
            return _nothing_here()
        headers = {"cache-control": "private, max-age=31536000, immutable"}
        return Response(jpeg, media_type="image/jpeg", headers=headers)

    async def record(self, request: Request) -> Response:
        """GET /record/{job}?image=0&since=n&until=m&lean=1: the recorded evaluations from n on (before m), a
        safetensors file, of a large run in eight bits a number where `lean` allows it. 204 before the first one."""
        numbers: dict[str, Any] = {"image": 0, "since": 0, "lean": 0}
        for name in ("image", "since", "until", "lean"):
            text = request.query_params.get(name)
            if text is not None and not _WHOLE_NUMBER.fullmatch(text):
                return PlainTextResponse(f"{name}: allowed are whole numbers from 0 to 999999.", status_code=400)
            if text is not None:
                numbers[name] = int(text)
        numbers["lean"] = bool(numbers["lean"])
        owner, job_id = request.headers[HEADER], request.path_params["job_id"]
        try:
            data = await self.engine.record(job_id, RecordPart(**numbers), owner=owner)
        except UnknownJob:
            jobs = await self.engine.jobs(owner=owner)
            if any(job.job_id == job_id and job.state in ("queued", "running") for job in jobs):
                return Response(status_code=204, headers={"cache-control": "no-store"})
            return _nothing_here()
        return Response(data, media_type="application/octet-stream", headers={"cache-control": "no-store"})

    async def export(self, request: Request) -> Response:
        """GET /export/{job}?kind=mp4&image=0...: a recording as a file to be saved (docs/viewer.md)."""
        parameters = dict(request.query_params)
        image, kind = parameters.pop("image", "0"), parameters.pop("kind", "")
        job_id, owner = request.path_params["job_id"], request.headers[HEADER]
        try:
            if not _WHOLE_NUMBER.fullmatch(image):
                raise InvalidRequest(
                    Problem(
                        "image", quoted_value(image), Message("whole numbers from {low} to {high}", low=0, high=999999)
                    )
                )
            recording = await self.engine.record(job_id, RecordPart(image=int(image)), owner=owner)
            answers = await replay_answers(self.engine, recording, owner) if kind == "html" else []
            file = await run_in_threadpool(self._export_file, recording, kind, parameters, answers)
        except UnknownJob:
            return _nothing_here()
        except InvalidRequest as error:
            return PlainTextResponse(spoken(str(error)), status_code=400)
        headers = {"content-disposition": f'attachment; filename="{file.name}"', "cache-control": "no-store"}
        return Response(file.content, media_type=file.media_type, headers=headers)

    def _export_file(self, recording: bytes, kind: str, parameters: dict[str, str], answers: list[PageAnswer]) -> File:
        if kind != "html" or self.replay_page is None:
            return export(recording, kind, parameters)
        run = Replay(recording).run
        return File(name_of(run, "html"), "text/html; charset=utf-8", self.replay_page(recording, run, answers))

    async def branch(self, request: Request) -> Response:
        """POST /branch/{job}?image=0&evaluation=k&field=value...: branch from there; answers {"job_id"}. A body holds
        what is painted on x_t (docs/viewer.md)."""
        parameters = dict(request.query_params)
        image = parameters.pop("image", "0")
        try:
            if not _WHOLE_NUMBER.fullmatch(image):
                raise InvalidRequest(
                    Problem(
                        "image", quoted_value(image), Message("whole numbers from {low} to {high}", low=0, high=999999)
                    )
                )
            branch = Branch.parse(parameters, await request.body())
            order = SubmitBranch(job_id=request.path_params["job_id"], branch=branch, image=int(image))
            job_id = await self.engine.submit(order, owner=request.headers[HEADER], origin="noise_viewer")
        except UnknownJob:
            return _nothing_here()
        except InvalidRequest as error:
            return PlainTextResponse(spoken(str(error)), status_code=400)
        except Refused as error:
            return PlainTextResponse(spoken(str(error)), status_code=409)
        return JSONResponse({"job_id": job_id}, headers={"cache-control": "no-store"})

    async def branches(self, request: Request) -> Response:
        """GET /branches/{job}: the tree of branches that it belongs to, a list of studio.asked.branch.BranchNode."""
        tree = BranchTree(job_id=request.path_params["job_id"])
        try:
            nodes = await self.engine.ask(tree, owner=request.headers[HEADER])
        except UnknownJob:
            return _nothing_here()
        return JSONResponse([asdict(node) for node in nodes], headers={"cache-control": "no-store"})

    async def ask(self, request: Request) -> Response:
        """GET or POST /ask/{question}?field=value...: an answer for the noise viewer (docs/viewer.md).

        A picture comes as the body of a POST, or as `picture`, the id of a finished one of this owner.
        """
        owner = request.headers[HEADER]
        parameters = dict(request.query_params)
        picture_id = parameters.pop("picture", None)
        image = b""
        if picture_id is not None:
            path = await run_in_threadpool(self.gallery.path, picture_id, owner)
            if path is None:
                return _nothing_here()
            image = await run_in_threadpool(path.read_bytes)
        elif request.method == "POST":
            async for part in request.stream():
                image += part
                if len(image) > MAX_IMAGE_BYTES:
                    break  # `parse` says what is allowed
        try:
            answer = await self.engine.ask(parse(request.path_params["name"], parameters, image), owner=owner)
        except UnknownJob:
            return _nothing_here()
        except InvalidRequest as error:
            return PlainTextResponse(spoken(str(error)), status_code=400)
        except Refused as error:
            later = {} if error.retry_after is None else {"retry-after": str(error.retry_after)}
            return PlainTextResponse(spoken(str(error)), status_code=409, headers=later)
        return Response(answer.content, media_type=answer.media_type, headers={"cache-control": "no-store"})

    async def control_map(self, request: Request) -> Response:
        """POST /ask/control-map?preprocessor=canny: what a ControlNet would be given of the picture in the body, a PNG
        of at most 512 pixels a side."""
        preprocessor = request.query_params.get("preprocessor", "none")
        image = b""
        async for part in request.stream():
            image += part
            if len(image) > MAX_IMAGE_BYTES:
                break  # `read_picture` says what is allowed
        try:
            if preprocessor not in PREPROCESSORS:
                raise InvalidRequest(Problem("preprocessor", quoted_value(preprocessor), one_of(PREPROCESSORS)))
            data = await run_in_threadpool(preview, image, cast(PreprocessorName, preprocessor))
        except InvalidRequest as error:
            return PlainTextResponse(spoken(str(error)), status_code=400)
        return Response(data, media_type="image/png", headers={"cache-control": "no-store"})

    async def compare_sheet(self, request: Request) -> Response:
        """GET /sheet/{job}.png: a comparison's cells so far as one labelled picture, with all settings in it."""
        owner, job_id = request.headers[HEADER], request.path_params["job_id"]

        def content(now: ComparisonNow) -> bytes:
            comparison, cells = now.comparison, now.cells
            labels: dict[str, str] = {field: in_english(f"compare.axis.{field}") for field in AXIS_FIELDS}
            return sheet.png(comparison, {k: self._cell(cells.get(k), owner) for k in range(len(comparison))}, labels)

        return await self._download(job_id, owner, content, "png", "image/png")

    async def compare_timings(self, request: Request) -> Response:
        """GET /sheet/{job}.csv: one line a cell, with its settings and seconds."""
        owner, job_id = request.headers[HEADER], request.path_params["job_id"]

        def content(now: ComparisonNow) -> bytes:
            return sheet.timings(now.comparison, now.cells).encode()

        return await self._download(job_id, owner, content, "csv", "text/csv; charset=utf-8")

    def _cell(self, event: CellEvent | None, owner: str) -> sheet.CellResult:
        if event is None or not isinstance(event.event, (Finished, Failed)):
            return sheet.CellResult()
        if isinstance(event.event, Failed):
            return sheet.CellResult(message=event.event.message)
        picture = event.event.pictures[0]
        return sheet.CellResult(picture=picture, file=self.gallery.path(picture.id, owner))

    async def _download(
        self, job_id: str, owner: str, make: Callable[[ComparisonNow], bytes], ending: str, media_type: str
    ) -> Response:
        try:
            data = await run_in_threadpool(make, await self.engine.ask(Cells(job_id=job_id), owner=owner))
        except UnknownJob:
            return _nothing_here()
        name = f"compare-{job_id[-8:]}.{ending}"
        headers = {"cache-control": "no-store", "content-disposition": f'attachment; filename="{name}"'}
        return Response(data, media_type=media_type, headers=headers)

    async def list_of_models(self, request: Request) -> Response:
        """GET /models-found: what the tab Models shows, with an etag; ?refresh=1 looks through the folders now."""
        manages = request.headers.get(GUEST_HEADER) is None
        refresh = request.query_params.get("refresh") == "1" and manages
        listing = await self.engine.ask(ModelList(refresh=refresh))
        view = await run_in_threadpool(model_list.view_of, listing, self.engine.status(), manages)
        headers = {"etag": f'"{view["stamp"]}"', "cache-control": "no-cache"}
        if headers["etag"] in request.headers.get("if-none-match", "") and not refresh:
            return Response(status_code=304, headers=headers)
        return JSONResponse(spoken(view), headers=headers)

    async def model_picture(self, request: Request) -> Response:
        """GET /model-picture/{id}: the preview that came with a model, a JPEG of at most 512 pixels a side."""
        jpeg = await self.engine.ask(ModelPicture(model_id=request.path_params["model_id"]))
        if jpeg is None:
            return _nothing_here()
        return Response(jpeg, media_type="image/jpeg", headers={"cache-control": "private, max-age=300"})

    async def static(self, request: Request) -> Response:
        """GET /studio-static/{file}: the page's script and style sheet, which a browser keeps for good (their names
        change with their content); any other file of studio/ui/static, revalidated by its etag."""
        name = request.path_params["name"]
        asset = assets.by_name(name)
        if asset:
            content, encoding = await run_in_threadpool(asset.encode, request.headers.get("accept-encoding", ""))
            headers = {"cache-control": "public, max-age=31536000, immutable", "vary": "accept-encoding"}
            headers |= {"content-encoding": encoding} if encoding else {}
            headers |= {"x-content-type-options": "nosniff"}
            return Response(content, media_type=asset.media_type, headers=headers)
        media_type = TYPES.get(Path(name).suffix)
        if media_type is None or not _STATIC_NAME.fullmatch(name):
            return _nothing_here()
        file = await run_in_threadpool(_read, self.static_dir, name)
        if file is None:
            return _nothing_here()
        etag = f'"{hashlib.sha256(file).hexdigest()[:32]}"'
        headers = {"etag": etag, "cache-control": "no-cache", "x-content-type-options": "nosniff"}
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(file, media_type=media_type, headers=headers)


def _read(folder: Path, name: str) -> bytes | None:
    """A file below the folder; None if there is none, or if the path goes through a link."""
    file = folder.resolve() / name
    try:
        return file.read_bytes() if file.resolve() == file else None
    except OSError:
        return None


def _nothing_here() -> Response:
    return PlainTextResponse(
        spoken(Message("There is nothing here.")), status_code=404, headers={"cache-control": "no-store"}
    )
