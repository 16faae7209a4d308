"""The tab Image to image: a picture and words in, the same stage, the picture partly remade."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import gradio as gr

from studio.answered.engine import Engine
from studio.asked.fields import ImageToImage
from studio.picture.gallery import Gallery
from studio.ui import render, session
from studio.ui.blocks import stage
from studio.ui.generate import control, following, presets, starting, stored_fields
from studio.ui.generate import controls as c
from studio.ui.generate.generate_tab import GenerateTab, connect
from studio.ui.uploads import Uploads

TAB = ImageToImage.kind


def build(engine: Engine, gallery: Gallery, uploads: Uploads) -> GenerateTab:
    """Draw the tab: words and numbers, the picture to start from, the stage."""
    with gr.Row(elem_classes="ls-workspace ls-from-picture", elem_id=f"{TAB}-workspace"):
        with gr.Column(elem_classes="ls-start"):
            image = starting.upload(TAB)
            shown_start = starting.view(TAB)
            shown_offer = starting.offer(TAB)
        with gr.Column(elem_classes="ls-controls"):
            fields = c.build(engine, TAB, starting={"image": image})
        with gr.Column(elem_classes="ls-show"):
            show = stage(TAB, render.first_view([], is_attached=False))
            examples = c.example_prompts(engine, TAB)
    remembered = presets.connect(engine, gallery, fields)
    following.connect(engine, fields, examples, remembered)
    stored_fields.connect(fields)
    starting.connect(engine, fields, shown_offer, uploads)
    starting.show_beginning(fields, shown_start)

    async def generate(values: dict[Any, Any], request: gr.Request) -> AsyncIterator[Any]:
        typed_values = fields.typed_values(values)
        owner, page = session.owner_of(request), str(request.session_hash)

        def ask() -> ImageToImage:
            files = {
                "image": starting.file_of(typed_values["image"]),
                "controls": control.controls_of(typed_values["controls"], uploads, page, TAB),
            }
            return ImageToImage.parse(typed_values | files)

        async for view in session.run(engine, gallery, owner, TAB, ask):
            yield view

    generate_tab = GenerateTab(TAB, fields, show, examples, remembered)
    connect(engine, gallery, generate_tab, generate)
    return generate_tab
