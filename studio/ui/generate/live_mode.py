"""Live mode of a tab: its switch, and the run that static/live.js asks for when a slider is released, typing pauses or
a stroke is painted."""

from __future__ import annotations

import math
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from studio.answered.engine import Engine
from studio.asked.requests import RANDOM_SEEDS, Request
from studio.asked.schedulers import steps_run
from studio.asked.upscale import NO_UPSCALER
from studio.picture.gallery import Gallery
from studio.ui import session, watching
from studio.ui.blocks import FOLLOWING, WATCHING
from studio.ui.generate.controls import Controls
from studio.ui.text import say


@dataclass(frozen=True)
class LiveMode:
    """The switch, and a button that only the page's script presses."""

    switch: gr.Checkbox
    go: gr.Button


def build(tab: str, help_text: str) -> LiveMode:
    """Draw the switch with its help into the current column."""
    switch = gr.Checkbox(
        value=False, label=say("live.label"), info=help_text, elem_id=f"{tab}-live", elem_classes="ls-live"
    )
    return LiveMode(switch, gr.Button(say("live.label"), elem_id=f"{tab}-live-go", elem_classes="ls-unseen"))


def connect(
    engine: Engine,
    gallery: Gallery,
    fields: Controls,
    live: LiveMode,
    show: gr.HTML,
    parse: Callable[[dict[Any, Any], dict[str, Any], gr.Request], Request],
) -> None:
    """Let the script's button run what the form says. `parse`: the values of all components, those of the fields by
    name, and whose they are, as a request."""
    f = fields.fields
    written = [name for name in ("seed", "num_inference_steps") if name == "seed" or "strength" in f]

    async def follow(values: dict[Any, Any], request: gr.Request) -> AsyncIterator[Any]:
        typed_values = fields.typed_values(values)
        news = fixed_values(typed_values)
        plain = {"upscale": NO_UPSCALER} if "upscale" in typed_values else {}  # what follows the fingers stays small
        updates = tuple(news.get(name, gr.skip()) for name in written)
        owner = session.owner_of(request)
        async for view in session.run_live(
            engine, gallery, owner, fields.tab, lambda: parse(values, typed_values | news | plain, request)
        ):
            yield view, *updates
            updates = tuple(gr.skip() for _ in written)

    async def same_seed(on: bool, seed: str, request: gr.Request) -> Any:
        if not on or str(seed or "").strip():
            return gr.skip()
        past = await watching.earlier(gallery, session.owner_of(request))
        return past[0]["settings"]["seed"] if past else gr.skip()

    live.switch.input(same_seed, [live.switch, f["seed"]], [f["seed"]], **FOLLOWING)
    live.go.click(follow, fields.inputs, [show, *(f[name] for name in written)], trigger_mode="multiple", **WATCHING)


def fixed_values(typed_values: dict[str, Any]) -> dict[str, Any]:
    """What live mode itself sets: a seed where it is open, so that only what a person changes is seen; and of Image to
    image so many steps that at least one is run, since models of one step would leave the painting as it is."""
    news: dict[str, Any] = {}
    if not str(typed_values["seed"] or "").strip():
        news["seed"] = str(secrets.randbelow(RANDOM_SEEDS))
    steps, strength = typed_values.get("num_inference_steps"), typed_values.get("strength")
    if not isinstance(steps, (int, float)) or not isinstance(strength, (int, float)):
        return news
    if steps >= 1 and 0 < strength <= 1 and not steps_run(int(steps), strength):
        news["num_inference_steps"] = math.ceil(1 / strength)
    return news
