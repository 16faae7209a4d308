"""What a request passes before the page: who may enter, whose request it is, and the studio's own addresses. Starlette
only."""

from __future__ import annotations

from collections.abc import Collection

from starlette.middleware import Middleware

from studio.answered.engine import Engine
from studio.picture.gallery import Gallery
from studio.ui.functions import Functions
from studio.web.access import Access
from studio.web.arrivals import Arrivals, Keeper
from studio.web.calls import Calls
from studio.web.faults import Faults
from studio.web.front import Front
from studio.web.guard import Guard
from studio.web.login import Login
from studio.web.owner import Owner
from studio.web.presence import Presence
from studio.web.routes import ReplayPage, Routes


def middleware(
    engine: Engine,
    gallery: Gallery,
    *,
    hosts: Collection[str],
    access: Access | None = None,
    replay_page: ReplayPage | None = None,
    uploads: Keeper | None = None,
    functions: Functions | None = None,
) -> list[Middleware]:
    """The middleware around the page's application, outermost first.

    `hosts`: names this server answers to besides the loopback ones, without port; the same object is read at each
    request, so that a tunnel's name can be added later. `access`: who may enter; None opens the studio to everybody who
    can reach it. `replay_page` makes the exported page of a recording. `uploads` learns who sent an uploaded file, and
    when they leave. `functions`: what can be called on the page.
    """
    return [
        Middleware(Guard, hosts=hosts),
        Middleware(Faults),
        Middleware(Login, access=access or Access()),
        Middleware(Owner),
        Middleware(Presence, engine=engine, keeper=uploads),
        *([Middleware(Arrivals, keeper=uploads)] if uploads is not None else []),
        Middleware(Front),
        Middleware(Routes, engine=engine, gallery=gallery, replay_page=replay_page),
        *([Middleware(Calls, functions=functions)] if functions is not None else []),
        Middleware(Faults, foreign=True),
    ]
