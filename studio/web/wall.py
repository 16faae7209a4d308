"""The wall of a share: guests' new pictures for all guests and the owner, while the owner wants it.

A guest's pictures are on it from the moment at which their page has said so to them. Comparisons are not: their cells
are parts of one sheet.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from studio.picture.file_formats import media_type
from studio.picture.gallery import Gallery, PictureFile
from studio.ui.text import say
from studio.web.answers import is_owner, json_object, refusal
from studio.web.board import Board
from studio.web.login import GUEST_HEADER
from studio.web.owner import HEADER

SHOWN = 200  # of the newest
_CACHED_PROMPTS = 1000


@dataclass(frozen=True)
class OnWall:
    """A picture on the wall, and who has made it: a guest by their number."""

    number: int
    person: str
    file: PictureFile


class Wall:
    """The wall's pictures and its addresses. Used by the server's event loop and its threads."""

    def __init__(self, board: Board, gallery: Gallery) -> None:
        self._board = board
        self._gallery = gallery
        self._prompts: OrderedDict[str, str] = OrderedDict()  # by picture

    @property
    def routes(self) -> list[Route]:
        """Path and handler of each address."""
        return [
            Route("/wall", self.listing),
            Route("/wall/picture/{picture_id}", self.picture),
            Route("/wall/thumbnail/{picture_id}", self.thumbnail),
            Route("/share/wall", self.take_down, methods=["POST"]),
            Route("/invitation", self.invitation),
        ]

    def pictures(self) -> list[OnWall]:
        """What is on the wall, newest first."""
        share = self._board.share
        if not self._board.now.wall:
            return []
        there = [
            OnWall(number, person, file)
            for number, person in enumerate(share.people, start=1)
            if person in share.told
            for file in self._gallery.files(person, share.told[person])
            if not file.part_of and file.id not in share.hidden
        ]
        return sorted(there, key=lambda one: one.file.saved, reverse=True)[:SHOWN]

    async def invitation(self, request: Request) -> Response:
        """GET: what a guest is to know before they make a picture. Their page shows it; from then on their pictures are
        on the wall, where there is one."""
        guest = GUEST_HEADER in request.headers
        if guest:
            self._board.tell(request.headers[HEADER])
        return _json({"wall": guest and self._board.now.wall})

    async def listing(self, request: Request) -> Response:
        """GET: the pictures on the wall, each with its guest's number and prompt."""
        there = await run_in_threadpool(self._entries, request.headers[HEADER])
        return _json({"on": self._board.now.wall, "owner": is_owner(request), "pictures": there})

    async def picture(self, request: Request) -> Response:
        """GET: a picture on the wall, as it was saved."""
        one = await run_in_threadpool(self._one, request.path_params["picture_id"])
        if one is None:
            return refusal(404, "There is nothing here.")
        return FileResponse(one.file.path, media_type=media_type(one.file.path), headers={"cache-control": "no-store"})

    async def thumbnail(self, request: Request) -> Response:
        """GET: a JPEG of at most 256 pixels a side of a picture on the wall."""
        one = await run_in_threadpool(self._one, request.path_params["picture_id"])
        jpeg = await run_in_threadpool(self._gallery.thumbnail, one.file.id, one.person) if one is not None else None
        if jpeg is None:
            return refusal(404, "There is nothing here.")
        return Response(jpeg, media_type="image/jpeg", headers={"cache-control": "private, max-age=60"})

    async def take_down(self, request: Request) -> Response:
        """POST {"picture": id}: the owner takes a picture from the wall; answers as `listing`."""
        if not is_owner(request):
            return refusal(403, say("models.guest"))
        self._board.hide(str(json_object(await request.body()).get("picture")))
        return await self.listing(request)

    def _one(self, picture_id: str) -> OnWall | None:
        return next((one for one in self.pictures() if one.file.id == picture_id), None)

    def _entries(self, visitor: str) -> list[dict[str, object]]:
        return [
            {"id": one.file.id, "guest": one.number, "prompt": self._prompt(one), "mine": one.person == visitor}
            for one in self.pictures()
        ]

    def _prompt(self, one: OnWall) -> str:
        if one.file.id not in self._prompts:
            picture = self._gallery.picture(one.file.id, one.person)
            self._prompts[one.file.id] = str(picture.info.get("prompt", "")) if picture is not None else ""
            while len(self._prompts) > _CACHED_PROMPTS:
                self._prompts.popitem(last=False)
        return self._prompts[one.file.id]


def _json(view: dict[str, object]) -> Response:
    return JSONResponse(view, headers={"cache-control": "no-store"})
