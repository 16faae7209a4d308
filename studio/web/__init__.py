"""What a request passes before the page: who may enter, whose request it is, and the studio's own addresses. Starlette
only."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from starlette.middleware import Middleware

from studio.answered.engine import Engine
from studio.picture.gallery import Gallery
from studio.picture.library.library import Library
from studio.picture.preset_files import PresetFiles
from studio.picture.styles import Styles
from studio.ui.functions import Functions
from studio.web.access import Access
from studio.web.api.errors import ROOT, ErrorForm
from studio.web.api.routes import Api
from studio.web.arrivals import Arrivals, Keeper
from studio.web.calls import Calls
from studio.web.copies import Copies
from studio.web.faults import Faults
from studio.web.front import Front
from studio.web.guard import Guard
from studio.web.interfaces import Interface
from studio.web.language import Language
from studio.web.library_routes import LibraryRoutes
from studio.web.limits import LimitedEngine, NewVisitors
from studio.web.login import Login
from studio.web.manifest import Manifest
from studio.web.owner import Owner
from studio.web.presence import Presence
from studio.web.preset_routes import PresetRoutes
from studio.web.program_routes import ProgramRoutes
from studio.web.rates import Rates
from studio.web.routes import ReplayPage, Routes
from studio.web.saving_routes import SavingRoutes
from studio.web.share_routes import ShareRoutes
from studio.web.sharing import Sharing
from studio.web.style_routes import StyleRoutes
from studio.web.upload_room import UploadRoom
from studio.web.upscale_routes import UpscaleRoutes


@dataclass(frozen=True)
class Share:
    """What the owner's panel needs: the share itself, and what freezes guests."""

    sharing: Sharing
    limits: LimitedEngine


def middleware(
    engine: Engine,
    gallery: Gallery,
    *,
    hosts: Collection[str],
    access: Access | None = None,
    new_visitors: NewVisitors | None = None,
    replay_page: ReplayPage | None = None,
    uploads: Keeper | None = None,
    room: UploadRoom | None = None,
    functions: Functions | None = None,
    share: Share | None = None,
    library: Library | None = None,
    interfaces: Sequence[Interface] = (),
    proxies: Collection[str] = (),
    framed_by: Sequence[str] = (),
) -> list[Middleware]:
    """The middleware around the page's application, outermost first.

    `hosts`: names this server answers to besides the loopback ones, without port; the same object is read at each
    request, so that a tunnel's name can be added later. `access`: who may enter; None opens the studio to everybody who
    can reach it. `new_visitors` learns who keeps no cookie. `replay_page` makes the exported page of a recording.
    `uploads` learns who sent an uploaded file, and when they leave, and says to whom a file goes; `room` says how much
    may lie here. `functions`: what can be called on the page. `share`: what the owner's panel begins and ends; None
    where there is no panel. `library`: all pictures of this machine. `interfaces`: those for programs of others that
    are switched on. `proxies`: addresses and networks of proxies in front. `framed_by`: origins that may show the page
    in a frame.
    """
    new_visitors = new_visitors if new_visitors is not None else NewVisitors()
    access = access or Access()
    library = library or Library(gallery)
    pictures_in_json = [f"{ROOT}/", *(one.prefix for one in interfaces)]
    return [
        Middleware(ErrorForm),
        *(one.error_form for one in interfaces if one.error_form is not None),
        Middleware(Language),
        Middleware(Guard, hosts=hosts, with_pictures=pictures_in_json, framed_by=framed_by),
        Middleware(Faults),
        Middleware(Manifest),
        Middleware(Login, access=access, basic=[one.prefix for one in interfaces if one.basic], proxies=proxies),
        Middleware(
            Owner,
            new_visitors=new_visitors,
            together=[one.prefix for one in interfaces if one.basic],
            cookie=access.cookie,
        ),
        Middleware(Presence, engine=engine, keeper=uploads),
        *(
            [
                Middleware(Arrivals, keeper=uploads, room=room),
                Middleware(Copies, register=uploads, new_visitors=new_visitors),
            ]
            if uploads is not None
            else []
        ),
        *(
            [
                Middleware(
                    ShareRoutes,
                    sharing=share.sharing,
                    access=access,
                    engine=engine,
                    limits=share.limits,
                    gallery=gallery,
                )
            ]
            if share is not None
            else []
        ),
        Middleware(ProgramRoutes, programs=access.programs, engine=engine),
        Middleware(Rates),
        *(one.layer for one in interfaces),
        Middleware(Api, engine=engine, gallery=gallery, library=library, room=room),
        Middleware(LibraryRoutes, library=library, engine=engine),
        Middleware(SavingRoutes, gallery=gallery),
        Middleware(StyleRoutes, styles=Styles(gallery.outputs_dir)),
        Middleware(PresetRoutes, files=PresetFiles(gallery.outputs_dir), engine=engine),
        Middleware(UpscaleRoutes, engine=engine, gallery=gallery, library=library, room=room),
        Middleware(Front),
        Middleware(Routes, engine=engine, gallery=gallery, replay_page=replay_page, room=room),
        *([Middleware(Calls, functions=functions)] if functions is not None else []),
        Middleware(Faults, foreign=True),
    ]
