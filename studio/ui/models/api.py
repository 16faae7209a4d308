"""The public endpoints `/models`, `/choose_vae`, `/merge` and `/add_by_link`: what is there, whose VAE a checkpoint runs
with, a new checkpoint of others, and one file of an address.

For gradio_client and compatible programs. Only the owner may use all but the first, as on the page.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from studio.asked.messages import Message, listed
from studio.answered.engine import Engine, Refused
from studio.answered.models import Model, NoSuchModel
from studio.asked.names import best_matches
from studio.asked.orders import AddByLink, ChooseVae, MergeModels, ModelList, ModelOrder
from studio.asked.problems import InvalidRequest, Problem, quoted_value
from studio.ui import session
from studio.ui.generate.api import telling
from studio.ui.models import labels
from studio.ui.text import say

PUBLIC_FIELDS = ("name", "kind", "state", "reason", "size_bytes", "sha256", "place")


def build(engine: Engine) -> None:
    """Add the endpoints to the page that is being built."""

    async def list_models() -> list[dict[str, Any]]:
        with telling("models"):
            return [_line(model) for model in (await engine.ask(ModelList())).models]

    async def choose_vae(checkpoint: str, vae: str = "", request: gr.Request = None) -> dict[str, Any]:
        with telling("choose_vae"):
            await _order_of_the_owner(request, None)
            everything = (await engine.ask(ModelList())).models
            target = _model_by_name(everything, "checkpoint", checkpoint, lambda m: m.kind == "checkpoint")
            source = _model_by_name(everything, "vae", vae, lambda m: bool(m.lends_vae_to)) if vae else None
            await _order_of_the_owner(
                request, ChooseVae(model_id=target.id, source_id=source.id if source is not None else None)
            )
            return {"checkpoint": target.name, "vae": source.name if source is not None else ""}

    async def merge(
        a: str,
        b: str,
        c: str = "",
        method: str = "weighted_sum",
        weight: float = 0.5,
        precision: str = "first",
        name: str = "",
        request: gr.Request = None,
    ) -> dict[str, Any]:
        with telling("merge"):
            await _order_of_the_owner(request, None)
            everything = (await engine.ask(ModelList())).models
            models = [
                _model_by_name(everything, field, value, lambda m: m.kind == "checkpoint")
                for field, value in (("a", a), ("b", b), ("c", c))
                if field != "c" or value
            ]
            order = MergeModels(
                model_ids=tuple(model.id for model in models),
                method=method,  # type: ignore[arg-type]  # whatever it is: the engine names the field
                weight=weight,
                precision=precision,  # type: ignore[arg-type]
                name=name,
            )
            await _order_of_the_owner(request, order)
            newest = (await engine.ask(ModelList())).merges[0]
            return {"name": newest.name, "recipe": newest.recipe, "state": newest.state}

    async def add_by_link(link: str, sha256: str = "", request: gr.Request = None) -> dict[str, Any]:
        with telling("add_by_link"):
            await _order_of_the_owner(request, AddByLink(link=link, sha256=sha256))
            newest = (await engine.ask(ModelList())).downloads[0]
            return {"from": newest.repository, "file": newest.files[0], "state": newest.state}

    async def _order_of_the_owner(request: gr.Request, order: ModelOrder | None) -> None:
        if not session.may_manage(request):
            raise Refused(say("models.guest"), kind="forbidden")
        if order is not None:
            try:
                await engine.order(order)
            except NoSuchModel as error:
                raise Refused(str(error)) from error

    endpoints: tuple[tuple[str, Callable[..., Any]], ...] = (
        ("models", list_models),
        ("choose_vae", choose_vae),
        ("merge", merge),
        ("add_by_link", add_by_link),
    )
    for name, endpoint in endpoints:
        gr.api(endpoint, api_name=name, api_description=say(f"api.{name}"), concurrency_limit=None)


def _line(model: Model) -> dict[str, Any]:
    return {name: getattr(model, name) for name in PUBLIC_FIELDS} | {
        "family": labels.family(model.facts.family),
        "precision": model.facts.precision,
        "lends_vae_to": [labels.family(name) for name in model.lends_vae_to],
    }


def _model_by_name(everything: tuple[Model, ...], field: str, name: object, fits: Callable[[Model], bool]) -> Model:
    """The model of this name, with or without its folders, in any spelling. Raises InvalidRequest with the names there
    are, or with those that tell several apart: a VAE and a checkpoint may have the same."""
    choice = [model for model in everything if fits(model)]
    matches = best_matches(str(name), choice, lambda model: (_path(model),)) if isinstance(name, str) else []
    if len(matches) == 1:
        return matches[0]
    names = [_path(model) for model in matches] if matches else [model.name for model in choice]
    expectation = (
        Message("one of {names}", names=listed(names[:20]))
        if names
        else Message("none: there is none in the models folders")
    )
    value = f"{quoted_value(name)}, a name of {len(matches)} files," if matches else quoted_value(name)
    raise InvalidRequest(Problem(field, value, expectation))


def _path(model: Model) -> str:
    return f"{model.where}/{model.name.rpartition('/')[2]}"
