"""The fields of a request as Gradio components: one per field, named like the field, ranges from `requests` alone.

A tab gets `Controls`; its handler reads them back with `Controls.given` and hands that to `parse`, the only gate.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import gradio as gr

from studio.answered.engine import Engine
from studio.answered.models import Checkpoint
from studio.asked.requests import CHOICES, KINDS, NOISE_SCHEDULES, PREVIEWS, RANGES, SCHEDULERS, InvalidRequest
from studio.ui.drawn import QUIET, drawn
from studio.ui.generate import control, prompt_helper
from studio.ui.generate.token_line import token_line
from studio.ui.render import strength_sentence
from studio.ui.text import say, words

Marks = tuple[tuple[float, str], ...]  # landmarks under a slider: value and key of the catalogue

LANDMARKS: Mapping[str, Marks] = {
    "strength": ((0.3, "touch"), (0.6, "half"), (0.9, "anew")),
    "hires_scale": ((1, "off"), (1.5, "some"), (2, "double")),
    "hires_strength": ((0.3, "touch"), (0.6, "half"), (0.9, "anew")),
    "variation_strength": ((0, "same"), (0.15, "close"), (0.5, "far")),
}
ASPECTS: Mapping[str, float] = {"square": 1, "landscape": 4 / 3, "portrait": 3 / 4, "wide": 16 / 9, "tall": 9 / 16}
EXAMPLES_SHOWN = 6
AIMED = ("num_inference_steps", "guidance_scale", "scheduler", "noise_schedule")  # at what suits the checkpoint

FILES = ("image", "mask", "controls")  # fields that hold a picture, not a setting


def default_of(tab: str, name: str) -> Any:
    """What a field is when nobody has said anything; a tab is named after its kind of request,
    or (Compare) asks for text to image."""
    return next(f.default for f in fields(KINDS.get(tab, KINDS["image_to_image"])) if f.name == name)


def begins_at(tab: str, name: str, chosen: Checkpoint | None) -> Any:
    """What suits the chosen checkpoint, if there is one, else the field's default."""
    return default_of(tab, name) if chosen is None else getattr(chosen, name)


def slider(tab: str, name: str, step: float, chosen: Checkpoint | None = None) -> gr.Slider:
    """A slider with its landmarks, at what suits the checkpoint if one is given.

    What was typed is handed over as it is, so that a bad number is marked beside its field by the one gate, like all
    others, and not by a message of Gradio's own."""
    allowed = RANGES[name]
    block = gr.Slider(
        minimum=allowed.low,
        maximum=allowed.high,
        value=begins_at(tab, name, chosen),
        step=step,
        label=say(f"{name}.label"),
        info=say(f"{name}.help"),
        elem_id=f"{tab}-{name}",
        elem_classes="ls-slider",
    )
    block.preprocess = lambda payload: payload
    if name in LANDMARKS:
        landmarks(tab, name, LANDMARKS[name])
    return block


def landmarks(tab: str, name: str, marks: Marks) -> gr.HTML:
    """Words under a slider for values worth knowing; a click goes there."""
    return drawn("landmarks", value=told_marks(marks), field=f"{tab}-{name}")


def told_marks(marks: Marks) -> list[tuple[float, str]]:
    """Value and word of each, as `landmarks` shows them."""
    return [(value, say(f"landmark.{key}")) for value, key in marks]


def suited_marks(chosen: Checkpoint | None) -> dict[str, Marks]:
    """Landmarks for steps and guidance scale around what suits the checkpoint: a few-step model is "good" at 4 steps,
    where 25 would be a waste, and harsh at a scale that others need."""
    steps, scale = (begins_at("text_to_image", name, chosen) for name in ("num_inference_steps", "guidance_scale"))
    free: Marks = ((1, "free"),)
    return {
        "num_inference_steps": ((max(1, round(0.4 * steps)), "draft"), (steps, "good"), (2 * steps, "fine")),
        "guidance_scale": (*free, (scale, "balanced"), (round(2.4 * scale), "strict")) if scale > 1 else free,
    }


def suited_sliders(
    engine: Engine, tab: str, checkpoint: gr.Dropdown, chosen: Checkpoint | None
) -> dict[str, gr.Slider]:
    """Steps and guidance scale at what suits `chosen`, and landmarks that follow whatever is chosen later."""
    made, marks = {}, {}
    for (name, first), step in zip(suited_marks(chosen).items(), (1, 0.1), strict=True):
        made[name] = slider(tab, name, step, chosen)
        marks[name] = landmarks(tab, name, first)

    def follow(name: str) -> Any:
        found = next((one for one in engine.catalog() if one.name == name), None)
        return tuple(told_marks(one) for one in suited_marks(found).values())

    checkpoint.change(follow, [checkpoint], list(marks.values()), **QUIET)
    return made


@dataclass(frozen=True)
class Controls:
    """The components of one tab. `fields` has one per field of the request; the rest helps to fill them."""

    tab: str
    fields: Mapping[str, gr.components.Component]
    aspect: gr.Radio
    tokens: gr.HTML
    known: gr.HTML
    seed_random: gr.Button
    seed_last: gr.Button
    generate: gr.Button
    before: gr.State  # the checkpoint that the fields were aimed at last
    strength_note: gr.HTML | None = None

    @property
    def inputs(self) -> set[Any]:
        """What a handler must be given to read every field."""
        return set(self.fields.values())

    def given(self, values: Mapping[Any, Any]) -> dict[str, Any]:
        """The fields by name, as they were typed."""
        return {name: values[component] for name, component in self.fields.items()}


def build(engine: Engine, tab: str, *, starting: Mapping[str, Any] | None = None) -> Controls:
    """Draw the controls of a tab into the current column. `starting`: the components of the pictures it starts from, by
    the name of the field."""
    catalog = engine.catalog()
    chosen = catalog[0] if catalog else None
    made: dict[str, Any] = dict(starting or {})
    image = made.get("image")

    made["prompt"] = gr.Textbox(
        value="",
        label=say("prompt.label"),
        placeholder=say("prompt.placeholder"),
        lines=2,
        max_lines=8,
        autofocus=image is None,
        elem_id=f"{tab}-prompt",
        elem_classes="ls-prompt",
    )
    tokens = drawn("sentence", value="", css="ls-tokens")
    known = prompt_helper.build(tab, chosen)
    with gr.Accordion(say("negative_prompt.label"), open=False, elem_classes="ls-fold"):
        made["negative_prompt"] = gr.Textbox(
            value="",
            show_label=False,
            label=say("negative_prompt.label"),
            placeholder=say("negative_prompt.placeholder"),
            lines=2,
            max_lines=6,
            elem_id=f"{tab}-negative_prompt",
        )
    note = None
    if "mask" in made:
        made |= _mask_fields(tab)
    if image is not None:
        made["strength"] = slider(tab, "strength", 0.01)
        sentence = strength_sentence(begins_at(tab, "num_inference_steps", chosen), default_of(tab, "strength"))
        note = drawn("sentence", value=sentence, css="ls-sentence")
    made["checkpoint"] = gr.Dropdown(
        choices=checkpoint_choices(catalog),
        value=chosen.name if chosen else None,
        label=say("checkpoint.label"),
        elem_id=f"{tab}-checkpoint",
    )
    if image is not None:
        made["resize_mode"] = segments(tab, "resize_mode")
    with gr.Row(elem_classes="ls-size"):
        aspect = gr.Radio(
            choices=[(say(f"aspect.{key}"), key) for key in ASPECTS],
            value="square" if chosen and image is None else None,
            label=say("aspect.label"),
            elem_id=f"{tab}-aspect",
            elem_classes="ls-segments",
        )
        for name in ("width", "height"):
            native = getattr(chosen, f"native_{name}") if chosen and image is None else None
            made[name] = gr.Number(
                value=native,
                label=say(f"{name}.label"),
                elem_id=f"{tab}-{name}",
                min_width=64,
                elem_classes="ls-number",
            )
    made |= suited_sliders(engine, tab, made["checkpoint"], chosen)
    with gr.Row(elem_classes="ls-seed"):
        made["seed"] = gr.Textbox(
            value="",
            label=say("seed.label"),
            info=say("seed.help"),
            placeholder=say("seed.placeholder"),
            max_lines=1,
            elem_id=f"{tab}-seed",
            min_width=120,
        )
        seed_random = gr.Button(say("seed.random"), size="sm", min_width=72, elem_id=f"{tab}-seed-random")
        seed_last = gr.Button(say("seed.last"), size="sm", min_width=90, elem_id=f"{tab}-seed-last")
    if image is None:
        with gr.Accordion(say("hires.label"), open=False, elem_classes="ls-fold"):
            made["hires_scale"] = slider(tab, "hires_scale", 0.25)
            made["hires_upscaler"] = segments(tab, "hires_upscaler")
            made["hires_strength"] = slider(tab, "hires_strength", 0.01)
            made["hires_steps"] = slider(tab, "hires_steps", 1)
    made["controls"] = control.build(engine, tab, chosen.name if chosen else None)
    with gr.Accordion(say("variation.label"), open=False, elem_classes="ls-fold"):
        made["variation_strength"] = slider(tab, "variation_strength", 0.01)
        made["variation_seed"] = gr.Textbox(
            value="",
            label=say("variation_seed.label"),
            info=say("variation_seed.help"),
            placeholder=say("seed.placeholder"),
            max_lines=1,
            elem_id=f"{tab}-variation_seed",
        )
    with gr.Accordion(say("more.label"), open=False, elem_classes="ls-fold"):
        choices = [(facts.label, name) for name, facts in SCHEDULERS.items()]
        made["scheduler"] = _dropdown(tab, "scheduler", choices)
        made["noise_schedule"] = _dropdown(tab, "noise_schedule", schedule_choices(default_of(tab, "scheduler")))
        made["num_images_per_prompt"] = slider(tab, "num_images_per_prompt", 1)
        made["preview"] = _dropdown(tab, "preview", [(label, name) for name, label in PREVIEWS.items()])
        made["exact"] = gr.Checkbox(value=default_of(tab, "exact"), label=say("exact.label"), elem_id=f"{tab}-exact")
    with gr.Row(elem_classes="ls-go"):
        generate = gr.Button(say("generate"), variant="primary", elem_id=f"{tab}-generate", elem_classes="ls-generate")
        # Its clicks are the stage's (stage.js): which run is meant is known there alone.
        gr.Button(say("stop"), elem_id=f"{tab}-stop", elem_classes="ls-stop")
    before = gr.State(chosen.name if chosen else None)
    return Controls(tab, made, aspect, tokens, known, seed_random, seed_last, generate, before, note)


def _mask_fields(tab: str) -> dict[str, Any]:
    """What a masked run asks for beside the mask itself."""
    made: dict[str, Any] = {name: segments(tab, name) for name in ("inpaint_area", "mask_fill")}
    with gr.Accordion(say("extend.label"), open=False, elem_classes="ls-fold"), gr.Row(elem_classes="ls-extend"):
        for name in ("extend_left", "extend_right", "extend_up", "extend_down"):
            made[name] = gr.Number(
                value=default_of(tab, name),
                label=say(f"{name}.label"),
                elem_id=f"{tab}-{name}",
                min_width=64,
                elem_classes="ls-number",
            )
    with gr.Accordion(say("seam.label"), open=False, elem_classes="ls-fold"):
        made["mask_blur"] = slider(tab, "mask_blur", 1)
        made["padding"] = slider(tab, "padding", 1)
    return made


def example_prompts(engine: Engine, tab: str) -> gr.HTML:
    """Prompts that work well with the first checkpoint; a click types one."""
    catalog = engine.catalog()
    shown = list(catalog[0].examples[:EXAMPLES_SHOWN]) if catalog else []
    return drawn("examples", value=shown, field=f"{tab}-prompt", words=words("prompts"))


def segments(tab: str, name: str) -> gr.Radio:
    """A field that takes one of a few names, all in sight."""
    return gr.Radio(
        choices=[(label, short) for short, label in CHOICES[name].items()],
        value=default_of(tab, name),
        label=say(f"{name}.label"),
        info=say(f"{name}.help"),
        elem_id=f"{tab}-{name}",
        elem_classes="ls-segments",
    )


def _dropdown(tab: str, name: str, choices: list[tuple[str, str]]) -> gr.Dropdown:
    label, info = say(f"{name}.label"), say(f"{name}.help")
    return gr.Dropdown(choices=choices, value=default_of(tab, name), label=label, info=info, elem_id=f"{tab}-{name}")


# ------------------------------------------------------------------------------------- what one field asks of others


def checkpoint_choices(catalog: tuple[Checkpoint, ...]) -> list[tuple[str, str]]:
    """Label and name of every installed checkpoint."""
    return [(f"{c.label} · {c.family}", c.name) for c in catalog]


def schedule_choices(scheduler: str) -> list[tuple[str, str]]:
    """The noise schedules this scheduler can run."""
    return [(NOISE_SCHEDULES[name], name) for name in SCHEDULERS[scheduler].noise_schedules]


def size_for(aspect: str, native_width: int, native_height: int) -> tuple[int, int]:
    """Width and height of this aspect with about as many pixels as the native size, on the grid of the ranges."""
    grid = 64 if native_width * native_height >= 512 * 512 else 8
    area, ratio = native_width * native_height, ASPECTS[aspect] * native_width / native_height
    allowed = RANGES["width"]
    size = (round((area * ratio) ** 0.5 / grid) * grid, round((area / ratio) ** 0.5 / grid) * grid)
    return tuple(int(min(max(side, allowed.low), allowed.high)) for side in size)  # type: ignore[return-value]


def aimed(tab: str, found: Checkpoint, before: Checkpoint | None, now: Mapping[str, Any]) -> dict[str, Any]:
    """What the fields should become when `found` is chosen after `before`: a field that still stands where `before`
    aimed it, or where every field begins, goes to what suits `found`; one that was changed stays."""
    untouched = {name: {default_of(tab, name)} for name in AIMED}
    for name in AIMED if before is not None else ():
        untouched[name].add(getattr(before, name))
    aims = {name: getattr(found, name) for name in AIMED if now[name] in untouched[name]}
    if "scheduler" not in aims or "noise_schedule" not in aims:  # the two belong together
        aims = {name: value for name, value in aims.items() if name not in ("scheduler", "noise_schedule")}
    size = now["width"], now["height"]
    presets = {size_for(a, before.native_width, before.native_height): a for a in ASPECTS} if before else {}
    if size in presets:
        aims["width"], aims["height"] = size_for(presets[size], found.native_width, found.native_height)
    return aims


def connect(engine: Engine, controls: Controls, examples: gr.HTML) -> None:
    """Let the fields answer each other, and be kept in the browser whenever one is changed."""
    f = controls.fields

    def scheduler_chosen(scheduler: str, noise_schedule: str) -> Any:
        fits = noise_schedule in SCHEDULERS[scheduler].noise_schedules
        return gr.update(choices=schedule_choices(scheduler), value=noise_schedule if fits else "automatic")

    def checkpoint_chosen(values: dict[Any, Any]) -> dict[Any, Any]:
        now = {name: values[f[name]] for name in ("checkpoint", *AIMED, "width", "height")}
        catalog = {c.name: c for c in engine.catalog()}
        found, before = catalog.get(now["checkpoint"]), catalog.get(values[controls.before])
        if found is None:
            return {}
        aims = aimed(controls.tab, found, before, now)
        if "image" in f:  # a picture's own size is what image to image starts from
            aims = {name: value for name, value in aims.items() if name in AIMED}
        updates = {f[name]: value for name, value in aims.items()}
        if "scheduler" in aims:
            schedules = schedule_choices(found.scheduler)
            updates[f["noise_schedule"]] = gr.update(choices=schedules, value=found.noise_schedule)
        if "width" in aims:
            updates[controls.aspect] = _aspect_of(aims["width"], aims["height"])
        shown = {controls.known: prompt_helper.offer(found), examples: list(found.examples[:EXAMPLES_SHOWN])}
        return updates | shown | {controls.before: found.name}

    def aspect_chosen(aspect: str | None, checkpoint: str) -> tuple[Any, Any]:
        found = next((c for c in engine.catalog() if c.name == checkpoint), None)
        if aspect is None or found is None:
            return gr.skip(), gr.skip()
        return size_for(aspect, found.native_width, found.native_height)

    async def prompt_typed(checkpoint: str, prompt: str, negative_prompt: str) -> str:
        return await token_line(engine, checkpoint, prompt, negative_prompt)

    f["scheduler"].input(
        scheduler_chosen,
        [f["scheduler"], f["noise_schedule"]],
        [f["noise_schedule"]],
        **QUIET,
    )
    sizes = [f[name] for name in ("width", "height")]
    f["checkpoint"].input(
        checkpoint_chosen,
        {f["checkpoint"], *(f[name] for name in AIMED), *sizes, controls.before},
        [*(f[name] for name in AIMED), *sizes, controls.aspect, controls.known, examples, controls.before],
        **QUIET,
    )
    controls.aspect.input(aspect_chosen, [controls.aspect, f["checkpoint"]], [f["width"], f["height"]], **QUIET)
    for name in ("width", "height"):
        f[name].input(lambda: None, None, [controls.aspect], **QUIET)
    f["checkpoint"].change(lambda name: control.offer(engine, name), [f["checkpoint"]], [f["controls"]], **QUIET)
    gr.on(
        [f["prompt"].change, f["negative_prompt"].change],
        prompt_typed,
        [f["checkpoint"], f["prompt"], f["negative_prompt"]],
        [controls.tokens],
        trigger_mode="always_last",
        **QUIET,
    )
    controls.seed_random.click(lambda: "", None, [f["seed"]], **QUIET)
    if controls.strength_note is not None:
        gr.on(
            [f["strength"].change, f["num_inference_steps"].change],
            strength_sentence,
            [f["num_inference_steps"], f["strength"]],
            [controls.strength_note],
            trigger_mode="always_last",
            **QUIET,
        )
    gr.on([f[name].change for name in kept_names(controls)], **keeper(controls))


# ---------------------------------------------------------------------------------------- keeping and giving back


def kept_names(controls: Controls) -> list[str]:
    """The fields that survive a reload: all but the uploaded pictures."""
    return [name for name in controls.fields if name not in FILES]


def keeper(controls: Controls) -> dict[str, Any]:
    """Arguments of an event that keeps every field in the browser's own storage; it runs there alone.

    Not gr.BrowserState: in 6.31 it loses the first value that is set after the page has loaded (measured).
    """
    names = kept_names(controls)
    pairs = ", ".join(f"{name}: v[{k}]" for k, name in enumerate(names))
    key = json.dumps(storage_key(controls))
    return {
        "fn": None,
        # What changes before the kept fields have been read back is not a visitor's doing.
        "js": f"(...v) => {{ if (window[{key}]) localStorage.setItem({key}, JSON.stringify({{{pairs}}})); }}",
        "inputs": [controls.fields[name] for name in names],
    }


def reader(controls: Controls) -> str:
    """The script that reads what `keeper` kept; null where there is nothing."""
    key = json.dumps(storage_key(controls))
    parse = f"try {{ return JSON.parse(localStorage.getItem({key})); }} catch {{ return null; }}"
    return f"() => {{ window[{key}] = true; {parse} }}"


def storage_key(controls: Controls) -> str:
    """Where the browser keeps this tab's fields."""
    return f"latent-studio-{controls.tab}"


def reusable(controls: Controls) -> list[Any]:
    """Everything `restored` may update: the outputs of whatever calls it."""
    return [*(controls.fields[name] for name in kept_names(controls)), controls.aspect, controls.before]


def restored(engine: Engine, controls: Controls, given: object) -> dict[Any, Any]:
    """Updates for the fields from kept or reused settings. What is not allowed any more keeps its present value."""
    if not isinstance(given, Mapping):
        return {}
    f = controls.fields
    updates: dict[Any, Any] = {}
    for name in kept_names(controls):
        if name in given and _allowed(engine, name, given[name]):
            updates[f[name]] = given[name]
    scheduler = updates.get(f["scheduler"])
    if scheduler is not None:
        schedule = updates.get(f["noise_schedule"], "automatic")
        fits = schedule in SCHEDULERS[scheduler].noise_schedules
        choices = schedule_choices(scheduler)
        updates[f["noise_schedule"]] = gr.update(choices=choices, value=schedule if fits else "automatic")
    if f["width"] in updates and f["height"] in updates:
        updates[controls.aspect] = _aspect_of(updates[f["width"]], updates[f["height"]])
    if f["checkpoint"] in updates:
        updates[controls.before] = updates[f["checkpoint"]]
    return updates


def _allowed(engine: Engine, name: str, value: object) -> bool:
    if name == "checkpoint":
        return value in {c.name for c in engine.catalog()}
    kind = next(k for k in KINDS.values() if name in {f.name for f in fields(k)})
    files = {name: b"?" for name in getattr(kind, "picture_fields", ())}
    try:
        kind.parse({"prompt": ""} | files | {name: value})
    except InvalidRequest as error:
        return any(p.field != name for p in error.problems)  # a pair that does not fit is for the next Generate to say
    return True


def _aspect_of(width: object, height: object) -> str | None:
    if not isinstance(width, (int, float)) or not isinstance(height, (int, float)) or not height:
        return None
    return next((name for name, ratio in ASPECTS.items() if abs(width / height - ratio) < 0.001), None)
