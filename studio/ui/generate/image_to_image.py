"""The tab Image to image: a picture and words in, the same stage, the picture partly remade."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import gradio as gr

from studio.answered.engine import Engine
from studio.asked.fields import ImageToImage
from studio.picture.gallery import Gallery
from studio.ui import render, session
from studio.ui.blocks import html_block, stage
from studio.ui.generate import control, fast, following, live_mode, presets, starting, stored_fields
from studio.ui.generate import controls as c
from studio.ui.generate.generate_tab import GenerateTab, connect
from studio.ui.text import say, words
from studio.ui.uploads import Uploads

TAB = ImageToImage.kind


def build(engine: Engine, gallery: Gallery, uploads: Uploads) -> GenerateTab:
    """Draw the tab: words and numbers, the picture to start from, the stage."""
    with gr.Row(elem_classes="ls-workspace ls-from-picture", elem_id=f"{TAB}-workspace"):
        with gr.Column(elem_classes="ls-start"):
            image = starting.upload(TAB)
            painting = html_block("liveCanvas", value={}, tab=TAB, words=words("canvas"), elem_id=f"{TAB}-painting")
            shown_start = starting.view(TAB)
            shown_offer = starting.offer(TAB)
        with gr.Column(elem_classes="ls-controls"):
            fields = replace(c.build(engine, TAB, starting={"image": image}), painting=painting)
            live = live_mode.build(TAB, say("live.help.image"))
        with gr.Column(elem_classes="ls-show"):
            show = stage(TAB, render.first_view([], is_attached=False))
            examples = c.example_prompts(engine, TAB)
    remembered = presets.connect(engine, gallery, fields)
    following.connect(engine, fields, examples, remembered)
    fast.connect(engine, fields, live.switch)
    stored_fields.connect(fields)
    starting.connect(engine, fields, shown_offer, uploads)
    starting.show_beginning(fields, shown_start)

    def parse(values: dict[Any, Any], typed_values: dict[str, Any], request: gr.Request) -> ImageToImage:
        files = {
            "image": starting.painting_of(values[painting]) or starting.file_of(typed_values["image"]),
            "controls": control.controls_of(typed_values["controls"], uploads, str(request.session_hash), TAB),
        }
        return ImageToImage.parse(typed_values | files)

    async def generate(values: dict[Any, Any], request: gr.Request) -> AsyncIterator[Any]:
        typed_values = fields.typed_values(values)
        owner = session.owner_of(request)
        async for view in session.run(engine, gallery, owner, TAB, lambda: parse(values, typed_values, request)):
            yield view

    live_mode.connect(engine, gallery, fields, live, show, parse)
    generate_tab = GenerateTab(TAB, fields, show, examples, remembered)
    connect(engine, gallery, generate_tab, generate)
    return generate_tab
