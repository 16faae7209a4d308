"""The tab Models: everything found in the models folders, what is loaded, and what the owner may do with it.

The list is drawn by static/models.js, which fetches it from `/models-found` (web/routes.py) while it can be seen: not
by an event, since `gr.skip()` for a gr.HTML makes Gradio 6.31 forget its other properties, for every visitor
(measured). Commands are events. A visitor who may not manage models (a guest) sees the same list without its buttons.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import gradio as gr

from studio.answered.engine import Engine, Refused
from studio.answered.models import NoSuchModel
from studio.asked.orders import (
    AddByLink,
    Annotate,
    CancelDownload,
    ChooseVae,
    ConvertModel,
    CorrectPrediction,
    DownloadFiles,
    LoadModel,
    MergeModels,
    ModelOrder,
    RepositoryFiles,
    StopMerge,
    UnloadModel,
)
from studio.asked.problems import InvalidRequest
from studio.ui import session
from studio.ui.blocks import QUIET, html_block
from studio.ui.text import say, words

TAB = "models"
# Not "load": that is an event of Gradio's own, fired when the page opens.
EVENTS = ("bring", "release", "note", "correct", "lend", "convert", "look", "download", "cancel", "merge", "stop_merge", "add_link")


def build(engine: Engine) -> gr.HTML:
    """Draw the tab and connect it."""
    show = html_block(
        "models",
        value={},
        events=EVENTS,
        words=words("models"),
        elem_id=f"{TAB}-list",
        elem_classes="ls-models-tab",
    )

    def order(order_of: Callable[[dict[str, Any]], ModelOrder]) -> Callable[..., Any]:
        async def handler(event: gr.EventData, request: gr.Request) -> dict[str, Any]:
            data = event._data
            if not session.may_manage(request) or not isinstance(data, dict):
                return _answer(say("models.guest"))
            try:
                await engine.order(order_of(data))
            except (NoSuchModel, Refused, InvalidRequest) as error:
                return _answer(str(error))
            return _answer("")

        return handler

    show.bring(order(lambda data: LoadModel(model_id=_text(data, "id"))), None, [show], **QUIET)
    show.release(order(lambda data: UnloadModel(model_id=_text(data, "id"))), None, [show], **QUIET)
    show.note(order(lambda data: Annotate(model_id=_text(data, "id"), note=_text(data, "note"))), None, [show], **QUIET)
    show.correct(
        order(
            lambda data: CorrectPrediction(
                model_id=_text(data, "id"),
                prediction_type=_text(data, "prediction_type") or None,  # type: ignore[arg-type]
                shift=data.get("shift"),  # whatever it is: the engine names the field
            )
        ),
        None,
        [show],
        **QUIET,
    )
    show.lend(
        order(lambda data: ChooseVae(model_id=_text(data, "id"), source_id=_text(data, "vae") or None)), None, [show], **QUIET
    )
    show.convert(order(lambda data: ConvertModel(model_id=_text(data, "id"))), None, [show], **QUIET)

    def fetch(data: dict[str, Any]) -> ModelOrder:
        files = data.get("files")
        names = tuple(name for name in files if isinstance(name, str)) if isinstance(files, list) else ()
        kind = _text(data, "kind") or "checkpoint"
        return DownloadFiles(
            repository=_text(data, "repository"),
            files=names,
            kind=kind,  # type: ignore[arg-type]
            token=_text(data, "token") or None,
        )

    async def look(event: gr.EventData, request: gr.Request) -> dict[str, Any]:
        data = event._data
        if not session.may_manage(request) or not isinstance(data, dict):
            return _answer(say("models.guest"))
        name = _text(data, "repository")
        try:
            files = await engine.ask(RepositoryFiles(repository=name, token=_text(data, "token") or None))
        except (Refused, InvalidRequest) as error:
            return _answer(str(error))
        if not files:
            return _answer(say("models.hub.none"))
        return _answer("") | {"repository": {"repository": name, "files": [asdict(file) for file in files]}}

    show.look(look, None, [show], **QUIET)
    show.download(order(fetch), None, [show], **QUIET)
    show.add_link(
        order(lambda data: AddByLink(link=_text(data, "link"), sha256=_text(data, "sha256"))), None, [show], **QUIET
    )
    show.merge(order(_merge), None, [show], **QUIET)
    show.stop_merge(order(lambda data: StopMerge(merge_id=_text(data, "id"))), None, [show], **QUIET)
    show.cancel(order(lambda data: CancelDownload(download_id=_text(data, "id"))), None, [show], **QUIET)
    return show


def _merge(data: dict[str, Any]) -> MergeModels:
    models = data.get("models")
    return MergeModels(
        model_ids=tuple(one for one in models if isinstance(one, str)) if isinstance(models, list) else (),
        method=data.get("method"),  # type: ignore[arg-type]  # whatever it is: the engine names the field
        weight=data.get("weight"),  # type: ignore[arg-type]
        precision=data.get("precision"),  # type: ignore[arg-type]
        name=_text(data, "name"),
    )


def _answer(problem: str) -> dict[str, Any]:
    """The answer to a command: empty when it was accepted. No two are equal, so that the page notices each."""
    return {"problem": problem, "order": secrets.token_hex(4)}


def _text(data: dict[str, Any], name: str) -> str:
    value = data.get(name)
    return value if isinstance(value, str) else ""
