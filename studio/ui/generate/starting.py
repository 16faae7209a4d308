"""What the tabs that start from a picture share: the upload, reading it, and the settings it carries.

An upload stays a file until the engine's safe reader decodes it; only its texts are read here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from studio.answered.engine import Engine
from studio.answered.models import Model
from studio.asked.messages import Message
from studio.asked.orders import ModelList
from studio.asked.problems import MAX_IMAGE_BYTES, InvalidRequest, Problem, quoted_value
from studio.picture.metadata import file_hashes
from studio.picture.named_files import compare_files
from studio.picture.taken_over import take_over
from studio.ui.blocks import QUIET, html_block
from studio.ui.generate import controls as c
from studio.ui.generate import stored_fields
from studio.ui.language import TAGS
from studio.ui.picture_settings import left_out_sentence, note_of, note_of_file
from studio.ui.text import PICTURE_SETTINGS, in_every_language, say, words
from studio.ui.uploads import Uploads, painted_png


def upload(tab: str) -> gr.Image:
    """Where a picture is dropped, pasted or chosen. Gradio's own reading is left out: it would open the file before we
    can say why it is refused."""
    image = gr.Image(
        type="filepath",
        image_mode=None,
        format="png",
        sources=["upload"],
        label=say("image.label"),
        show_label=False,
        placeholder=say("image.placeholder"),
        buttons=[],
        elem_id=f"{tab}-image",
        elem_classes="ls-upload",
    )
    image.preprocess = lambda payload: payload.path if payload is not None else None
    html_block("drop", field=f"{tab}-image", workspace=f"{tab}-workspace")
    html_block("camera", field=f"{tab}-image", words=words("camera"))
    return image


# What decides where a run begins, and so what is shown before it runs.
_BEGINNING = (
    "checkpoint", "scheduler", "noise_schedule", "num_inference_steps", "strength", "seed", "width", "height",
    "resize_mode",
)  # fmt: skip


def view(tab: str) -> gr.HTML:
    """The noised picture that the U-Net starts from, while the strength slider moves."""
    return html_block("start", value={}, tab=tab, words=words("start"), elem_id=f"{tab}-start")


def show_beginning(controls: c.Controls, shown_start: gr.HTML) -> None:
    """Send the view every setting that decides where the run begins. This runs only in the browser."""
    fields = [controls.fields[name] for name in _BEGINNING]
    pairs = ", ".join(f"{name}: v[{k}]" for k, name in enumerate(_BEGINNING))
    gr.on(
        [*(field.change for field in fields), controls.fields["image"].change],
        None,
        fields,
        [shown_start],
        js=f"(...v) => [{{{pairs}}}]",
        **QUIET,
    )


def file_of(path: object) -> bytes:
    """The bytes of an uploaded picture; b"" without one, which `parse` then refuses. Raises InvalidRequest when the
    file has been swept meanwhile."""
    if not path:
        return b""
    try:
        with Path(str(path)).open("rb") as file:
            return file.read(MAX_IMAGE_BYTES + 1)
    except OSError:
        expectation = Message("a picture that is still there; give it again")
        raise InvalidRequest(Problem("image", Message("a file that is gone"), expectation)) from None


def painting_of(painting: object) -> bytes:
    """The bytes of what stands on the live canvas, a picture in base64; b"" while it is closed. Raises
    InvalidRequest."""
    if not isinstance(painting, Mapping) or not painting.get("png"):
        return b""
    try:
        return painted_png(painting["png"])
    except ValueError as error:
        raise InvalidRequest(Problem("image", quoted_value(painting["png"]), str(error))) from None


def mask_of(painting: object) -> bytes:
    """The bytes of the mask that the page has drawn, a PNG in base64; b"" where nothing is painted."""
    if not isinstance(painting, Mapping) or not painting.get("png"):
        return b""
    try:
        return painted_png(painting["png"])
    except ValueError as error:
        raise InvalidRequest(Problem("mask", quoted_value(painting["png"]), str(error))) from None


def offer(tab: str) -> gr.HTML:
    """The line that offers the settings of a tab's picture with a button; empty for a picture without settings."""
    buttons = {
        language: {key: texts[key] for key in ("found", "unread", "take", "more")}
        for language, texts in in_every_language(PICTURE_SETTINGS).items()
    }
    return html_block("offer", value={}, events=("take",), field=f"{tab}-image", words=buttons)


def offer_of_file(file: bytes, models: Sequence[Model]) -> dict[str, Any]:
    """What the line offers from a picture's file: its prompt, its settings, and by language what of them is left out
    and why. It also says how the files that the prompt names differ from those here. {} for a picture without
    settings."""
    taken_over = take_over(file, models)
    if taken_over is None:
        return {}
    # The size in the settings is another picture's; this one has its own.
    settings = {k: v for k, v in taken_over.settings.items() if k not in ("width", "height")}
    prompt, negative_prompt = (str(settings.get(name, "")) for name in ("prompt", "negative_prompt"))
    files = compare_files(file_hashes(file), prompt, negative_prompt, models)
    if settings:
        settings |= {"prompt": files.prompt, "negative_prompt": files.negative_prompt}

    def sentences(language: str) -> list[str]:
        left_out = [left_out_sentence(one, language) for one in taken_over.left_out if one.key != "Size"]
        notes = [note_of(remark, language) for remark in taken_over.remarks]
        return [*left_out, *notes, *(note_of_file(remark, language) for remark in files.remarks)]

    return {"prompt": prompt, "settings": settings, "notes": {one: sentences(one) for one in TAGS}}


def connect(engine: Engine, controls: c.Controls, shown_offer: gr.HTML, uploads: Uploads) -> None:
    """When a picture says how it was made, offer its settings, and use them on a click. A picture that is replaced by
    another is deleted."""

    async def look(path: str | None, request: gr.Request) -> dict[str, Any]:
        uploads.hold(str(request.session_hash), controls.tab, path)
        try:
            models = (await engine.ask(ModelList())).models
            return await asyncio.to_thread(lambda: offer_of_file(file_of(path), models))
        except InvalidRequest:  # the file is gone
            return {}

    def take(event: gr.EventData) -> Any:
        return stored_fields.restore(engine, controls, event._data.get("settings")) or gr.skip()

    controls.fields["image"].change(look, [controls.fields["image"]], [shown_offer], **QUIET)
    shown_offer.take(take, None, stored_fields.reusable(controls), **QUIET)
