"""The fields of Compare: those of a request that the tab offers, and the two axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from studio.answered.engine import Engine
from studio.asked.axes import AxisField
from studio.asked.compare import FORM_ROWS
from studio.asked.schedulers import NOISE_SCHEDULES
from studio.ui.blocks import html_block
from studio.ui.compare import axes
from studio.ui.generate import control, guidance, prompt_helper, starting, token_line
from studio.ui.generate import widgets as w
from studio.ui.render import choice
from studio.ui.text import say, words

TAB = "compare"
FIRST_AXES: tuple[AxisField, AxisField] = ("num_inference_steps", "guidance_scale")


@dataclass(frozen=True)
class Form:
    """The fields of the tab by name: those of a request that the tab offers, and the two axes. `before`: by axis, which
    field it varied when its values were written."""

    fields: Mapping[str, gr.components.Component]
    before: Mapping[str, gr.State]
    cost: gr.HTML
    start: gr.Button
    show: gr.HTML
    status: gr.HTML

    @property
    def inputs(self) -> list[gr.components.Component]:
        return list(self.fields.values())

    @property
    def restorable_names(self) -> list[str]:
        """The fields that a reload and a link bring back: all but the pictures, which a visitor chooses themselves."""
        return [name for name in self.fields if name not in ("image", "controls")]

    @property
    def outputs(self) -> list[gr.components.Component]:
        """The outputs of whatever writes settings into the form."""
        return [*(self.fields[name] for name in self.restorable_names), *self.before.values()]

    def typed_values(self, values: Mapping[Any, Any]) -> dict[str, Any]:
        """What `Comparison.parse` takes, as it was typed; the picture as its file name. A number field that was never
        filled in comes as 0 from Gradio: where the checkpoint decides, that is an open field."""
        values_by_name = {name: values[component] for name, component in self.fields.items()}
        suits = {name for name, row in FORM_ROWS.items() if row.suits}
        return {name: (value or None) if name in suits else value for name, value in values_by_name.items()}


def build_fields(engine: Engine) -> tuple[dict[str, gr.components.Component], gr.HTML, gr.Button, gr.UploadButton]:
    """Draw them. Returns the components by field, the line of the cost, Start, and what opens a sheet."""
    catalog = engine.catalog()
    checkpoint = catalog[0] if catalog else None
    components: dict[str, gr.components.Component] = {}
    components["prompt"] = gr.Textbox(
        value="",
        label=say("prompt.label"),
        placeholder=say("prompt.placeholder"),
        lines=2,
        max_lines=6,
        elem_id=f"{TAB}-prompt",
        elem_classes="ls-prompt",
    )
    tokens = token_line.build(TAB)
    prompt_helper.build(TAB, checkpoint)
    html_block("drawer", field=f"{TAB}-prompt", negative=f"{TAB}-negative_prompt", words=words("drawer"))
    choices = axes.choices(prompts="", picture=False, controls=False, models=len(catalog))
    for name, first in zip("xy", FIRST_AXES):
        with gr.Row(elem_classes="cmp-axis"):
            components[name] = gr.Dropdown(
                choices=choices if name == "x" else [*choices, no_axis()],
                value=first,
                label=say(f"compare.{name}.label"),
                elem_id=f"{TAB}-{name}",
                min_width=110,
            )
            components[f"{name}_values"] = gr.Textbox(
                value=axes.SUGGESTIONS[first],
                label=say("compare.values.label"),
                info=axes.help_of(first),
                max_lines=1,
                elem_id=f"{TAB}-{name}_values",
                elem_classes="cmp-values",
                min_width=110,
            )
    cost = html_block("sentence", value="", css="ls-sentence cmp-cost")
    with gr.Accordion(say("compare.picture.label"), open=False, elem_classes="ls-fold cmp-picture"):
        components["image"] = starting.upload(TAB)
        components |= _components("strength")
    components["controls"] = control.build(engine, TAB, checkpoint.name if checkpoint else None)
    with gr.Accordion(say("compare.rest.label"), open=False, elem_classes="ls-fold"):
        components["negative_prompt"] = gr.Textbox(
            value="",
            label=say("negative_prompt.label"),
            placeholder=say("negative_prompt.placeholder"),
            lines=1,
            max_lines=4,
            elem_id=f"{TAB}-negative_prompt",
        )
        components["checkpoint"] = gr.Dropdown(
            choices=w.checkpoint_choices(catalog),
            value=checkpoint.name if checkpoint else None,
            label=say("checkpoint.label"),
            elem_id=f"{TAB}-checkpoint",
        )
        components |= w.suited_sliders(engine, TAB, components["checkpoint"], checkpoint)[0]
        components |= _components("seed") | _components("variation") | _components("more")
        components["seed"].info = say("compare.seed.help")
        # All of them: the scheduler may be an axis.
        components["noise_schedule"].choices = [(choice("noise_schedule", name), name) for name in NOISE_SCHEDULES]
        with gr.Row(elem_classes="ls-size"):
            components |= _components("size")
            for name in ("width", "height"):
                components[name].value = getattr(checkpoint, f"native_{name}") if checkpoint else None
    token_line.connect(engine, TAB, tokens, components)
    components |= guidance.build(TAB)
    upload = gr.UploadButton(
        say("compare.open"), file_types=[".png"], size="sm", elem_id=f"{TAB}-open", elem_classes="cmp-open"
    )
    with gr.Row(elem_classes="ls-go"):
        start = gr.Button(
            say("compare.start"), variant="primary", elem_id=f"{TAB}-generate", elem_classes="ls-generate"
        )
        gr.Button(say("stop"), elem_id=f"{TAB}-stop", elem_classes="ls-stop")
    return components, cost, start, upload


def _components(place: str) -> dict[str, Any]:
    """The components of the fields that Compare has at one place of the page, in the table's order."""
    return {name: w.component(TAB, row) for name, row in FORM_ROWS.items() if row.place == place}


def no_axis() -> tuple[str, str]:
    """What the second axis offers besides the fields: none."""
    return say("compare.axis.none"), ""
