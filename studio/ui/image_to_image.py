"""The tab Image to image: a picture and words in, the same stage, the picture made partly anew."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import gradio as gr

from studio.events import Engine
from studio.gallery import Gallery
from studio.requests import ImageToImage
from studio.ui import controls as c
from studio.ui import render, session
from studio.ui.desk import Desk, connect
from studio.ui.drawn import stage
from studio.ui.text import say

TAB = ImageToImage.kind


def build(engine: Engine, gallery: Gallery) -> Desk:
    """Draw the tab. The upload stays a file: it is decoded by the engine's own safe reader and nowhere else."""
    with gr.Row(elem_classes="ls-desk", elem_id=f"{TAB}-desk"):
        with gr.Column(elem_classes="ls-controls"):
            image = gr.Image(
                type="filepath",
                image_mode=None,
                format="png",
                sources=["upload"],
                label=say("image.label"),
                show_label=False,
                placeholder=say("image.placeholder"),
                buttons=[],
                height=180,
                elem_id=f"{TAB}-image",
                elem_classes="ls-upload",
            )
            fields = c.build(engine, TAB, image=image)
        with gr.Column(elem_classes="ls-show"):
            show = stage(TAB, render.first_view([], attached=False))
            examples = c.example_prompts(engine, TAB)
    c.connect(engine, fields, examples)

    async def generate(values: dict[Any, Any], request: gr.Request) -> AsyncIterator[Any]:
        given = fields.given(values)
        owner = session.owner_of(request)

        def ask() -> ImageToImage:
            path = given["image"]
            # Gradio sends a number field that was never filled in as 0.
            size = {name: given[name] or None for name in ("width", "height")}
            return ImageToImage.parse(given | size | {"image": Path(path).read_bytes() if path else b""})

        async for view in session.run(engine, gallery, owner, TAB, ask):
            yield view

    desk = Desk(TAB, fields, show)
    connect(engine, gallery, desk, generate)
    return desk
