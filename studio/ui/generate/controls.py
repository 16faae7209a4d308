"""The fields of a request on the page: one component per row of the table, each at its place.

A tab gets `Controls`; its handler reads them with `Controls.typed_values` and passes the values to `parse`, which
checks them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from studio.answered.engine import Engine
from studio.answered.models import Checkpoint
from studio.asked.requests import ROWS
from studio.ui.blocks import html_block
from studio.ui.generate import control, guidance, noise, prompt_helper, token_line, upscaler, vae
from studio.ui.generate.widgets import begins_at, checkpoint_choices, section, suited_sliders
from studio.ui.queue import panel as queue
from studio.ui.render import strength_sentence
from studio.ui.text import say, words

ASPECTS: Mapping[str, float] = {"square": 1, "landscape": 4 / 3, "portrait": 3 / 4, "wide": 16 / 9, "tall": 9 / 16}
MAX_EXAMPLES = 6
# Fields that hold a picture, not a setting.
FILES = tuple(name for name, row in ROWS.items() if row.kind in ("file", "controls"))


@dataclass(frozen=True)
class Controls:
    """The components of one tab. `fields` has one per field of the request; the rest helps to fill them."""

    tab: str
    fields: Mapping[str, gr.components.Component]
    aspect: gr.Radio
    tokens: gr.HTML
    known_words: gr.HTML
    seed_random: gr.Button
    seed_last: gr.Button
    generate: gr.Button
    before: gr.State  # the checkpoint whose defaults the fields got last
    presets: gr.HTML
    strength_sentence: gr.HTML | None = None
    fast: gr.Checkbox | None = None  # see fast.py
    painting: gr.HTML | None = None  # the live canvas; while it is open, its value takes the place of the picture

    @property
    def inputs(self) -> set[Any]:
        """The components that a handler needs to read every field."""
        return {*self.fields.values(), *([self.painting] if self.painting is not None else [])}

    def typed_values(self, values: Mapping[Any, Any]) -> dict[str, Any]:
        """The fields by name, as they were typed. Gradio sends a number field that was never filled in as 0: where the
        checkpoint decides, that is an open field."""
        texts = {name: values[component] for name, component in self.fields.items()}
        return {name: (value or None) if ROWS[name].suits else value for name, value in texts.items()}


def build(engine: Engine, tab: str, *, starting: Mapping[str, Any] | None = None) -> Controls:
    """Draw the controls of a tab into the current column. `starting`: the components of the pictures it starts from, by
    the name of the field."""
    catalog = engine.catalog()
    checkpoint = catalog[0] if catalog else None
    components: dict[str, Any] = dict(starting or {})
    image = components.get("image")

    components["prompt"] = gr.Textbox(
        value="",
        label=say("prompt.label"),
        placeholder=say("prompt.placeholder"),
        lines=2,
        max_lines=8,
        autofocus=image is None,
        elem_id=f"{tab}-prompt",
        elem_classes="ls-prompt",
    )
    tokens = token_line.build(tab)
    helper = prompt_helper.build(tab, checkpoint)
    with gr.Accordion(say("negative_prompt.label"), open=False, elem_id=f"{tab}-negative_fold", elem_classes="ls-fold"):
        components["negative_prompt"] = gr.Textbox(
            value="",
            show_label=False,
            label=say("negative_prompt.label"),
            placeholder=say("negative_prompt.placeholder"),
            lines=2,
            max_lines=6,
            elem_id=f"{tab}-negative_prompt",
        )
    if image is None:  # the other tabs have a place for a picture, which offers its settings too
        html_block("settingsButton", words=words("picture_sheet"))
    html_block("drawer", field=f"{tab}-prompt", negative=f"{tab}-negative_prompt", words=words("drawer"))
    html_block(
        "styles",
        field=f"{tab}-prompt",
        negative=f"{tab}-negative_prompt",
        fold=f"{tab}-negative_fold",
        words=words("styles"),
    )
    sentence_block = None
    if "mask" in components:
        components |= _mask_fields(tab)
    if image is not None:
        components |= section(tab, "strength")
        sentence = strength_sentence(begins_at(tab, "num_inference_steps", checkpoint), begins_at(tab, "strength"))
        sentence_block = html_block("sentence", value=sentence, css="ls-sentence")
    components["checkpoint"] = gr.Dropdown(
        choices=checkpoint_choices(catalog),
        value=checkpoint.name if checkpoint else None,
        label=say("checkpoint.label"),
        elem_id=f"{tab}-checkpoint",
    )
    presets = html_block(
        "presets",
        events=("put", "collect"),
        tab=tab,
        checkpoint=f"{tab}-checkpoint",
        words=words("presets"),
        elem_id=f"{tab}-presets",
    )
    if image is not None:
        components |= section(tab, "resize")
    with gr.Row(elem_classes="ls-size"):
        aspect = gr.Radio(
            choices=[(say(f"aspect.{key}"), key) for key in ASPECTS],
            value="square" if checkpoint and image is None else None,
            label=say("aspect.label"),
            elem_id=f"{tab}-aspect",
            elem_classes="ls-segments",
        )
        components |= section(tab, "size")
        for name in ("width", "height"):
            components[name].value = begins_at(tab, name, checkpoint) if checkpoint and image is None else None
    draw_switch = partial(fast_switch, tab, checkpoint) if "mask" not in components else None
    suited, fast = suited_sliders(engine, tab, components["checkpoint"], checkpoint, draw_switch)
    components |= suited
    with gr.Row(elem_classes="ls-seed"):
        components |= section(tab, "seed")
        seed_random = gr.Button(say("seed.random"), size="sm", min_width=72, elem_id=f"{tab}-seed-random")
        seed_last = gr.Button(say("seed.last"), size="sm", min_width=90, elem_id=f"{tab}-seed-last")
    if image is None:
        components["upscale"] = upscaler.build_finishing(engine, tab, checkpoint.name if checkpoint else None)
        with gr.Accordion(say("hires.label"), open=False, elem_classes="ls-fold") as hires:
            components |= section(tab, "hires")
            components["upscaler_name"] = upscaler.build(engine, tab, checkpoint.name if checkpoint else None)
            with gr.Accordion(say("hires_own.label"), open=False, elem_classes="ls-fold"):
                components |= section(tab, "hires_own")
        upscaler.connect(engine, components, hires)
    components["controls"] = control.build(engine, tab, checkpoint.name if checkpoint else None)
    with gr.Accordion(say("variation.label"), open=False, elem_classes="ls-fold"):
        components |= section(tab, "variation")
    with gr.Accordion(say("more.label"), open=False, elem_classes="ls-fold") as more:
        components |= section(tab, "more")
        components["vae_name"] = vae.build(engine, tab, checkpoint.name if checkpoint else None)
    vae.connect(engine, components, more)
    components |= guidance.build(tab)
    fold, noise_fields = noise.build(tab)
    components |= noise_fields
    noise.connect(fold, components)
    queue.build(tab)
    with gr.Row(elem_classes="ls-go"):
        generate = gr.Button(say("generate"), variant="primary", elem_id=f"{tab}-generate", elem_classes="ls-generate")
        # The stage (stage.js) handles its clicks: only it knows which run is meant.
        gr.Button(say("stop"), elem_id=f"{tab}-stop", elem_classes="ls-stop")
    before = gr.State(checkpoint.name if checkpoint else None)
    return Controls(
        tab, components, aspect, tokens, helper, seed_random, seed_last, generate, before, presets, sentence_block, fast
    )


def fast_switch(tab: str, checkpoint: Checkpoint | None) -> gr.Checkbox:
    """The switch of fast.py, out of sight for a checkpoint that has no LoRA for it."""
    return gr.Checkbox(
        value=False,
        label=say("fast.label"),
        info=say("fast.help"),
        visible=checkpoint is not None and bool(checkpoint.fast_lora),
        elem_id=f"{tab}-fast",
        elem_classes="ls-live",
    )


def _mask_fields(tab: str) -> dict[str, Any]:
    """The fields of a masked run beside the mask itself."""
    components = section(tab, "mask")
    with gr.Accordion(say("extend.label"), open=False, elem_classes="ls-fold"), gr.Row(elem_classes="ls-extend"):
        components |= section(tab, "extend")
    with gr.Accordion(say("seam.label"), open=False, elem_classes="ls-fold"):
        components |= section(tab, "seam")
    return components


def example_prompts(engine: Engine, tab: str) -> gr.HTML:
    """Prompts that work well with the first checkpoint; a click inserts one."""
    catalog = engine.catalog()
    prompts = list(catalog[0].examples[:MAX_EXAMPLES]) if catalog else []
    return html_block("examples", value=prompts, field=f"{tab}-prompt", words=words("prompts"))
