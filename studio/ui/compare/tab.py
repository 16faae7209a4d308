"""The tab Compare: two axes, pictures that appear live, and sliders that answer at once.

The form asks for a comparison. Moving over its pictures, comparing two of them and saving them happens in the browser
(the scripts in static), which asks the server only for a cell that is not done, and to keep one.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from functools import reduce
from pathlib import Path
from typing import Any

import gradio as gr

from studio.answered.engine import Engine, UnknownJob
from studio.asked.axes import MAX_CELLS
from studio.asked.compare import FORM_ROWS, Comparison, fields_of_link, outside_the_form
from studio.asked.problems import MAX_IMAGE_BYTES, InvalidRequest
from studio.picture import sheet
from studio.picture.gallery import Gallery, SaveFailed
from studio.ui import keeping, picker, session
from studio.ui.blocks import FOLLOWING, QUIET, WATCHING, html_block
from studio.ui.compare import axes, views
from studio.ui.compare.around import comparison_around
from studio.ui.compare.form import FIRST_AXES, TAB, Form, build_fields, no_axis
from studio.ui.generate import control, starting
from studio.ui.generate import widgets as w
from studio.ui.render import choice
from studio.ui.text import say, words
from studio.ui.uploads import Uploads

STORAGE = f"latent-studio-{TAB}"  # where the browser keeps the fields
STATIC = Path(__file__).parents[1] / "static"
SAMPLE = "sample_comparison.json"  # of a first visit, made by training/make_sample.py


def build(engine: Engine, gallery: Gallery, uploads: Uploads) -> Form:
    """Draw the tab and connect what stays within it."""
    with gr.Row(elem_classes="ls-workspace", elem_id=f"{TAB}-workspace"):
        with gr.Column(elem_classes="ls-controls"):
            fields, cost, start, upload = build_fields(engine)
        with gr.Column(elem_classes="ls-show"):
            show = html_block(
                "compare",
                value=views.EMPTY,
                events=("stop", "again", "prioritize", "keep"),
                words=words("compare"),
                sample=f"/studio-static/{SAMPLE}" if (STATIC / SAMPLE).is_file() else "",
                elem_id=f"{TAB}-stage",
                elem_classes="ls-block",
            )
            message = html_block("compareStatus", value={})
    form = Form(fields, {name: gr.State(first) for name, first in zip("xy", FIRST_AXES)}, cost, start, show, message)
    _connect(engine, gallery, uploads, form, upload)
    return form


# ------------------------------------------------------------------------------------------------------ connecting


def _connect(engine: Engine, gallery: Gallery, uploads: Uploads, form: Form, upload: gr.UploadButton) -> None:
    _connect_start(engine, uploads, form)
    _connect_stage(engine, gallery, form)
    _connect_fields(engine, form, upload)


def _connect_start(engine: Engine, uploads: Uploads, form: Form) -> None:
    # Only the page's script knows which cell is shown; the click says so. Gradio passes the components of a set in the
    # order of their creation, so this one is the last.
    focus = gr.JSON(visible=False)

    async def start(values: dict[Any, Any], request: gr.Request) -> AsyncIterator[Any]:
        typed_values, at = form.typed_values(values), values[focus]
        owner = session.owner_of(request)

        def ask() -> Comparison:
            controls = control.controls_of(typed_values["controls"], uploads, str(request.session_hash), TAB)
            return Comparison.parse(
                typed_values | {"image": starting.file_of(typed_values["image"]), "controls": controls}
            )

        async for view in views.run(engine, owner, TAB, ask, at if isinstance(at, int) else None):
            yield view

    run = form.start.click(
        start,
        {*form.inputs, focus},
        [form.show],
        js="(...v) => [...v.slice(0, -1), JSON.parse(document.querySelector('.cmp')?.dataset.focus || 'null')]",
        trigger_mode="multiple",
        **WATCHING,
    )
    run.then(_costs(engine, form), set(form.inputs), [form.cost], **QUIET)  # now the model's speed is known


def _costs(engine: Engine, form: Form) -> Callable[[dict[Any, Any]], Awaitable[str]]:
    async def costs(values: dict[Any, Any]) -> str:
        typed_values = form.typed_values(values)  # the cost does not depend on the picture or the map
        controls = control.stand_ins(typed_values["controls"])
        return await views.cost_line(
            engine, typed_values | {"image": b"?" if typed_values["image"] else b"", "controls": controls}
        )

    return costs


def _connect_stage(engine: Engine, gallery: Gallery, form: Form) -> None:
    async def stop(event: gr.EventData, request: gr.Request) -> None:
        with suppress(UnknownJob):
            await engine.cancel(str(event._data.get("job")), owner=session.owner_of(request))

    async def raise_priority(event: gr.EventData, request: gr.Request) -> None:
        cell = event._data.get("cell")
        with suppress(UnknownJob):
            if isinstance(cell, int):
                await engine.prioritize(str(event._data.get("job")), cell, owner=session.owner_of(request))

    def keep(event: gr.EventData, request: gr.Request) -> dict[str, Any]:
        ids = event._data.get("pictures")
        names: list[str] = []
        for one in [str(one) for one in ids][:MAX_CELLS] if isinstance(ids, list) else []:
            try:
                if gallery.keep(one, session.owner_of(request)) is None:
                    return {"pictures": names, "message": say("compare.gone")}
            except SaveFailed as error:
                return {"pictures": names, "message": str(error)}
            names.append(one)
        return {"pictures": names, "message": say("compare.kept", count=len(names))}

    async def again(event: gr.EventData, request: gr.Request) -> AsyncIterator[Any]:
        async for view in views.run_again(engine, session.owner_of(request), TAB, str(event._data.get("job"))):
            yield view

    form.show.stop(stop, None, None, **QUIET)
    form.show.again(again, None, [form.show], trigger_mode="multiple", **WATCHING)
    form.show.prioritize(raise_priority, None, None, **QUIET)
    form.show.keep(keep, None, [form.status], **QUIET)


def _connect_fields(engine: Engine, form: Form, upload: gr.UploadButton) -> None:
    f = form.fields

    def there(values: dict[Any, Any]) -> dict[str, Any]:
        typed_values = form.typed_values(values)
        return {
            "prompts": f"{typed_values['prompt'] or ''}\n{typed_values['negative_prompt'] or ''}",
            "picture": bool(typed_values["image"]),
            "controls": bool(control.stand_ins(typed_values["controls"])),
            "models": len(engine.catalog()),
        }

    def chooser(name: str) -> Callable[[dict[Any, Any]], Any]:
        field, before = f[name], form.before[name]

        def choose_axis(values: dict[Any, Any]) -> Any:
            axis = values[field]
            if axis == values[before]:  # Gradio's list tells an input whenever it is left, chosen from or not
                return gr.skip()  # an empty dict is an error
            needs = axes.needs(**there(values)).get(axis)
            if needs:  # by the keyboard: the list has it in grey
                message = say("compare.axis.refused", name=say(f"compare.axis.{axis}"), needs=needs)
                return {field: values[before], form.status: {"problems": [{"field": name, "message": message}]}}
            suggestion = gr.update(value=axes.suggestion(engine, axis), info=axes.help_of(axis))
            return {f[f"{name}_values"]: suggestion, before: axis}

        return choose_axis

    def offer_axes(values: dict[Any, Any]) -> tuple[Any, Any]:
        choices = axes.choices(**there(values))
        return gr.update(choices=choices), gr.update(choices=[*choices, no_axis()])

    def open_sheet(path: str) -> dict[Any, Any]:
        try:
            with Path(path).open("rb") as file:
                comparison = sheet.read(file.read(MAX_IMAGE_BYTES + 1))
        except (InvalidRequest, OSError) as error:
            return {form.status: {"message": str(error)}}
        if comparison is None:
            return {form.status: {"message": say("compare.no_sheet")}}
        return _updates(form, _values_of_link(form, comparison.link())) | {
            form.status: {"message": opening_sentence(comparison)}
        }

    picker.aim(engine, TAB, f, next((entry.name for entry in engine.catalog()), None))
    f["checkpoint"].change(lambda name: control.offer(engine, name), [f["checkpoint"]], [f["controls"]], **QUIET)
    for name in "xy":
        outputs = [f[name], f[f"{name}_values"], form.before[name], form.status]
        f[name].input(chooser(name), {*form.inputs, form.before[name]}, outputs, **FOLLOWING)
    upload.upload(open_sheet, [upload], [*form.outputs, form.status], **QUIET)
    changes_of_axes = [f[name].change for name in ("prompt", "negative_prompt", "image", "controls", "checkpoint")]
    gr.on(changes_of_axes, offer_axes, set(form.inputs), [f["x"], f["y"]], **FOLLOWING)
    changes = [field.change for field in form.inputs]
    gr.on(changes, _costs(engine, form), set(form.inputs), [form.cost], **FOLLOWING)
    gr.on(changes, **keeping.keeper(STORAGE, {name: f[name] for name in form.restorable_names}))


def around(form: Form, settings: object) -> dict[Any, Any]:
    """Updates for the form that compare steps and guidance around a picture of these settings. What Compare has no
    field for, and settings that make no comparison, are said on the stage."""
    try:
        comparison, cell = comparison_around(settings if isinstance(settings, Mapping) else {})
    except InvalidRequest as error:
        return {form.status: {"message": str(error)}}
    left_out = _left_out(comparison)
    message = say("compare.around.left", left_out=left_out) if left_out else ""
    answer = {"focus": cell, "message": message, "number": secrets.token_hex(4)}  # a value like the last is no news
    return _updates(form, _values_of_link(form, comparison.link())) | {form.status: answer}


def attach(engine: Engine, form: Form, demo: gr.Blocks) -> None:
    """After a (re)load: the fields of a link, or else the stored ones; then the comparison as it is now."""

    def fields_back(stored_values: object, request: gr.Request) -> dict[Any, Any]:
        link, problem = link_or_problem(request.query_params)
        if link is not None:
            return _with_choices(
                engine, form, _updates(form, _values_of_link(form, {k: str(v) for k, v in link.items()}))
            )
        back = stored_values if isinstance(stored_values, Mapping) else {}
        fields = {name: back[name] for name in form.restorable_names if _simple(back.get(name))}
        said = {form.status: {"message": problem}} if problem else {}
        return _with_choices(engine, form, _updates(form, fields)) | said

    def tab_of_link(request: gr.Request) -> str | None:
        return TAB if any(link_or_problem(request.query_params)) else None

    async def restore_comparison(request: gr.Request) -> AsyncIterator[Any]:
        link, _ = link_or_problem(request.query_params)
        async for view in views.attach(engine, session.owner_of(request), TAB, link):
            yield view | {"attached": True}

    outputs = {name: form.fields[name] for name in form.restorable_names}
    others = [*form.before.values(), form.status]
    keeping.restore(demo, STORAGE, outputs, others, fields_back, opens=tab_of_link)
    demo.load(_costs(engine, form), set(form.inputs), [form.cost], **QUIET)
    demo.load(restore_comparison, None, [form.show], **WATCHING)


def link_or_problem(query: Mapping[str, str]) -> tuple[dict[str, object] | None, str]:
    """The fields of a link's parameters, or why they are not read; neither where it is no link to a comparison."""
    try:
        return fields_of_link(dict(query)), ""
    except InvalidRequest as error:
        return None, str(error)


def _with_choices(engine: Engine, form: Form, updates: dict[Any, Any]) -> dict[Any, Any]:
    """The updates, and what this visitor may choose: the page is served to everybody with the same choices."""
    f, catalog = form.fields, engine.catalog()
    names = [entry.name for entry in catalog]
    update: dict[str, Any] = {"choices": w.checkpoint_choices(catalog)}
    if isinstance(updates.get(f["checkpoint"]), str):
        update["value"] = updates[f["checkpoint"]]
    elif names and getattr(f["checkpoint"], "value", None) not in names:
        update["value"] = names[0]
    prompts = "\n".join(str(updates.get(f[name]) or "") for name in ("prompt", "negative_prompt"))
    choices = axes.choices(prompts=prompts, picture=False, controls=False, models=len(catalog))
    axis_choices = {f["x"]: choices, f["y"]: [*choices, no_axis()]}
    axis_updates = {
        field: gr.update(choices=choices, **({"value": updates[field]} if field in updates else {}))
        for field, choices in axis_choices.items()
    }
    updates = updates | axis_updates | {f["checkpoint"]: gr.update(**update)}
    owner_values = {name: value for name, value in w.locked_values(engine).items() if name in f}
    return updates | {f[n]: w.lock(updates.get(f[n]), str(v) if n == "seed" else v) for n, v in owner_values.items()}


def opening_sentence(comparison: Comparison) -> str:
    """What is said once a sheet's settings are in the form: also which of them the form does not have."""
    left_out = _left_out(comparison)
    return say("compare.opened.left", left_out=left_out) if left_out else say("compare.opened")


def _left_out(comparison: Comparison) -> str:
    """The settings that the form does not have, in words; "" where it has them all."""
    texts = []
    for row in outside_the_form(comparison):
        value = getattr(comparison.base, row.name)
        text = choice(row.name, value) if row.kind == "choice" else row.write(value)
        text = say("compare.setting", name=say(row.label), value=text)
        texts.append(
            say("compare.setting.of", group=say("hires.label"), setting=text) if row.place == "hires" else text
        )
    return reduce(lambda one, more: say("compare.setting.and", one=one, more=more), texts) if texts else ""


def _updates(form: Form, values: Mapping[str, Any]) -> dict[Any, Any]:
    """Updates that write `values` into the fields, with what belongs to the axes that they name."""
    updates: dict[Any, Any] = {form.fields[name]: value for name, value in values.items()}
    for name in "xy":
        if isinstance(values.get(name), str):
            updates[form.before[name]] = values[name]
            values_update = {"value": values[f"{name}_values"]} if f"{name}_values" in values else {}
            updates[form.fields[f"{name}_values"]] = gr.update(info=axes.help_of(values[name]), **values_update)
    return updates


def _values_of_link(form: Form, link: Mapping[str, str]) -> dict[str, Any]:
    """Values for every field from a link's parameters; fields that the link leaves out get their default."""
    values: dict[str, Any] = {}
    for name in form.restorable_names:
        row = FORM_ROWS.get(name)
        value: Any = link.get(name)
        if row is not None and value is not None:
            value = row.read_text(value)
            value = None if row.kind == "number" and isinstance(value, str) else value
        if value is None and row is not None:
            written_by_the_checkpoint = row.place in ("size", "checkpoint")
            first = "" if row.kind in ("text", "seed") else w.begins_at(TAB, name)
            value = gr.skip() if written_by_the_checkpoint else first
        values[name] = "" if value is None and row is None else value
    return values


def _simple(value: object) -> bool:
    return isinstance(value, (str, int, float)) and not isinstance(value, bool)
