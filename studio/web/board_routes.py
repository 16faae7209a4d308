"""The owner's addresses for what guests may use and have made, where guests get a 403, and everybody's own pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from studio.answered.engine import Engine
from studio.answered.models import Model
from studio.asked.guest_rules import LOCKABLE
from studio.asked.orders import ModelList
from studio.asked.problems import InvalidRequest
from studio.asked.requests import ROWS
from studio.picture.gallery import Gallery
from studio.ui.models import labels
from studio.ui.text import say
from studio.ui.visible import visible
from studio.web.answers import is_owner, json_object, refusal
from studio.web.board import Board
from studio.web.owner import HEADER
from studio.web.share_pictures import SharePictures, zip_stream
from studio.web.wall import Wall

# What a guest can name in a request.
KINDS = ("checkpoint", "vae", "lora", "embedding", "controlnet")


class BoardRoutes:
    """The handlers, for the router of `studio.web.share_routes`."""

    def __init__(self, board: Board, engine: Engine, gallery: Gallery) -> None:
        self._board = board
        self._engine = engine
        self._pictures = SharePictures(board, gallery)
        self._wall = Wall(board, gallery)

    @property
    def routes(self) -> list[Route]:
        """Path and handler of each address."""
        return [
            Route("/share/board", self.decisions, methods=["GET", "POST"]),
            Route("/share/clear", self.clear, methods=["POST"]),
            Route("/share/pictures.zip", self.download),
            Route("/my-pictures.zip", self.download_own),
            *self._wall.routes,
        ]

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
        return JSONResponse(await self._view(), headers={"cache-control": "no-store"})

    async def _view(self) -> dict[str, Any]:
        models = (await self._engine.ask(ModelList())).models
        now = self._board.now
        return asdict(now) | {
            "locked": dict(now.locked),
            "lockable": [_lockable(name) for name in LOCKABLE],
            "choices": [_choice(one) for one in models if _can_be_named(one)],
            "has_safety_checker": any(one.kind == "safety_checker" and one.state == "usable" for one in models),
            "pictures": await run_in_threadpool(self._pictures.count),
        }

    async def clear(self, request: Request) -> Response:
        """POST: delete the pictures of this share from the disk; answers as `decisions`, with how many in `cleared`."""
        if not is_owner(request):
            return refusal(403, say("models.guest"))
        count = await run_in_threadpool(self._pictures.clear)
        return JSONResponse(await self._view() | {"cleared": count}, headers={"cache-control": "no-store"})

    async def download(self, request: Request) -> Response:
        """GET: the pictures of this share as a ZIP, a folder for each guest."""
        if not is_owner(request):
            return refusal(403, say("models.guest"))
        return await _zip(self._pictures.files, "guests-pictures.zip")

    async def download_own(self, request: Request) -> Response:
        """GET: the visitor's own pictures as a ZIP."""
        return await _zip(partial(self._pictures.of, request.headers[HEADER]), "my-pictures.zip")


def _lockable(name: str) -> dict[str, Any]:
    """A field as the panel offers it for locking: its name on the page, and what it may be."""
    row = ROWS[name]
    return {
        "field": name,
        "label": say(row.label),
        "kind": "checkpoint" if name == "checkpoint" else row.kind,
        "choices": [[short, label] for short, label in row.choices.items()],
        "low": row.allowed.low if row.allowed is not None else None,
        "high": row.allowed.high if row.allowed is not None else None,
        "step": (row.step or row.allowed.step or 1) if row.allowed is not None else None,
    }


async def _zip(files: Callable[[], list[tuple[str, Path]]], name: str) -> Response:
    there = await run_in_threadpool(files)
    if not there:
        return refusal(404, say("share.no_pictures"))
    headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
    return StreamingResponse(zip_stream(there), media_type="application/zip", headers=headers)


def _can_be_named(model: Model) -> bool:
    return model.kind in KINDS and model.state == "usable"


def _choice(model: Model) -> dict[str, Any]:
    return {
        "id": model.id,
        "kind": model.kind,
        "name": visible(model.name),
        "family": labels.family(model.facts.family) if model.facts.family else "",
    }
