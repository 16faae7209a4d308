"""The owner's addresses for what guests may use. Guests get a 403."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from studio.answered.engine import Engine
from studio.answered.models import Model
from studio.asked.orders import ModelList
from studio.asked.problems import InvalidRequest
from studio.ui.models import labels
from studio.ui.text import say
from studio.ui.visible import visible
from studio.web.board import Board
from studio.web.login import GUEST_HEADER, PROGRAM_HEADER

# What a guest can name in a request.
KINDS = ("checkpoint", "lora", "embedding", "controlnet")


class BoardRoutes:
    """The handlers, for the router of `studio.web.share_routes`."""

    def __init__(self, board: Board, engine: Engine) -> None:
        self._board = board
        self._engine = engine

    @property
    def routes(self) -> list[Route]:
        """Path and handler of each address."""
        return [Route("/share/board", self.decisions, methods=["GET", "POST"])]

    async def decisions(self, request: Request) -> Response:
        """GET: what is decided, and the models there are. POST {"models": [ids] | null, "refused_words": [...], ...}:
        decides what is named, and answers the same."""
        if not is_owner(request):
            return refusal(403, say("models.guest"))
        if request.method == "POST":
            try:
                self._board.decide(json_object(await request.body()))
            except InvalidRequest as error:
                return refusal(400, str(error))
        models = (await self._engine.ask(ModelList())).models
        view = asdict(self._board.now) | {"choices": [_choice(one) for one in models if _can_be_named(one)]}
        return JSONResponse(view, headers={"cache-control": "no-store"})


def _can_be_named(model: Model) -> bool:
    return model.kind in KINDS and model.state == "usable"


def _choice(model: Model) -> dict[str, Any]:
    return {
        "id": model.id,
        "kind": model.kind,
        "name": visible(model.name),
        "family": labels.family(model.facts.family) if model.facts.family else "",
    }


def is_owner(request: Request) -> bool:
    """Whether a person with the owner's rights asks: no guest, and no program."""
    return GUEST_HEADER not in request.headers and PROGRAM_HEADER not in request.headers


def json_object(body: bytes) -> dict[str, Any]:
    """A body's JSON object; empty where it is none."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def refusal(status: int, sentence: str) -> Response:
    """A refusal in a sentence, which nothing on its way may store."""
    return PlainTextResponse(sentence, status_code=status, headers={"cache-control": "no-store"})
