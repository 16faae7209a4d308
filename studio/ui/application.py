"""The page as an application that a web server can run, and what can be called on it."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import gradio as gr
from starlette.applications import Starlette
from starlette.middleware import Middleware

from studio.answered.errors import ApiError, in_text
from studio.ui import language
from studio.ui.caller_tables import CallerTables, drop_page_descriptions
from studio.ui.functions import Function, Functions
from studio.ui.log import in_one_line
from studio.ui.text import say, spoken, spoken_text
from studio.ui.texts_of_page import name_texts

logger = logging.getLogger(__name__)

MAX_SESSIONS = 500  # sessions whose state Gradio keeps


def functions(page: gr.Blocks) -> Functions:
    """What can be called on a page, by the number that the page uses; looked up at the first call."""

    @cache
    def functions() -> Mapping[int, Function]:
        endpoints = page.get_api_info()["named_endpoints"]
        everything = {}
        for number, fn in page.fns.items():
            endpoint = endpoints.get(f"/{fn.api_name}") if fn.api_visibility == "public" else None
            parameters = endpoint["parameters"] if endpoint is not None else []
            everything[number] = Function(
                name=str(fn.api_name) if endpoint is not None else "",
                arguments=tuple(str(p["parameter_name"]) for p in parameters),
                required=frozenset(str(p["parameter_name"]) for p in parameters if not p["parameter_has_default"]),
                inputs=len(fn.inputs),
            )
        return everything

    return functions


def application(page: gr.Blocks, arguments: dict[str, Any], layers: Sequence[Middleware]) -> Starlette:
    """The page with `layers` around all of it, Gradio's own middleware included: nothing answers before them.

    `arguments`: what `studio.ui.page.build` returned with the page.
    """
    page.state_session_capacity = MAX_SESSIONS
    page.process_api = CallerTables(page).around(_in_language(_in_sentences(page.process_api)))
    outer = Starlette(middleware=layers)
    gr.mount_gradio_app(outer, page, path="/", app_kwargs={"openapi_url": None}, **arguments)
    name_texts(page.config["components"])
    drop_page_descriptions(page)
    return outer


def close(page: gr.Blocks, outer: Starlette) -> None:
    """End the connections that Gradio's pages keep open, and its queue."""
    page.app = outer.routes[-1].app  # type: ignore[attr-defined]  # `close` looks for the one that is served here
    page.close(verbose=False)


def _in_sentences(process: Callable[..., Any]) -> Callable[..., Any]:
    """Runs a function as Gradio does, but turns an error into one line of the log and a sentence for the caller.

    Gradio writes twenty lines of traceback for a value that a component does not accept, and answers `{"error": null}`.
    """

    async def run(*arguments: Any, **keywords: Any) -> Any:
        try:
            return await process(*arguments, **keywords)
        except gr.Error as error:
            error.print_exception = False
            raise
        except Exception as error:
            error_id = secrets.token_hex(4)
            logger.error("A call failed (error id %s): %s", error_id, in_one_line(error))
            sentence = say("api.unreadable", error_id=error_id)
            if getattr(keywords.get("block_fn"), "api_visibility", "") == "public":  # a program has called, and no page
                sentence = in_text(ApiError("bad_request", sentence, error_id=error_id), spoken_text)
            raise gr.Error(sentence, print_exception=False) from None

    return run


def _in_language(process: Callable[..., Any]) -> Callable[..., Any]:
    """Runs a function as Gradio does, in the language of the request that asks for it, and says what it answers in
    that language. Gradio's queue is a task of its own, so the language that holds for a request does not hold there."""

    async def run(*arguments: Any, **keywords: Any) -> Any:
        with language.speaking(_language_of(keywords.get("request"))):
            try:
                answer = await process(*arguments, **keywords)
            except gr.Error as error:
                error.message = spoken(error.message)
                raise
            return answer | {"data": spoken(answer["data"])}

    return run


def _language_of(request: Any) -> str:
    """Of a request as Gradio hands it on; English where there is none."""
    if not isinstance(request, gr.Request):
        return language.DEFAULT
    return language.asked_for(dict(request.cookies), request.headers.get("accept-language", ""))
