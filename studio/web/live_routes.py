"""The addresses of live mode, which do not wait for the page's queue: stop, again, keep."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from studio.answered.engine import Engine, Refused, UnknownJob
from studio.asked.messages import Message
from studio.asked.problems import InvalidRequest
from studio.picture.gallery import Gallery, SaveFailed
from studio.ui import live, watching
from studio.ui.text import spoken
from studio.web.owner import HEADER


class LiveRoutes:
    """Answers for the page's generate/static/live.js and stage/unsaved.js."""

    def __init__(self, engine: Engine, gallery: Gallery) -> None:
        self._engine = engine
        self._gallery = gallery

    def routes(self) -> list[Route]:
        """The addresses with what answers them."""
        return [
            Route("/stop/{job_id}", self.stop, methods=["POST"]),
            Route("/again/{job_id}", self.again, methods=["POST"]),
            Route("/keep/{picture_id}", self.keep, methods=["POST"]),
        ]

    async def stop(self, request: Request) -> Response:
        """POST /stop/{job}: ask a job to stop, as the page's Stop does, for a slider that has just been moved."""
        try:
            await self._engine.cancel(request.path_params["job_id"], owner=request.headers[HEADER])
        except UnknownJob:
            return _nothing_here()
        return Response(status_code=204)

    async def again(self, request: Request) -> Response:
        """POST /again/{job}?field=number...: the same run with other numbers replaces this one; answers with the view
        of its first frame, or 204 when there is none at once."""
        changes, owner = dict(request.query_params), request.headers[HEADER]
        try:
            job_id = await live.again(self._engine, request.path_params["job_id"], changes, owner=owner)
        except UnknownJob:
            return _nothing_here()
        except InvalidRequest as error:
            return PlainTextResponse(spoken(str(error)), status_code=400)
        except Refused as error:
            return PlainTextResponse(spoken(str(error)), status_code=409)
        view = await watching.first_frame(self._engine, self._gallery, owner, job_id)
        if view is None:
            return Response(status_code=204)
        return JSONResponse(spoken(view), headers={"cache-control": "no-store"})

    async def keep(self, request: Request) -> Response:
        """POST /keep/{picture}: save a picture of live mode; one that is saved stays as it is."""
        picture_id, owner = request.path_params["picture_id"], request.headers[HEADER]
        try:
            picture = await run_in_threadpool(self._gallery.keep_live, picture_id, owner)
        except SaveFailed as error:
            return PlainTextResponse(spoken(str(error)), status_code=507)
        return Response(status_code=204) if picture is not None else _nothing_here()


def _nothing_here() -> Response:
    return PlainTextResponse(
        spoken(Message("There is nothing here.")), status_code=404, headers={"cache-control": "no-store"}
    )
