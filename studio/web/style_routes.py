"""The page's addresses for styles: the visitor's own, in AUTOMATIC1111's form."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from studio.asked.messages import Message
from studio.asked.problems import InvalidRequest
from studio.picture.styles import Style, Styles, csv_of
from studio.web.answers import is_owner, json_object, refusal
from studio.web.owner import HEADER

MAX_BODY = 2**18


class StyleRoutes:
    """ASGI middleware: answers /styles and passes everything else on."""

    def __init__(self, app: ASGIApp, *, styles: Styles) -> None:
        self.app = app
        self.styles = styles
        self.router = Router(
            [
                Route("/styles", self.answer, methods=["GET", "POST"]),
                Route("/styles.csv", self.file),
            ],
            redirect_slashes=False,
            default=app,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self.router if scope["type"] == "http" else self.app)(scope, receive, send)

    async def answer(self, request: Request) -> Response:
        """GET: the visitor's styles. POST {"name", "prompt", "negative_prompt"}: saves one, {"delete": name}: deletes
        one; answers the same afterwards."""
        visitor = visitor_of(request)
        if request.method == "GET":
            return _view(await run_in_threadpool(self.styles.of, visitor))
        body = await request.body()
        if len(body) > MAX_BODY:
            return refusal(413, Message("A style is too long."))
        order = json_object(body)
        try:
            if "delete" in order:
                return _view(await run_in_threadpool(self.styles.delete, visitor, order["delete"]))
            texts = (order.get("name"), order.get("prompt", ""), order.get("negative_prompt", ""))
            return _view(await run_in_threadpool(self.styles.save, visitor, *texts))
        except InvalidRequest as error:
            return refusal(400, str(error))
        except OSError as error:
            return refusal(507, Message("The styles cannot be written down: {cause}.", cause=error.strerror or ""))

    async def file(self, request: Request) -> Response:
        """GET: the visitor's `styles.csv`."""
        text = csv_of(await run_in_threadpool(self.styles.of, visitor_of(request)))
        headers = {"content-disposition": 'attachment; filename="styles.csv"', "cache-control": "no-store"}
        return Response(text.encode("utf-8-sig"), media_type="text/csv", headers=headers)


def visitor_of(request: Request) -> str | None:
    """Whose styles a request asks for; None: the owner's."""
    return None if is_owner(request) else request.headers[HEADER]


def _view(styles: Sequence[Style]) -> Response:
    rows = [{"name": one.name, "prompt": one.prompt, "negative_prompt": one.negative_prompt} for one in styles]
    return JSONResponse({"styles": rows}, headers={"cache-control": "no-store"})
