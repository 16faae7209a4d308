"""The tab Text to image: words in, a stage that shows every step, pictures out."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Any

import gradio as gr

from studio.answered.engine import Engine
from studio.asked.fields import TextToImage
from studio.asked.requests import RANDOM_SEEDS
from studio.asked.upscale import NO_UPSCALER
from studio.picture.gallery import Gallery
from studio.ui import render, session, watching
from studio.ui.blocks import FOLLOWING, WATCHING, stage
from studio.ui.generate import control, fast, following, presets, stored_fields
from studio.ui.generate import controls as c
from studio.ui.generate.generate_tab import GenerateTab, connect
from studio.ui.text import say
from studio.ui.uploads import Uploads

TAB = TextToImage.kind


def build(engine: Engine, gallery: Gallery, uploads: Uploads, sample: Mapping[str, Any] | None) -> GenerateTab:
    """Draw the tab. The page connects what goes to other tabs."""
    with gr.Row(elem_classes="ls-workspace", elem_id=f"{TAB}-workspace"):
        with gr.Column(elem_classes="ls-controls"):
            fields = c.build(engine, TAB)
            live = gr.Checkbox(
                value=False,
                label=say("live.label"),
                info=say("live.help"),
                elem_id=f"{TAB}-live",
                elem_classes="ls-live",
            )
            # Pressed by the page's script (static/live.js) when a slider is released or typing pauses, the newest last.
            go = gr.Button(say("live.label"), elem_id=f"{TAB}-live-go", elem_classes="ls-unseen")
        with gr.Column(elem_classes="ls-show"):
            show = stage(TAB, render.first_view([], is_attached=False), sample)
            examples = c.example_prompts(engine, TAB)
    remembered = presets.connect(engine, gallery, fields)
    following.connect(engine, fields, examples, remembered)
    fast.connect(engine, fields, live)
    stored_fields.connect(fields)

    def parse(typed_values: dict[str, Any], request: gr.Request) -> TextToImage:
        controls = control.controls_of(typed_values["controls"], uploads, str(request.session_hash), TAB)
        return TextToImage.parse(typed_values | {"controls": controls})

    async def generate(values: dict[Any, Any], request: gr.Request) -> AsyncIterator[Any]:
        typed_values = fields.typed_values(values)
        owner = session.owner_of(request)
        async for view in session.run(engine, gallery, owner, TAB, lambda: parse(typed_values, request)):
            yield view

    async def follow_slider(values: dict[Any, Any], request: gr.Request) -> AsyncIterator[Any]:
        typed_values = fields.typed_values(values)
        seed_is_random = not str(typed_values["seed"] or "").strip()
        if seed_is_random:  # the same noise from now on, so that only the slider's effect is seen
            typed_values["seed"] = str(secrets.randbelow(RANDOM_SEEDS))
        seed = typed_values["seed"] if seed_is_random else gr.skip()
        async for view in session.run_live(
            engine,
            gallery,
            session.owner_of(request),
            TAB,
            lambda: parse(typed_values | {"upscale": NO_UPSCALER}, request),
        ):
            yield view, seed
            seed = gr.skip()

    async def same_seed(on: bool, seed: str, request: gr.Request) -> Any:
        if not on or str(seed or "").strip():
            return gr.skip()
        past = await watching.earlier(gallery, session.owner_of(request))
        return past[0]["settings"]["seed"] if past else gr.skip()

    live.input(same_seed, [live, fields.fields["seed"]], [fields.fields["seed"]], **FOLLOWING)
    go.click(follow_slider, fields.inputs, [show, fields.fields["seed"]], trigger_mode="multiple", **WATCHING)
    generate_tab = GenerateTab(TAB, fields, show, examples, remembered)
    connect(engine, gallery, generate_tab, generate)
    return generate_tab
