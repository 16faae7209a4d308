"""The protocol at /mcp (streamable HTTP, without sessions: each request stands for itself), and who may use it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mcp import types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from studio import __version__
from studio.answered.engine import Engine, Refused, UnknownJob
from studio.answered.errors import ApiError, error_of, in_text
from studio.asked.problems import InvalidRequest
from studio.picture.gallery import Gallery
from studio.ui.text import say
from studio.web import base64_pictures, picture_bodies
from studio.web.guard import MAX_PICTURES_BYTES
from studio.web.interfaces import Interface
from studio.web.login import GUEST_HEADER, PROGRAM_HEADER
from studio.web.mcp import schemas
from studio.web.mcp.tools import JobFailed, Report, Shown, Tools
from studio.web.owner import HEADER
from studio.web.upload_room import NoRoom, UploadRoom

PATH = "/mcp"
_LEAST_PROGRESS = 1e-6  # it must rise with each message, also while a job only waits
_INSTRUCTIONS = (
    "Makes pictures with Stable Diffusion, compares settings, and explains a run: the numbers of every step, and where "
    "the network looked for each word."
)

Call = Callable[[Mapping[str, object], str, Report], Awaitable[Shown]]


@dataclass(frozen=True)
class _Tool:
    """One tool: what is said of it, what it takes, and what answers."""

    description: str
    schema: Callable[[], schemas.Schema]
    call: Call


def interface(engine: Engine, gallery: Gallery, room: UploadRoom | None = None) -> Interface:
    """The protocol as a layer of the server; off unless it is asked for. `room`: how much may be uploaded."""
    return Interface(PATH, Middleware(ToolServer, engine=engine, gallery=gallery, room=room))


class ToolServer:
    """ASGI middleware: answers /mcp and passes everything else on."""

    def __init__(self, app: ASGIApp, *, engine: Engine, gallery: Gallery, room: UploadRoom | None = None) -> None:
        self.app = app
        self.room = room
        tools = Tools(engine, gallery)
        self.tools: Mapping[str, _Tool] = {
            "text_to_image": _Tool(
                "Make pictures from words. Answers with the pictures, their ids and all settings.",
                schemas.text_to_image,
                tools.text_to_image,
            ),
            "image_to_image": _Tool(
                "Make pictures from a picture and words; strength says how much of the picture is made anew.",
                schemas.image_to_image,
                tools.image_to_image,
            ),
            "compare": _Tool(
                "Make a grid of pictures from words in which one or two settings change, as one labelled picture.",
                schemas.compare,
                tools.compare,
            ),
            "explain_run": _Tool(
                "Make a picture's run again and explain it: the numbers of every step, how the picture came out of the "
                "noise, and where the network looked for each word.",
                schemas.explain_run,
                tools.explain_run,
            ),
        }
        server: Server[Any] = Server(
            "latent-studio",
            version=__version__,
            title="Latent Studio",
            instructions=_INSTRUCTIONS,
            on_list_tools=self._list,
            on_call_tool=self._call,
        )
        self.manager = StreamableHTTPSessionManager(server, stateless=True, max_request_body_size=MAX_PICTURES_BYTES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            async with self.manager.run():
                await self.app(scope, receive, send)
            return
        if scope["type"] != "http" or scope["path"].rstrip("/") != PATH:
            await self.app(scope, receive, send)
            return
        refusal = _refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        try:
            async with picture_bodies.room_for(Request(scope), self.room):
                await self.manager.handle_request(scope, receive, send)
        except NoRoom as error:
            await _sentence(str(error), 507)(scope, receive, send)

    async def _list(
        self, context: ServerRequestContext[Any], params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        tools = [
            types.Tool(name=name, description=tool.description, input_schema=tool.schema())
            for name, tool in self.tools.items()
        ]
        return types.ListToolsResult(tools=tools)

    async def _call(
        self, context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        tool = self.tools.get(params.name)
        request = context.request
        if tool is None or not isinstance(request, Request):
            return _failure(ApiError("not_found", f"There is no such tool. There are: {', '.join(self.tools)}."))

        last = -1.0

        async def report(done: float, whole: float, what: str) -> None:
            nonlocal last
            last = max(done, last + _LEAST_PROGRESS)
            await context.session.report_progress(last, whole, what)

        try:
            answer = await tool.call(params.arguments or {}, request.headers[HEADER], report)
        except (InvalidRequest, Refused, UnknownJob) as error:
            return _failure(error_of(error) or ApiError("bad_request", str(error)))
        except JobFailed as error:
            return _failure(ApiError("job_failed", str(error)))
        pictures = [
            types.ImageContent(data=base64_pictures.encode(data), mime_type=media_type)
            for data, media_type in answer.pictures
        ]
        text = types.TextContent(text=answer.text)
        return types.CallToolResult(content=[*pictures, text], structured_content=answer.values)


def _failure(error: ApiError) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=in_text(error))], is_error=True)


def _refusal(scope: Scope) -> Response | None:
    """Why this request is not answered; None where it is. An agent acts on what it reads, so that it never has the
    owner's rights."""
    headers = Headers(scope=scope)
    if PROGRAM_HEADER not in headers:
        return _sentence(say("mcp.token"), 401, {"www-authenticate": "Bearer"})
    if GUEST_HEADER not in headers:
        return _sentence(say("mcp.guest"), 403)
    if scope["method"] != "POST":  # there is no stream of its own, and no session to end
        return _sentence("This address takes POST.", 405, {"allow": "POST"})
    return None


def _sentence(sentence: str, status: int, headers: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(sentence, status, {"cache-control": "no-store", **(headers or {})})
