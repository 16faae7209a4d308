"""The tab Compare: two axes, a surface of pictures that appears live, and sliders that answer at once.

The form asks for a comparison. Moving over its pictures, comparing two of them and saving them happens in the browser
(static/compare), which asks the server only for a cell that is not done, and to keep one.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from studio.answered.engine import Engine, UnknownJob
from studio.asked.compare import AXIS_FIELDS, MAX_CELLS, AxisField, Surface, given_from_link
from studio.asked.requests import MAX_IMAGE_BYTES, NOISE_SCHEDULES, SCHEDULERS, InvalidRequest
from studio.picture import sheet
from studio.picture.gallery import Gallery, SaveFailed
from studio.ui import picker, session
from studio.ui.compare import surfaces
from studio.ui.drawn import QUIET, WATCHING, drawn
from studio.ui.generate import control, prompt_helper, starting
from studio.ui.generate import widgets as w
from studio.ui.text import say, words
from studio.ui.uploads import Uploads

TAB = "compare"
FIRST_AXES: tuple[AxisField, AxisField] = ("num_inference_steps", "guidance_scale")
SUGGESTED: Mapping[str, str] = {
    "num_inference_steps": "5, 10, 20, 40",
    "guidance_scale": "1, 3, 5, 8",
    "strength": "0.3, 0.5, 0.7, 0.9",
    "lora_weight": "0, 0.5, 1",
    "control_scale": "0, 0.5, 1, 1.5",
    "seed": "1-4",
    "scheduler": "DPM++ 2M, Euler, Euler a, DDIM",
    "noise_schedule": "Normal, Karras, Exponential, Beta",
    "prompt": "",
}


@dataclass(frozen=True)
class Form:
    """The fields of the tab by name: those of a request that the tab offers, and the two axes."""

    fields: Mapping[str, gr.components.Component]
    cost: gr.HTML
    start: gr.Button
    show: gr.HTML
    said: gr.HTML

    @property
    def inputs(self) -> list[gr.components.Component]:
        return list(self.fields.values())

    @property
    def kept(self) -> list[str]:
        """The fields that a reload and a link bring back: all but the pictures, which a visitor chooses themselves."""
        return [name for name in self.fields if name not in ("image", "controls")]

    def given(self, values: Mapping[Any, Any]) -> dict[str, Any]:
        """What `Surface.parse` takes, as it was typed; the picture as its file name."""
        return {name: values[component] for name, component in self.fields.items()}


def build(engine: Engine, gallery: Gallery, uploads: Uploads) -> Form:
    """Draw the tab and connect what stays within it."""
    with gr.Row(elem_classes="ls-desk cmp-desk", elem_id=f"{TAB}-desk"):
        with gr.Column(elem_classes="ls-controls"):
            fields, cost, start, opened = _fields(engine)
        with gr.Column(elem_classes="ls-show"):
            show = drawn(
                "compare",
                value=surfaces.EMPTY,
                events=("stop", "hurry", "keep"),
                words=words("compare"),
                elem_id=f"{TAB}-stage",
                elem_classes="ls-block",
            )
            said = drawn("compareSaid", value={})
    form = Form(fields, cost, start, show, said)
    _connect(engine, gallery, uploads, form, opened)
    return form


def _fields(engine: Engine) -> tuple[dict[str, gr.components.Component], gr.HTML, gr.Button, gr.UploadButton]:
    catalog = engine.catalog()
    chosen = catalog[0] if catalog else None
    made: dict[str, gr.components.Component] = {}
    made["prompt"] = gr.Textbox(
        value="",
        label=say("prompt.label"),
        placeholder=say("prompt.placeholder"),
        lines=2,
        max_lines=6,
        elem_id=f"{TAB}-prompt",
        elem_classes="ls-prompt",
    )
    prompt_helper.build(TAB, chosen)
    for name, first in zip("xy", FIRST_AXES):
        with gr.Row(elem_classes="cmp-axis"):
            choices = [(say(f"compare.axis.{field}"), field) for field in AXIS_FIELDS]
            made[name] = gr.Dropdown(
                choices=choices if name == "x" else [*choices, (say("compare.axis.none"), "")],
                value=first,
                label=say(f"compare.{name}.label"),
                elem_id=f"{TAB}-{name}",
                min_width=110,
            )
            made[f"{name}_values"] = gr.Textbox(
                value=SUGGESTED[first],
                label=say("compare.values.label"),
                info=say("compare.values.help"),
                max_lines=1,
                elem_id=f"{TAB}-{name}_values",
                elem_classes="cmp-values",
                min_width=110,
            )
    cost = drawn("sentence", value="", css="ls-sentence cmp-cost")
    with gr.Accordion(say("compare.picture.label"), open=False, elem_classes="ls-fold cmp-picture"):
        made["image"] = starting.upload(TAB)
        made["strength"] = w.slider(TAB, "strength")
    made["controls"] = control.build(engine, TAB, chosen.name if chosen else None)
    with gr.Accordion(say("compare.rest.label"), open=False, elem_classes="ls-fold"):
        made["negative_prompt"] = gr.Textbox(
            value="",
            label=say("negative_prompt.label"),
            placeholder=say("negative_prompt.placeholder"),
            lines=1,
            max_lines=4,
            elem_id=f"{TAB}-negative_prompt",
        )
        made["checkpoint"] = gr.Dropdown(
            choices=w.checkpoint_choices(catalog),
            value=chosen.name if chosen else None,
            label=say("checkpoint.label"),
            elem_id=f"{TAB}-checkpoint",
        )
        made |= w.suited_sliders(engine, TAB, made["checkpoint"], chosen)
        made["seed"] = gr.Textbox(
            value="",
            label=say("seed.label"),
            info=say("compare.seed.help"),
            placeholder=say("seed.placeholder"),
            max_lines=1,
            elem_id=f"{TAB}-seed",
        )
        for name, table in (
            ("scheduler", {key: facts.label for key, facts in SCHEDULERS.items()}),
            ("noise_schedule", NOISE_SCHEDULES),
        ):
            made[name] = gr.Dropdown(
                choices=[(label, key) for key, label in table.items()],
                value=w.begins_at(TAB, name),
                label=say(f"{name}.label"),
                elem_id=f"{TAB}-{name}",
            )
        with gr.Row(elem_classes="ls-size"):
            for name in ("width", "height"):
                made[name] = gr.Number(
                    value=getattr(chosen, f"native_{name}") if chosen else None,
                    label=say(f"{name}.label"),
                    elem_id=f"{TAB}-{name}",
                    min_width=64,
                    elem_classes="ls-number",
                )
    opened = gr.UploadButton(
        say("compare.open"), file_types=[".png"], size="sm", elem_id=f"{TAB}-open", elem_classes="cmp-open"
    )
    with gr.Row(elem_classes="ls-go"):
        start = gr.Button(
            say("compare.start"), variant="primary", elem_id=f"{TAB}-generate", elem_classes="ls-generate"
        )
        gr.Button(say("stop"), elem_id=f"{TAB}-stop", elem_classes="ls-stop")
    return made, cost, start, opened


# ------------------------------------------------------------------------------------------------------ connecting


def _connect(engine: Engine, gallery: Gallery, uploads: Uploads, form: Form, opened: gr.UploadButton) -> None:
    _connect_start(engine, uploads, form)
    _connect_stage(engine, gallery, form)
    _connect_fields(engine, form, opened)


def _connect_start(engine: Engine, uploads: Uploads, form: Form) -> None:
    # Only the page's script knows which cell is shown; the click says so. Gradio passes the components of a set in the
    # order of their creation, so this one is the last.
    focus = gr.JSON(visible=False)

    async def start(values: dict[Any, Any], request: gr.Request) -> AsyncIterator[Any]:
        given, at = form.given(values), values[focus]
        owner = session.owner_of(request)

        def ask() -> Surface:
            controls = control.given(given["controls"], uploads, str(request.session_hash), TAB)
            return Surface.parse(given | {"image": starting.file_of(given["image"]), "controls": controls})

        async for view in surfaces.run(engine, owner, TAB, ask, at if isinstance(at, int) else 0):
            yield view

    run = form.start.click(
        start,
        {*form.inputs, focus},
        [form.show],
        js="(...v) => [...v.slice(0, -1), Number(document.querySelector('.cmp')?.dataset.focus || 0)]",
        trigger_mode="multiple",
        **WATCHING,
    )
    run.then(_costs(engine, form), set(form.inputs), [form.cost], **QUIET)  # now the model's speed is known


def _costs(engine: Engine, form: Form) -> Callable[[dict[Any, Any]], Awaitable[str]]:
    async def costs(values: dict[Any, Any]) -> str:
        given = form.given(values)  # the cost does not depend on the picture or the map
        controls = control.stand_ins(given["controls"])
        return await surfaces.cost_line(
            engine, given | {"image": b"?" if given["image"] else b"", "controls": controls}
        )

    return costs


def _connect_stage(engine: Engine, gallery: Gallery, form: Form) -> None:
    async def stop(event: gr.EventData, request: gr.Request) -> None:
        with suppress(UnknownJob):
            await engine.cancel(str(event._data.get("job")), owner=session.owner_of(request))

    async def hurry(event: gr.EventData, request: gr.Request) -> None:
        cell = event._data.get("cell")
        with suppress(UnknownJob):
            if isinstance(cell, int):
                await engine.prioritize(str(event._data.get("job")), cell, owner=session.owner_of(request))

    def keep(event: gr.EventData, request: gr.Request) -> dict[str, Any]:
        ids = event._data.get("pictures")
        kept: list[str] = []
        for one in [str(one) for one in ids][:MAX_CELLS] if isinstance(ids, list) else []:
            try:
                if gallery.keep(one, session.owner_of(request)) is None:
                    return {"kept": kept, "message": say("compare.gone")}
            except SaveFailed as error:
                return {"kept": kept, "message": str(error)}
            kept.append(one)
        return {"kept": kept, "message": say("compare.kept", count=len(kept))}

    form.show.stop(stop, None, None, **QUIET)
    form.show.hurry(hurry, None, None, **QUIET)
    form.show.keep(keep, None, [form.said], **QUIET)


def _connect_fields(engine: Engine, form: Form, opened: gr.UploadButton) -> None:
    f = form.fields

    def axis_chosen(axis: str) -> Any:
        return SUGGESTED[axis] if axis in SUGGESTED else _suggested(engine, axis)

    def open_sheet(path: str) -> tuple[Any, ...]:
        try:
            with Path(path).open("rb") as file:
                found = sheet.read(file.read(MAX_IMAGE_BYTES + 1))
        except (InvalidRequest, OSError) as error:
            return *[gr.skip()] * len(form.kept), {"message": str(error)}
        if found is None:
            return *[gr.skip()] * len(form.kept), {"message": say("compare.no_sheet")}
        return *_filled(form, found.link()), {"message": say("compare.opened")}

    picker.aim(engine, TAB, f, next((entry.name for entry in engine.catalog()), None))
    f["checkpoint"].change(lambda name: control.offer(engine, name), [f["checkpoint"]], [f["controls"]], **QUIET)
    for name in "xy":
        f[name].input(axis_chosen, [f[name]], [f[f"{name}_values"]], **QUIET)
    opened.upload(open_sheet, [opened], [*(f[name] for name in form.kept), form.said], **QUIET)
    changed = [field.change for field in form.inputs]
    gr.on(changed, _costs(engine, form), set(form.inputs), [form.cost], trigger_mode="always_last", **QUIET)
    gr.on(changed, **_keeper(form))


def attach(engine: Engine, form: Form, tabs: gr.Tabs, demo: gr.Blocks) -> None:
    """After a (re)load: the fields of a link, or else the stored ones; then the comparison as it is now."""

    def fields_back(kept: object, request: gr.Request) -> tuple[Any, ...]:
        given = given_from_link(dict(request.query_params))
        if given is not None:
            return *_filled(form, {k: str(v) for k, v in given.items()}), gr.Tabs(selected=TAB)
        back = kept if isinstance(kept, Mapping) else {}
        return *(back.get(name, gr.skip()) if _simple(back.get(name)) else gr.skip() for name in form.kept), gr.skip()

    async def surface_back(request: gr.Request) -> AsyncIterator[Any]:
        async for view in surfaces.attach(engine, session.owner_of(request), TAB):
            yield view

    kept = gr.JSON(visible=False)
    back = [form.fields[name] for name in form.kept]
    demo.load(fields_back, [kept], [*back, tabs], js=_READER, **QUIET)
    demo.load(_costs(engine, form), set(form.inputs), [form.cost], **QUIET)
    demo.load(surface_back, None, [form.show], **WATCHING)


def _filled(form: Form, link: Mapping[str, str]) -> list[Any]:
    """Values for every field from a link's parameters; fields that the link leaves out get their default."""
    values: list[Any] = []
    for name in form.kept:
        given: Any = link.get(name)
        if name in ("num_inference_steps", "guidance_scale", "strength", "width", "height") and given is not None:
            try:
                given = float(given)
                given = int(given) if given.is_integer() else given
            except ValueError:
                given = None
        if given is None:
            if name in ("width", "height", "checkpoint"):
                given = gr.skip()
            elif name in ("num_inference_steps", "guidance_scale", "strength", "scheduler", "noise_schedule"):
                given = w.begins_at(TAB, name)
            else:
                given = ""
        values.append(given)
    return values


def _simple(value: object) -> bool:
    return isinstance(value, (str, int, float)) and not isinstance(value, bool)


def _suggested(engine: Engine, axis: str) -> str:
    catalog = engine.catalog()
    if axis == "checkpoint":
        return ", ".join(entry.name for entry in catalog[:4])
    if axis == "size" and catalog:
        width, height = catalog[0].native_width, catalog[0].native_height
        return f"{width}x{height}, {width}x{height * 3 // 4 // 8 * 8}, {width * 3 // 4 // 8 * 8}x{height}"
    return ""


_STORAGE = "latent-studio-compare"
_READER = (
    f"() => {{ window[{json.dumps(_STORAGE)}] = true; "
    f"try {{ return JSON.parse(localStorage.getItem({json.dumps(_STORAGE)})); }} catch {{ return null; }} }}"
)


def _keeper(form: Form) -> dict[str, Any]:
    """As `controls.keeper`: every field is kept in the browser's own storage, whenever one is changed."""
    key = json.dumps(_STORAGE)
    pairs = ", ".join(f"{name}: v[{k}]" for k, name in enumerate(form.kept))
    return {
        "fn": None,
        "js": f"(...v) => {{ if (window[{key}]) localStorage.setItem({key}, JSON.stringify({{{pairs}}})); }}",
        "inputs": [form.fields[name] for name in form.kept],
    }
