"""The studio for programs: answers the addresses of the table of operations."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from studio.answered.engine import Engine, UnknownJob
from studio.answered.errors import ApiError
from studio.answered.events import ENDS, JobSummary
from studio.asked.compare import Comparison
from studio.asked.fields import ImageToImage
from studio.asked.orders import Cells, ModelList, RecordPart, RunAgain, Submission, SubmitComparison, SubmitRun
from studio.asked.problems import InvalidRequest, Problem, one_of, quoted_value
from studio.asked.prompt_notices import control_characters
from studio.asked.questions import QUESTION_KINDS, parse
from studio.asked.requests import REQUEST_KINDS, Kind
from studio.picture.gallery import Gallery
from studio.picture.library.library import Library
from studio.ui.models import labels
from studio.web.api import forms, once
from studio.web.api.answering import NOT_STORED, json_answer, with_typed_errors
from studio.web.api.bodies import BadBody, Bodies
from studio.web.api.enlarging import EnlargingApi
from studio.web.api.errors import ROOT, is_ours, response
from studio.web.api.library import LibraryApi
from studio.web.api.openapi import document
from studio.web.api.operations import OPERATIONS
from studio.web.api.saving import SavingApi
from studio.web.api.streams import END, Streams, so_far
from studio.web.api.uploads import PictureUploads
from studio.web.owner import HEADER
from studio.web.picture_files import picture_file
from studio.web.upload_room import UploadRoom

_WHOLE_NUMBER = re.compile(r"[0-9]{1,6}")


class Api:
    """ASGI middleware: answers what is below `/api/v1/` and passes everything else on."""

    def __init__(
        self, app: ASGIApp, *, engine: Engine, gallery: Gallery, library: Library, room: UploadRoom | None = None
    ) -> None:
        """`room`: where uploads are counted."""
        self.app = app
        self.engine = engine
        self.gallery = gallery
        self.bodies = Bodies(gallery, PictureUploads(room))
        self.streams = Streams(engine)
        self.once = once.Once()
        # A request of any kind is taken by one method.
        handlers = {kind: self.make for kind in REQUEST_KINDS}
        of_library = LibraryApi(library, self.bodies)
        handlers |= {name: getattr(of_library, name) for name in dir(of_library) if name.startswith("library")}
        of_saving = SavingApi(gallery, self.bodies)
        handlers |= {"upscale": EnlargingApi(engine, gallery, self.bodies).upscale}
        handlers |= {"saving": of_saving.saving, "saving_change": of_saving.saving_change}
        self.router = Router(
            [
                Route(ROOT + one.path, handlers.get(one.name) or getattr(self, one.name), methods=[one.method])
                for one in OPERATIONS
            ],
            redirect_slashes=False,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        ours = scope["type"] == "http" and is_ours(scope["path"])
        await (self.router if ours else self.app)(scope, receive, send)

    # ------------------------------------------------------------------------------------------------- jobs

    @with_typed_errors
    async def make(self, request: Request) -> Response:
        """Take a run. The name of its kind is the last part of the address."""
        kind = REQUEST_KINDS[request.url.path.rpartition("/")[2]]
        owner = request.headers[HEADER]
        async with self.bodies.json(request) as body:
            values = await self.bodies.with_pictures(body, kind.files(), owner)
            order = _run(kind, values)
            return await self._take(request, order, body)

    @with_typed_errors
    async def compare(self, request: Request) -> Response:
        """Take a comparison."""
        async with self.bodies.json(request) as body:
            values = await self.bodies.with_pictures(body, ImageToImage.files(), request.headers[HEADER])
            order = SubmitComparison(comparison=Comparison.parse(values))
            return await self._take(request, order, body)

    async def _take(self, request: Request, order: Submission, body: Mapping[str, Any]) -> Response:
        owner = request.headers[HEADER]
        key, content = request.headers.get(once.HEADER), b""
        if key is not None:
            content = msgspec.json.encode([request.url.path, body], order="sorted")
        job = await self.once.run(
            owner, key, hashlib.sha256(content).hexdigest(), lambda: self.engine.submit(order, owner=owner)
        )
        return _acceptance(job, control_characters(body.get("prompt"), body.get("negative_prompt")))

    @with_typed_errors
    async def upload(self, request: Request) -> Response:
        """Keep a picture."""
        content_type = request.headers.get("content-type", "")
        if not content_type.startswith("image/"):
            raise BadBody("The body must be a picture, with a header such as Content-Type: image/png.", 415)
        return json_answer(forms.UploadKept(id=await self.bodies.upload(request)), status=201)

    @with_typed_errors
    async def jobs(self, request: Request) -> Response:
        """This visitor's jobs."""
        summaries = await self.engine.jobs(owner=request.headers[HEADER])
        return json_answer(forms.JobList(jobs=tuple(forms.job_form(one) for one in summaries)))

    @with_typed_errors
    async def job(self, request: Request) -> Response:
        """One job."""
        job_id, owner = request.path_params["job"], request.headers[HEADER]
        events = await so_far(self.engine, job_id, owner=owner)
        summary = await self._summary(job_id, owner)
        if summary.state not in ("queued", "running") and not any(isinstance(event, ENDS) for event in events):
            events = await so_far(self.engine, job_id, owner=owner)  # it has ended meanwhile
        cells = None
        if summary.comparison is not None:
            cells = await self.engine.ask(Cells(job_id=job_id), owner=owner)
        return json_answer(forms.job_form(summary, events, cells))

    async def _summary(self, job_id: str, owner: str) -> JobSummary:
        for one in await self.engine.jobs(owner=owner):
            if one.job_id == job_id:
                return one
        raise UnknownJob("This job does not exist any more.")

    @with_typed_errors
    async def events(self, request: Request) -> Response:
        """The events of a job."""
        job_id, owner = request.path_params["job"], request.headers[HEADER]
        numbers = _numbers(request, "previews")
        if request.headers.get("last-event-id") == END:
            await self._summary(job_id, owner)
            return Response(status_code=204)  # which ends a browser's EventSource
        return await self.streams.open(job_id, owner=owner, previews=bool(numbers.get("previews")))

    @with_typed_errors
    async def cancel(self, request: Request) -> Response:
        """Stop a job."""
        job_id = request.path_params["job"]
        stopped = await self.engine.cancel(job_id, owner=request.headers[HEADER])
        return json_answer(forms.JobStopped(job=job_id, stopped=stopped))

    @with_typed_errors
    async def again(self, request: Request) -> Response:
        """Run an interrupted job again."""
        order = RunAgain(job_id=request.path_params["job"])
        return _acceptance(await self.engine.submit(order, owner=request.headers[HEADER]))

    # ------------------------------------------------------------------------------------- what was made, and of what

    @with_typed_errors
    async def record(self, request: Request) -> Response:
        """What was recorded of a run."""
        numbers: dict[str, Any] = _numbers(request, "image", "since", "until", "lean")
        part = RecordPart(**numbers | {"lean": bool(numbers.get("lean"))})
        job_id, owner = request.path_params["job"], request.headers[HEADER]
        data = await self.engine.record(job_id, part, owner=owner)
        return Response(data, media_type="application/octet-stream", headers=NOT_STORED)

    @with_typed_errors
    async def picture(self, request: Request) -> Response:
        """The file as it was saved, or a copy as the query asks for it."""
        find, owner = self.gallery.path, request.headers[HEADER]
        path = await run_in_threadpool(find, request.path_params["picture"], owner)
        if path is None:
            raise UnknownJob("There is no such picture.")
        headers = {"cache-control": "private, max-age=31536000, immutable"}
        return await picture_file(path, request.query_params, headers)

    @with_typed_errors
    async def question(self, request: Request) -> Response:
        """A question of the noise viewer."""
        name, owner = request.path_params["question"], request.headers[HEADER]
        if name not in QUESTION_KINDS:
            there = ", ".join(QUESTION_KINDS)
            return response(ApiError("not_found", f"There is no question {quoted_value(name)}. There are: {there}."))
        async with self.bodies.json(request) as body:
            image = b""
            if body.get("image") is not None and QUESTION_KINDS[name].needs_image:
                image = await self.bodies.picture("image", body.pop("image"), owner)
            question = parse(name, _texts(body), image)
        answer = await self.engine.ask(question, owner=owner)
        return Response(answer.content, media_type=answer.media_type, headers=NOT_STORED)

    @with_typed_errors
    async def models(self, request: Request) -> Response:
        """The models that are here."""
        listing = await self.engine.ask(ModelList())
        checkpoints = {one.name: one for one in self.engine.catalog()}
        models = tuple(
            forms.model_form(
                one,
                labels.family(one.facts.family),
                checkpoints.get(one.name) if one.kind == "checkpoint" else None,
            )
            for one in listing.models
        )
        return json_answer(forms.ModelsForm(models=models))

    @with_typed_errors
    async def openapi(self, request: Request) -> Response:
        """This description."""
        return Response(await run_in_threadpool(document), media_type="application/json", headers=NOT_STORED)


def _acceptance(job: str, notes: Sequence[str] = ()) -> Response:
    url = f"{ROOT}/jobs/{job}"
    form = forms.JobAccepted(job=job, url=url, events=f"{url}/events", notes=tuple(notes))
    return json_answer(form, status=202, headers={"location": url})


def _run(kind: Kind, values: dict[str, Any]) -> SubmitRun:
    """A run from values with their pictures' bytes. Raises InvalidRequest."""
    attention = values.pop("attention", False)
    problems: list[Problem] = []
    if type(attention) is not bool:
        problems.append(Problem("attention", quoted_value(attention), "true or false"))
    try:
        request = kind.parse(values)
    except InvalidRequest as error:
        problems += error.problems
    if problems:
        raise InvalidRequest(*problems)
    return SubmitRun(request=request, attention=attention)


def _numbers(request: Request, *names: str) -> dict[str, int]:
    """The numbers in an address. Raises InvalidRequest for another name, or another value."""
    problems, numbers = [], {}
    for name, text in request.query_params.items():
        if name not in names:
            problems.append(Problem(name, quoted_value(text), f"the parameters {', '.join(names)}"))
        elif name in ("lean", "previews") and text not in ("0", "1"):
            problems.append(Problem(name, quoted_value(text), one_of({"0": "no", "1": "yes"})))
        elif not _WHOLE_NUMBER.fullmatch(text):
            problems.append(Problem(name, quoted_value(text), "whole numbers from 0 to 999999"))
        else:
            numbers[name] = int(text)
    if problems:
        raise InvalidRequest(*problems)
    return numbers


def _texts(body: Mapping[str, object]) -> dict[str, str]:
    """The values of a question as it is asked in an address. Raises InvalidRequest for what is no text and no
    number."""
    texts = {}
    for name, value in body.items():
        if isinstance(value, bool) or not isinstance(value, (str, int, float, type(None))):
            raise InvalidRequest(Problem(name, quoted_value(value), "text or a number"))
        if value is not None:
            texts[name] = value if isinstance(value, str) else str(value)
    return texts
