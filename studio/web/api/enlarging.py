"""A picture, enlarged, for programs: one call, answered by the file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from studio.answered.engine import Answer, Engine
from studio.asked.problems import InvalidRequest, Problem, Range, quoted_value
from studio.asked.upscale import FACTOR, LANCZOS, MAX_NAME_CHARACTERS, SIDE, Upscale
from studio.picture import enlarged
from studio.picture.gallery import Gallery, SaveFailed
from studio.web.api.answering import NOT_STORED, with_typed_errors
from studio.web.api.bodies import Bodies
from studio.web.api.errors import ROOT
from studio.web.departure import unless_left
from studio.web.owner import HEADER
from studio.web.upload_room import NoRoom

_DEFAULTS = {one.name: one.default for one in dataclasses.fields(Upscale)}
_FIELDS = ("image", "upscaler", "factor", "width", "height", "crop", "save")


def _number(allowed: Range, description: str, **more: object) -> Mapping[str, Any]:
    kind = "integer" if allowed.whole else "number"
    limits = {"minimum": allowed.low, "maximum": allowed.high}
    return {"type": kind, **limits, "description": description, **more}


BODY: Mapping[str, Mapping[str, Any]] = {
    "image": {"$ref": "#/components/schemas/Picture"},
    "upscaler": {
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_NAME_CHARACTERS,
        "default": LANCZOS,
        "description": "the name of an upscaler of /models, or lanczos",
    },
    "factor": _number(FACTOR, "how many times as wide and as high", default=_DEFAULTS["factor"]),
    "width": _number(SIDE, "with height, instead of a factor: pixels"),
    "height": _number(SIDE, "with width, instead of a factor: pixels"),
    "crop": {
        "type": "boolean",
        "default": _DEFAULTS["crop"],
        "description": "cut off what is over the width or the height",
    },
    "save": {
        "type": "boolean",
        "default": False,
        "description": "save it among your pictures too; its address is the header Content-Location of the answer",
    },
}


class EnlargingApi:
    """Answers the operation `upscale`."""

    def __init__(self, engine: Engine, gallery: Gallery, bodies: Bodies) -> None:
        self._engine = engine
        self._gallery = gallery
        self._bodies = bodies

    @with_typed_errors
    async def upscale(self, request: Request) -> Response:
        """The enlarged picture as a PNG file, which is also saved where `save` asks for it."""
        owner = request.headers[HEADER]
        async with self._bodies.json(request) as body:
            if problems := _unknown(body):
                raise InvalidRequest(*problems)
            saves = body.pop("save", None) or False
            image = await self._bodies.picture("image", body.get("image"), owner)
            order = _order(image, body)
            answer: Answer | None = await unless_left(request, self._engine.ask(order, owner=owner))
        if answer is None:
            return Response(status_code=499)  # nobody is there to read it
        place = await self._saved(answer.content, owner) if saves else {}
        return Response(answer.content, media_type=answer.media_type, headers={**NOT_STORED, **place})

    async def _saved(self, content: bytes, owner: str) -> dict[str, str]:
        """Save it; the header that says where it is. Raises NoRoom."""
        try:
            picture = await run_in_threadpool(enlarged.save, content, self._gallery, owner)
        except SaveFailed as error:
            raise NoRoom(error.args[0]) from error
        return {"content-location": f"{ROOT}/pictures/{picture.id}"}


def _unknown(body: Mapping[str, object]) -> list[Problem]:
    problems = [
        Problem(name, quoted_value(body[name]), f"the fields {', '.join(_FIELDS)}")
        for name in body
        if name not in _FIELDS
    ]
    if not isinstance(body.get("save"), (bool, type(None))):
        problems.append(Problem("save", quoted_value(body["save"]), "true or false"))
    return problems


def _order(image: bytes, body: Mapping[str, Any]) -> Upscale:
    """Raises InvalidRequest with every problem."""
    values = {name: value for name, value in body.items() if name != "image" and value is not None}
    order = Upscale(image=image, **values)
    problems = order.problems()
    if problems:
        raise InvalidRequest(*problems)
    return order
