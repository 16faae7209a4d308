"""The owner's addresses for sharing: what is shared, who is here, and the buttons of the panel. Guests get a 403."""

from __future__ import annotations

import io
from typing import Any

import segno
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from studio.answered.engine import Engine, UnknownJob, WorkNow
from studio.asked.orders import Work
from studio.picture.gallery import Gallery
from studio.ui.text import say, spoken
from studio.web.access import EVERYBODY, LONGEST_SHARE, Access
from studio.web.answers import is_owner, json_object, refusal
from studio.web.board_jobs import guest_name, job_rows, stop_job
from studio.web.board_routes import BoardRoutes
from studio.web.limits import MEGAPIXEL, VISITOR, LimitedEngine
from studio.web.login import set_session
from studio.web.owner import HEADER
from studio.web.sharing import Sharing, stop_jobs

SHORTEST_SHARE = 60.0
ACTIONS = ("begin", "renew", "end", "freeze", "thaw", "stop", "stop_job", "show_out", "change_end")


class ShareRoutes:
    """ASGI middleware: answers the addresses below /share and passes everything else on."""

    def __init__(
        self, app: ASGIApp, *, sharing: Sharing, access: Access, engine: Engine, limits: LimitedEngine, gallery: Gallery
    ) -> None:
        self.app = app
        self.sharing = sharing
        self.access = access
        self.engine = engine
        self.limits = limits
        self.router = Router(
            [
                Route("/share", self.share, methods=["GET", "POST"]),
                Route("/share/qr.svg", self.qr_code),
                *BoardRoutes(limits.board, engine, gallery).routes,
            ],
            redirect_slashes=False,
            default=app,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self.router if scope["type"] == "http" else self.app)(scope, receive, send)

    async def share(self, request: Request) -> Response:
        """GET: the panel's view. POST {"action": ..., "seconds": ..., "guest": ..., "job": ...}: the same view
        afterwards. "stop" and "show_out" name a guest by what the view calls them; of who came without a link both stop
        the jobs alone. "stop_job" stops one job, whoever's it is; 404 for what neither waits nor runs. "begin" gives
        this browser the owner's session in the same answer, since everybody without one is a stranger from then on."""
        if not is_owner(request):
            return refusal(403, say("models.guest"))
        begins = False
        if request.method == "POST":
            order = json_object(await request.body())
            action, seconds = order.get("action"), order.get("seconds", LONGEST_SHARE)
            if action not in ACTIONS:
                return refusal(400, f"action: allowed is one of {', '.join(ACTIONS)}.")
            if not isinstance(seconds, (int, float)) or not SHORTEST_SHARE <= seconds <= LONGEST_SHARE:
                allowed = f"from {SHORTEST_SHARE:.0f} to {LONGEST_SHARE:.0f}"
                return refusal(400, f"seconds: {order.get('seconds')!r} is not allowed. Allowed: {allowed}.")
            begins = action == "begin"
            try:
                await self._act(action, float(seconds), str(order.get("guest", "")), order.get("job"))
            except UnknownJob:
                return refusal(404, say("share.no_job"))
        view = await self._view(request.headers[HEADER])
        response = JSONResponse(spoken(view), headers={"cache-control": "no-store"})
        if begins:
            token, session = self.access.owner_session(request.headers[HEADER])
            set_session(response, request, self.access, token, session)
        return response

    async def _act(self, action: str, seconds: float, guest: str, job: object) -> None:
        match action:
            case "begin":
                self.limits.board.begin_share()
                self.sharing.begin(seconds)
            case "end":
                self.sharing.end()
                self.limits.board.end_share()
            case "change_end" if self.access.share_ends is not None:
                self.sharing.change_end(seconds)
            case "renew" if self.access.share_ends is not None:
                self.sharing.renew()
            case "freeze" | "thaw":
                self.limits.board.decide({"frozen": action == "freeze"})
            case "stop_job":
                await stop_job(self.engine, job)
            case "stop" | "show_out":
                work: WorkNow = await self.engine.ask(Work())
                people = [person for person in self._guests(work) if guest_name(person) == guest]
                for person in people if action == "show_out" else ():
                    self.access.show_out(person)
                await stop_jobs(self.engine, people)

    def _guests(self, work: WorkNow) -> dict[str, bool]:
        """Who is here, each with whether they have a session that can be ended. Who comes without a link is known by
        what they have here, or had within the hour."""
        free = (*(job.owner for job in work.jobs), *work.device_seconds)
        everybody = {person: False for person in free if self.access.limited_group(person) == EVERYBODY}
        return {**dict.fromkeys(self.access.guests(), True), **everybody}

    async def _view(self, viewer: str) -> dict[str, Any]:
        now = self.sharing.now
        work: WorkNow = await self.engine.ask(Work())
        return {
            "state": now.state,
            "reason": now.reason,
            "link": now.guest_link,
            "ends": now.ends,
            "frozen": self.limits.board.now.frozen,
            "waiting": len(work.jobs),
            "jobs": job_rows(work, viewer, self.access.programs.all(), self.engine.catalog()),
            "everybody": self.access.admits_everybody,
            "guests": [
                {
                    "name": guest_name(person),
                    "can_be_shown_out": has_session,
                    "jobs": sum(job.owner == person for job in work.jobs),
                    "seconds": round(work.device_seconds.get(person, 0.0), 1),
                }
                for person, has_session in self._guests(work).items()
            ],
            "allowed": {
                "jobs": VISITOR.jobs,
                "images": VISITOR.images,
                "steps": VISITOR.steps,
                "megapixels": (VISITOR.pixels or 0) // MEGAPIXEL,
                "minutes": round((VISITOR.device_seconds or 0.0) / 60),
            },
        }

    async def qr_code(self, request: Request) -> Response:
        """GET: the guests' link as a picture for a phone's camera."""
        link = self.sharing.now.guest_link
        if not is_owner(request) or not link:
            return refusal(404, "There is nothing here.")
        picture = io.BytesIO()
        segno.make(link, error="m", micro=False).save(picture, kind="svg", scale=4, border=4, light="white")
        return Response(picture.getvalue(), media_type="image/svg+xml", headers={"cache-control": "no-store"})
