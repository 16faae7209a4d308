"""The tab Text to image: words in, a stage that shows every step, pictures out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import gradio as gr

from studio.events import Engine
from studio.gallery import Gallery
from studio.requests import TextToImage
from studio.ui import controls as c
from studio.ui import render, session
from studio.ui.desk import Desk, connect
from studio.ui.drawn import stage

TAB = TextToImage.kind


def build(engine: Engine, gallery: Gallery, sample: str | None) -> Desk:
    """Draw the tab; what leaves it for other tabs is connected by the page."""
    with gr.Row(elem_classes="ls-desk", elem_id=f"{TAB}-desk"):
        with gr.Column(elem_classes="ls-controls"):
            fields = c.build(engine, TAB)
        with gr.Column(elem_classes="ls-show"):
            show = stage(TAB, render.first_view([], attached=False), sample)
            examples = c.example_prompts(engine, TAB)
    c.connect(engine, fields, examples)

    async def generate(values: dict[Any, Any], request: gr.Request) -> AsyncIterator[Any]:
        given = fields.given(values)
        owner = session.owner_of(request)
        async for view in session.run(engine, gallery, owner, TAB, lambda: TextToImage.parse(given)):
            yield view

    desk = Desk(TAB, fields, show)
    connect(engine, gallery, desk, generate)
    return desk
