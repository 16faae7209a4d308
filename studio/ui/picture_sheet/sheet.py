"""The sheet of a picture that is dropped or pasted anywhere on the page: what it says of how it was made, and what can
be done with that.

Drawn by static/sheet.js, which asks `/ask/picture-settings` (web/picture_settings.py) what the file says.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import gradio as gr

from studio.answered.engine import Engine
from studio.asked.fields import TextToImage
from studio.asked.problems import MAX_IMAGE_BYTES
from studio.picture.gallery import Gallery
from studio.ui import session
from studio.ui.blocks import QUIET, WATCHING, html_block
from studio.ui.generate import stored_fields, widgets
from studio.ui.generate.generate_tab import GenerateTab
from studio.ui.text import words
from studio.ui.viewer import noise_viewer

PRESS = "() => document.getElementById('{tab}-generate').click()"


def build(
    engine: Engine, gallery: Gallery, generate_tabs: Sequence[GenerateTab], viewer: gr.HTML, tabs: gr.Tabs
) -> gr.HTML:
    """Draw the sheet's block and connect it: its settings go into the fields of one of `generate_tabs`, by an event of
    the tab's name; "run" starts them on the first; "look" shows their run in the noise viewer. The page connects
    "compare"."""
    sheet = html_block(
        "pictureSheet",
        events=(*(one.tab for one in generate_tabs), "run", "look", "compare"),
        words=words("picture_sheet"),
        most_bytes=MAX_IMAGE_BYTES,
        elem_id="picture-sheet",
    )

    def taker(target: GenerateTab) -> Callable[..., dict[Any, Any]]:
        def take(event: gr.EventData) -> dict[Any, Any]:
            settings = settings_of_event(event._data, target.tab)
            return {tabs: gr.Tabs(selected=target.tab)} | stored_fields.restore(engine, target.controls, settings)

        return take

    for target in generate_tabs:
        outputs = [tabs, *stored_fields.reusable(target.controls)]
        getattr(sheet, target.tab)(taker(target), None, outputs, **QUIET)
    first = generate_tabs[0]
    written = sheet.run(taker(first), None, [tabs, *stored_fields.reusable(first.controls)], **QUIET)
    written.then(None, None, None, js=PRESS.format(tab=first.tab))

    async def look(event: gr.EventData, request: gr.Request) -> AsyncIterator[Any]:
        checkpoints = [one.name for one in engine.catalog()]
        values = run_values(event._data, checkpoints) | widgets.locked_values(engine)
        opened = gr.Tabs(selected=noise_viewer.TAB)
        owner = session.owner_of(request)
        number = event._data.get("number")
        async for view in noise_viewer.follow(engine, gallery, owner, lambda: TextToImage.parse(values)):
            yield (
                opened,
                view,
                {
                    "number": number,
                    "ended": view["ended"],
                    "picture": view["picture"],
                    "job": view["job"],
                },
            )
            opened = gr.skip()

    sheet.look(look, None, [tabs, viewer, sheet], trigger_mode="multiple", **WATCHING)
    return sheet


def settings_of_event(data: Mapping[str, Any], tab: str) -> dict[str, Any]:
    """The fields that the sheet sends for a tab. With `whole` they are all that the picture says; then a field that
    changes the picture and that it does not name gets its first value, so that nothing of an earlier run stays."""
    sent = data.get("settings")
    settings = dict(sent) if isinstance(sent, Mapping) else {}
    if tab != TextToImage.kind:  # these start from a picture, which has a size of its own
        settings = {name: value for name, value in settings.items() if name not in ("width", "height")}
    if data.get("whole"):
        settings = _first_values(tab) | settings
    return settings


def run_values(data: Mapping[str, Any], checkpoints: Sequence[str]) -> dict[str, Any]:
    """The fields of the run of text to image that a picture's settings ask for, of one image; the first checkpoint
    where they name none that is here."""
    settings = settings_of_event(data, TextToImage.kind)
    values = {name: value for name, value in settings.items() if name in TextToImage.rows()}
    if values.get("checkpoint") not in checkpoints and checkpoints:
        values["checkpoint"] = checkpoints[0]
    return values | {"num_images_per_prompt": 1}


def _first_values(tab: str) -> dict[str, Any]:
    """The first values of the fields that change a picture made of words alone, but for those that follow the
    checkpoint, and the seed."""
    rows = widgets.rows_of_tab(tab)
    others = ("seed", "checkpoint", "controls", "num_images_per_prompt")
    return {
        name: row.default
        for name, row in TextToImage.rows().items()
        if name in rows and name not in others and not (row.is_required or row.suits or row.effect == "cosmetic")
    }
