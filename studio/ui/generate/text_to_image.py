"""The tab Text to image: words in, a stage that shows every step, pictures out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import gradio as gr

from studio.answered.engine import Engine
from studio.asked.fields import TextToImage
from studio.picture.gallery import Gallery
from studio.ui import render, session
from studio.ui.blocks import stage
from studio.ui.generate import control, fast, following, live_mode, presets, stored_fields
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
            live = live_mode.build(TAB, say("live.help"))
        with gr.Column(elem_classes="ls-show"):
            show = stage(TAB, render.first_view([], is_attached=False), sample)
            examples = c.example_prompts(engine, TAB)
    remembered = presets.connect(engine, gallery, fields)
    following.connect(engine, fields, examples, remembered)
    fast.connect(engine, fields, live.switch)
    stored_fields.connect(fields)

    def parse(_: dict[Any, Any], typed_values: dict[str, Any], request: gr.Request) -> TextToImage:
        controls = control.controls_of(typed_values["controls"], uploads, str(request.session_hash), TAB)
        return TextToImage.parse(typed_values | {"controls": controls})

    async def generate(values: dict[Any, Any], request: gr.Request) -> AsyncIterator[Any]:
        typed_values = fields.typed_values(values)
        owner = session.owner_of(request)
        async for view in session.run(engine, gallery, owner, TAB, lambda: parse(values, typed_values, request)):
            yield view

    live_mode.connect(engine, gallery, fields, live, show, parse)
    generate_tab = GenerateTab(TAB, fields, show, examples, remembered)
    connect(engine, gallery, generate_tab, generate)
    return generate_tab
