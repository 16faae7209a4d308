"""The tab Inpaint: a picture, a mask painted on it or a canvas made larger, and words for what should be there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import gradio as gr

from studio.answered.engine import Engine
from studio.asked.fields import Inpaint
from studio.picture.gallery import Gallery
from studio.ui import render, session
from studio.ui.blocks import html_block, stage
from studio.ui.generate import control, following, presets, starting, stored_fields
from studio.ui.generate import controls as c
from studio.ui.generate.generate_tab import GenerateTab, connect
from studio.ui.text import words
from studio.ui.uploads import Uploads

TAB = Inpaint.kind


def build(engine: Engine, gallery: Gallery, uploads: Uploads) -> GenerateTab:
    """Draw the tab. The mask is painted in the browser on our own canvas and sent as a PNG of one channel. The picture
    under it is uploaded once."""
    with gr.Row(elem_classes="ls-workspace ls-from-picture", elem_id=f"{TAB}-workspace"):
        with gr.Column(elem_classes="ls-start"):
            image = starting.upload(TAB)
            mask = html_block("mask", value={}, tab=TAB, words=words("mask"), elem_id=f"{TAB}-mask")
            shown_offer = starting.offer(TAB)
        with gr.Column(elem_classes="ls-controls"):
            fields = c.build(engine, TAB, starting={"image": image, "mask": mask})
        with gr.Column(elem_classes="ls-show"):
            show = stage(TAB, render.first_view([], is_attached=False))
            examples = c.example_prompts(engine, TAB)
    remembered = presets.connect(engine, gallery, fields)
    following.connect(engine, fields, examples, remembered)
    stored_fields.connect(fields)
    starting.connect(engine, fields, shown_offer, uploads)

    async def generate(values: dict[Any, Any], request: gr.Request) -> AsyncIterator[Any]:
        typed_values = fields.typed_values(values)
        owner, page = session.owner_of(request), str(request.session_hash)

        def ask() -> Inpaint:
            files: dict[str, Any] = {
                "image": starting.file_of(typed_values["image"]),
                "mask": starting.mask_of(typed_values["mask"]),
            }
            files |= {"controls": control.controls_of(typed_values["controls"], uploads, page, TAB)}
            return Inpaint.parse(typed_values | files)

        async for view in session.run(engine, gallery, owner, TAB, ask):
            yield view

    generate_tab = GenerateTab(TAB, fields, show, examples, remembered)
    connect(engine, gallery, generate_tab, generate)
    return generate_tab
