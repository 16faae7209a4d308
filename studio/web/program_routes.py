"""The owner's address for the tokens of programs: which there are, a new one, an end. Nobody else's."""

from __future__ import annotations

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from studio.answered.engine import Engine, WorkNow
from studio.asked.messages import Message
from studio.asked.orders import Work
from studio.asked.problems import InvalidRequest, Problem, quoted_value
from studio.ui.text import say
from studio.web.answers import is_owner, json_object, refusal
from studio.web.programs import Program, Programs
from studio.web.sharing import stop_jobs

ACTIONS = ("make", "stop", "revoke")


class ProgramRoutes:
    """ASGI middleware: answers /programs and passes everything else on."""

    def __init__(self, app: ASGIApp, *, programs: Programs, engine: Engine) -> None:
        self.programs = programs
        self.engine = engine
        self.app = app
        self.router = Router(
            [Route("/programs", self.answer, methods=["GET", "POST"])], redirect_slashes=False, default=app
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self.router if scope["type"] == "http" else self.app)(scope, receive, send)

    async def answer(self, request: Request) -> Response:
        """GET: the tokens, without themselves. POST {"action": ..., "name": ..., "rights": ..., "id": ...}: the same
        view afterwards, with `token`, this once, where one was made. A program's own token is not enough: a revoked
        one would live on in those that it has made."""
        if not is_owner(request):
            return refusal(403, say("models.guest"))
        token = ""
        if request.method == "POST":
            order = json_object(await request.body())
            try:
                token = await self._act(order)
            except InvalidRequest as error:
                return refusal(400, str(error))
        everything = await run_in_threadpool(self.programs.all)
        work: WorkNow = await self.engine.ask(Work())
        view = {"programs": [_view(program, work) for program in everything], "token": token}
        return JSONResponse(view, headers={"cache-control": "no-store"})

    async def _act(self, order: dict[str, Any]) -> str:
        """Do it; the new token, where one was made. Raises InvalidRequest."""
        match action := order.get("action"):
            case "make":
                token, _ = await run_in_threadpool(
                    self.programs.make, order.get("name"), order.get("rights", "guest")
                )  # fmt: skip
                return token
            case "stop":
                there = {one.id: one.person for one in await run_in_threadpool(self.programs.all)}
                person = there.get(str(order.get("id", "")))
                await stop_jobs(self.engine, [person] if person is not None else [])
            case "revoke":
                program = await run_in_threadpool(self.programs.revoke, str(order.get("id", "")))
                if program is not None:
                    await stop_jobs(self.engine, [program.person])
            case _:
                raise InvalidRequest(
                    Problem("action", quoted_value(action), Message("one of {names}", names=", ".join(ACTIONS)))
                )
        return ""


def _view(program: Program, work: WorkNow) -> dict[str, Any]:
    return {
        "id": program.id,
        "name": program.name,
        "rights": program.rights,
        "made": program.made,
        "used": program.used,
        "jobs": sum(job.owner == program.person for job in work.jobs),
        "seconds": round(work.device_seconds.get(program.person, 0.0), 1),
    }
