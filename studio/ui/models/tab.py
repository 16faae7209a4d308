"""The tab Models: everything found in the models folders, what is loaded, and what the owner may do with it.

The list is drawn by static/models.js, which fetches it from `/models-found` (web/routes.py) while it can be seen: not
by an event, since `gr.skip()` for a gr.HTML makes Gradio 6.31 forget its other properties, for every visitor
(measured). Commands are events. A visitor who may not manage models (a guest) sees the same list without its buttons.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import gradio as gr

from studio.answered.engine import Engine, Refused
from studio.answered.models import NoSuchModel
from studio.asked.requests import InvalidRequest
from studio.ui import session
from studio.ui.drawn import QUIET, drawn
from studio.ui.text import say, words

TAB = "models"
# Not "load": that is an event of Gradio's own, fired when the page opens.
EVENTS = ("bring", "release", "note", "correct", "lend", "convert", "look", "download", "cancel")


def build(engine: Engine) -> gr.HTML:
    """Draw the tab and connect it."""
    show = drawn(
        "models",
        value={},
        events=EVENTS,
        words=words("models"),
        elem_id=f"{TAB}-list",
        elem_classes="ls-models-tab",
    )

    def order(do: Callable[[dict[str, Any]], None]) -> Callable[..., Any]:
        async def handler(event: gr.EventData, request: gr.Request) -> dict[str, Any]:
            given = event._data
            if not session.may_manage(request) or not isinstance(given, dict):
                return _told(say("models.guest"))
            try:
                await asyncio.to_thread(do, given)
            except (NoSuchModel, Refused, InvalidRequest) as error:
                return _told(str(error))
            return _told("")

        return handler

    models = engine.models
    show.bring(order(lambda given: models.load(_text(given, "id"))), None, [show], **QUIET)
    show.release(order(lambda given: models.unload(_text(given, "id"))), None, [show], **QUIET)
    show.note(order(lambda given: models.annotate(_text(given, "id"), _text(given, "note"))), None, [show], **QUIET)
    show.correct(
        order(lambda given: models.correct(_text(given, "id"), _text(given, "prediction_type") or None)),  # type: ignore[arg-type]
        None,
        [show],
        **QUIET,
    )
    show.lend(
        order(lambda given: models.choose_vae(_text(given, "id"), _text(given, "vae") or None)), None, [show], **QUIET
    )
    show.convert(order(lambda given: models.convert(_text(given, "id"))), None, [show], **QUIET)

    def fetch(given: dict[str, Any]) -> None:
        files = given.get("files")
        names = tuple(name for name in files if isinstance(name, str)) if isinstance(files, list) else ()
        kind = _text(given, "kind") or "checkpoint"
        models.download(_text(given, "repository"), names, kind=kind, token=_text(given, "token") or None)  # type: ignore[arg-type]

    async def look(event: gr.EventData, request: gr.Request) -> dict[str, Any]:
        given = event._data
        if not session.may_manage(request) or not isinstance(given, dict):
            return _told(say("models.guest"))
        name = _text(given, "repository")
        try:
            files = await asyncio.to_thread(models.repository, name, token=_text(given, "token") or None)
        except (Refused, InvalidRequest) as error:
            return _told(str(error))
        if not files:
            return _told(say("models.hub.none"))
        return _told("") | {"repository": {"repository": name, "files": [asdict(file) for file in files]}}

    show.look(look, None, [show], **QUIET)
    show.download(order(fetch), None, [show], **QUIET)
    show.cancel(order(lambda given: models.cancel_download(_text(given, "id"))), None, [show], **QUIET)
    return show


def _told(problem: str) -> dict[str, Any]:
    """The answer to a command: empty when it was accepted. No two are equal, so that the page notices each."""
    return {"problem": problem, "order": secrets.token_hex(4)}


def _text(given: dict[str, Any], name: str) -> str:
    value = given.get(name)
    return value if isinstance(value, str) else ""
