"""The tab Learn: a prompt, and the machine with its chapters, which its script draws on a recorded run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import gradio as gr

from studio.answered.engine import Engine
from studio.asked.fields import ImageToImage, TextToImage
from studio.picture.gallery import Gallery
from studio.ui import session
from studio.ui.blocks import WATCHING, html_block
from studio.ui.text import say, words
from studio.ui.viewer import noise_viewer
from studio.ui.viewer.ask_field import ask_field

TAB = "learn"
PANELS = ("timeline", "panes", "architecture", "forward", "latent", "vae", "attention", "guidance")


def build(engine: Engine, gallery: Gallery) -> None:
    """Draw the tab and connect it."""
    with gr.Column(elem_classes="ls-viewer-tab"):
        with gr.Row(elem_classes="ls-ask"):
            prompt = ask_field(TAB)
            run = gr.Button(say("learn.run"), variant="primary", elem_id=f"{TAB}-run", min_width=96)
        show = html_block(
            "learn",
            value=noise_viewer.EMPTY,
            events=("denoise",),
            **noise_viewer.props(PANELS),
            learn=words("learn"),
            control=words("control"),
            maps=_maps(engine),
            sample=noise_viewer.SAMPLE,
            elem_id=f"{TAB}-chapters",
        )

    async def start(prompt: str, request: gr.Request) -> AsyncIterator[Any]:
        owner = session.owner_of(request)
        catalog = engine.catalog()
        ask = {"prompt": prompt, "checkpoint": catalog[0].name if catalog else ""}
        async for view in session.run(engine, gallery, owner, TAB, lambda: TextToImage.parse(ask), attention=True):
            if view["state"] != "running" or view["step"] is None:
                yield noise_viewer.view_of(view)

    async def denoise(event: gr.EventData, request: gr.Request) -> AsyncIterator[Any]:
        owner = session.owner_of(request)
        ask = await noise_viewer.denoising(engine, gallery, owner, event._data)
        async for view in session.run(engine, gallery, owner, TAB, lambda: ImageToImage.parse(ask), attention=True):
            if view["state"] != "running" or view["step"] is None:
                yield noise_viewer.view_of(view) | {"is_from_picture": True}

    show.denoise(denoise, None, [show], trigger_mode="multiple", **WATCHING)
    gr.on([run.click, prompt.submit], start, [prompt], [show], **WATCHING)


def _maps(engine: Engine) -> dict[str, Any]:
    """By checkpoint: its first ControlNet whose maps can be painted, their colours, and the size of a map."""
    return {
        one.name: {
            "model": one.palettes[0][0],
            "palette": [list(row) for row in one.palettes[0][1]],
            "size": [one.native_width, one.native_height],
        }
        for one in engine.catalog()
        if one.palettes
    }
