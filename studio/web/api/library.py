"""The library for programs: a token sees its own pictures, and the owner all of this machine's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from studio.answered.engine import UnknownJob
from studio.answered.errors import ApiError
from studio.asked.messages import Message
from studio.asked.problems import InvalidRequest, Problem, quoted_value
from studio.picture.library import reading
from studio.picture.library.library import MAX_TOGETHER, Library, Shown
from studio.picture.library.search import Viewer
from studio.picture.library.trash import DAYS
from studio.web.api import library_forms as forms
from studio.web.api.answering import json_answer, with_typed_errors
from studio.web.api.bodies import Bodies
from studio.web.api.errors import response
from studio.web.library_viewer import cursor_of, cursor_text, number_of, search_of, viewer_of

_STORED = {"cache-control": "private, max-age=3600"}


class LibraryApi:
    """Answers the operations whose names begin with `library`."""

    def __init__(self, library: Library, bodies: Bodies) -> None:
        self._library = library
        self._bodies = bodies

    @with_typed_errors
    async def library(self, request: Request) -> Response:
        """A page of pictures."""
        viewer, values = viewer_of(request), dict(request.query_params)
        return json_answer(await run_in_threadpool(self._page, viewer, values))

    def _page(self, viewer: Viewer, values: Mapping[str, str]) -> forms.LibraryPage:
        unknown = [name for name in values if name not in forms.SEARCH]
        if unknown:
            allowed = f"the parameters {', '.join(forms.SEARCH)}"
            raise InvalidRequest(*(Problem(name, quoted_value(values[name]), allowed) for name in unknown))
        search, after = search_of(values), cursor_of(values)
        limit = number_of(values, "limit", forms.LIMIT, forms.MAX_LIMIT, least=1)
        complete = self._library.look() if after is None else True
        shown = self._library.page(viewer, search, limit=limit + 1, after=after)
        is_last = len(shown) <= limit
        return forms.LibraryPage(
            pictures=tuple(forms.picture_form(one) for one in shown[:limit]),
            next=None if is_last else cursor_text(shown[limit - 1].place),
            total=self._library.count(viewer, search),
            complete=complete,
        )

    @with_typed_errors
    async def library_choices(self, request: Request) -> Response:
        """What a search can be made of."""
        choices = await run_in_threadpool(self._library.choices, viewer_of(request))
        form = forms.LibraryChoices(
            models=tuple(choices.models),
            loras=tuple(choices.loras),
            sizes=tuple(f"{width}x{height}" for width, height in choices.sizes),
            boards=tuple(forms.BoardForm(board=name, pictures=count) for name, count in choices.boards),
        )
        return json_answer(form)

    @with_typed_errors
    async def library_one(self, request: Request) -> Response:
        """A picture with all that its file says."""
        viewer = viewer_of(request)

        def read() -> forms.LibraryOne:
            shown = self._shown(viewer, request)
            boards = self._library.boards_of(viewer, shown.row.id)
            return forms.one_form(shown, reading.facts_of(shown.row.path), boards)

        return json_answer(await run_in_threadpool(read))

    @with_typed_errors
    async def library_file(self, request: Request) -> Response:
        """The picture: the file that the studio has saved, or another program's as JPEG."""
        viewer = viewer_of(request)
        content, media_type = await run_in_threadpool(
            lambda: self._library.content(self._shown(viewer, request)),
        )
        if isinstance(content, Path):
            return FileResponse(content, media_type=media_type, headers=_STORED)
        return Response(content, media_type=media_type, headers=_STORED)

    @with_typed_errors
    async def library_thumbnail(self, request: Request) -> Response:
        """The picture with at most 256 pixels a side."""
        viewer = viewer_of(request)
        jpeg = await run_in_threadpool(lambda: self._library.thumbnail(self._shown(viewer, request)))
        if jpeg is None:
            raise UnknownJob("There is no such picture.")
        return Response(jpeg, media_type="image/jpeg", headers=_STORED)

    def _shown(self, viewer: Viewer, request: Request) -> Shown:
        """The picture of the address. Raises UnknownJob for another visitor's as for none."""
        shown = self._library.one(viewer, request.path_params["picture"])
        if shown is None:
            raise UnknownJob("There is no such picture.")
        return shown

    # ----------------------------------------------------------------------------------------------- what changes it

    @with_typed_errors
    async def library_rate(self, request: Request) -> Response:
        """Give pictures stars."""
        rate = self._library.rate
        return await self._each(request, "library_rate", lambda viewer, one, body: rate(viewer, one, body["rating"]))

    @with_typed_errors
    async def library_board(self, request: Request) -> Response:
        """Put pictures on a board, or take them off."""

        def put(viewer: Viewer, one: str, body: dict[str, Any]) -> bool:
            return self._library.put_on_board(viewer, one, body["board"], body.get("on", True))

        return await self._each(request, "library_board", put)

    @with_typed_errors
    async def library_change_board(self, request: Request) -> Response:
        """Rename or remove a board."""
        async with self._bodies.json(request) as body:
            _check(body, "library_change_board")
            change = self._library.change_board
            pictures = await run_in_threadpool(change, viewer_of(request), body["board"], body.get("to"))
        if pictures is None:
            raise UnknownJob("There is no such board.")
        return json_answer(forms.LibraryChange(done=tuple(pictures)))

    @with_typed_errors
    async def library_delete(self, request: Request) -> Response:
        """Move pictures into the trash."""
        delete = self._library.delete
        return await self._each(request, "library_delete", lambda viewer, one, _: delete(viewer, one), DAYS)

    @with_typed_errors
    async def library_restore(self, request: Request) -> Response:
        """Bring pictures back from the trash."""
        restore = self._library.restore
        return await self._each(request, "library_restore", lambda viewer, one, _: restore(viewer, one))

    async def _each(
        self,
        request: Request,
        operation: str,
        act: Callable[[Viewer, str, dict[str, Any]], bool],
        days: int | None = None,
    ) -> Response:
        """Do it with every picture of the body."""
        viewer = viewer_of(request)
        async with self._bodies.json(request) as body:
            _check(body, operation)

            def acts() -> tuple[str, ...]:
                return tuple(one for one in dict.fromkeys(body["pictures"]) if act(viewer, one, body))

            try:
                done = await run_in_threadpool(acts)
            except OSError as error:
                reason = error.strerror or ""
                return response(
                    ApiError("no_room", Message("The outputs folder cannot be changed ({reason}).", reason=reason))
                )
        if not done:
            raise UnknownJob("There is no such picture.")
        return json_answer(forms.LibraryChange(done=done, days=days))


def _check(body: Mapping[str, object], operation: str) -> None:
    """Refuse a body with other fields than the operation's, or with none of those that must be there; what a name or a
    rating may be is checked where it is used. Raises InvalidRequest."""
    fields, required = forms.BODIES[operation]
    names = ", ".join(fields)
    problems = [Problem(n, quoted_value(v), f"the fields {names}") for n, v in body.items() if n not in fields]
    problems += [
        Problem(name, Message("nothing"), Message("this field is needed")) for name in required if name not in body
    ]
    pictures = body.get("pictures")
    if "pictures" in body and not (
        isinstance(pictures, list) and 0 < len(pictures) <= MAX_TOGETHER and all(isinstance(p, str) for p in pictures)
    ):
        problems.append(Problem("pictures", quoted_value(pictures), f"a list of 1 to {MAX_TOGETHER} ids of pictures"))
    if type(body.get("on", True)) is not bool:
        problems.append(Problem("on", quoted_value(body["on"]), "true or false"))
    if problems:
        raise InvalidRequest(*problems)
