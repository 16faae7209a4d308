"""What the tabs that make pictures share: controls beside a stage, and the events between them.

Knows which button starts, stops and reuses; each tab builds its own request.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from studio.answered.engine import Engine, UnknownJob
from studio.asked.upscale import AUTOMATIC_UPSCALER
from studio.picture.gallery import Gallery
from studio.ui import keeping, session, watching
from studio.ui.blocks import QUIET, WATCHING
from studio.ui.generate import control, following, presets, stored_fields, upscaler, vae, widgets
from studio.ui.generate import controls as c


@dataclass(frozen=True)
class GenerateTab:
    """One tab that makes pictures: its name, its fields, its stage, its example prompts, and what writes the fields
    that a visitor remembers of a checkpoint."""

    tab: str
    controls: c.Controls
    stage: gr.HTML
    examples: gr.HTML
    remembered: presets.Remembered


def connect(
    engine: Engine, gallery: Gallery, generate_tab: GenerateTab, generate: Callable[..., AsyncIterator[Any]]
) -> None:
    """Generate, Stop, Reuse settings, Reuse last seed. Any number of streaming events may run: they only watch."""
    fields = generate_tab.controls.fields

    async def stop(event: gr.EventData, request: gr.Request) -> None:
        try:
            await engine.cancel(str(event._data.get("job")), owner=session.owner_of(request))
        except UnknownJob:
            return

    async def again(event: gr.EventData, request: gr.Request) -> AsyncIterator[Any]:
        job_id, owner = str(event._data.get("job")), session.owner_of(request)
        async for view in session.run_again(engine, gallery, owner, generate_tab.tab, job_id):
            yield view

    def reuse(event: gr.EventData) -> Any:
        return stored_fields.restore(engine, generate_tab.controls, event._data.get("settings")) or gr.skip()

    async def last_seed(request: gr.Request) -> Any:
        past = await watching.earlier(gallery, session.owner_of(request))
        return past[0]["settings"]["seed"] if past else gr.skip()

    # "multiple", since Gradio's "once" ignores a click that comes before the end of the last run has arrived. A double
    # click still makes one run: the stage ignores clicks while a run goes on.
    generate_tab.controls.generate.click(
        generate, generate_tab.controls.inputs, [generate_tab.stage], trigger_mode="multiple", **WATCHING
    )
    generate_tab.stage.stop(stop, None, None, **QUIET)
    generate_tab.stage.again(again, None, [generate_tab.stage], trigger_mode="multiple", **WATCHING)
    generate_tab.stage.reuse(reuse, None, stored_fields.reusable(generate_tab.controls), **QUIET)
    generate_tab.controls.seed_last.click(last_seed, None, [fields["seed"]], **QUIET)


def attach(engine: Engine, gallery: Gallery, generate_tab: GenerateTab, demo: gr.Blocks) -> None:
    """After a (re)load: the fields as they were, then the run as it is now."""
    fields = generate_tab.controls.fields
    first_checkpoint = next(iter(engine.catalog()), None)  # what the page's fields begin with for everybody

    def fields_back(stored_values: object, request: gr.Request) -> dict[Any, Any]:
        catalog = engine.catalog()  # of this visitor
        link = presets.of_link(engine, generate_tab.controls, dict(request.query_params))
        if link is not None and link[0]:
            stored_values = link[0]
        updates = {fields["checkpoint"]: gr.update(choices=widgets.checkpoint_choices(catalog))}
        if "image" in fields:  # empty, for the picture's own size: Gradio shows a number that starts as None as 0
            updates |= {fields["width"]: None, fields["height"]: None}
        back = stored_fields.restore(engine, generate_tab.controls, stored_values)
        if fields["checkpoint"] not in back and catalog and catalog[0] != first_checkpoint:
            back = following.beginning(generate_tab.controls, catalog[0], first_checkpoint) | back
        checkpoint = back.get(fields["checkpoint"], catalog[0].name if catalog else None)
        updates[fields["controls"]] = control.offer(engine, checkpoint)
        updates[fields["vae_name"]] = vae.update(engine, checkpoint, "")
        if "upscaler_name" in fields:
            updates[fields["upscaler_name"]] = upscaler.update(engine, checkpoint, "")
            updates[fields["upscale"]] = upscaler.update_finishing(engine, checkpoint, AUTOMATIC_UPSCALER)
        choice = next((one for one in catalog if one.name == checkpoint), None)
        updates[generate_tab.examples] = list(choice.examples[: c.MAX_EXAMPLES]) if choice is not None else []
        if fields["checkpoint"] in back:
            updates[fields["checkpoint"]]["value"] = back.pop(fields["checkpoint"])
        if not isinstance(stored_values, Mapping) and checkpoint is not None:  # a first visit
            back |= generate_tab.remembered(checkpoint, request)
        if link is not None:
            back[generate_tab.controls.presets] = link[1]
        return following.locked(engine, generate_tab.controls, updates | back)

    def tab_of_link(request: gr.Request) -> str | None:
        query = dict(request.query_params)
        return generate_tab.tab if presets.names_tab(query, generate_tab.tab) else None

    async def run_back(request: gr.Request) -> AsyncIterator[Any]:
        async for view in session.attach(engine, gallery, session.owner_of(request), generate_tab.tab):
            yield view

    controls = generate_tab.controls
    outputs = {name: fields[name] for name in stored_fields.restorable_names(controls)} | {"aspect": controls.aspect}
    others = [controls.before, fields["controls"], generate_tab.examples, controls.presets]
    keeping.restore(demo, keeping.storage_key(controls.tab), outputs, others, fields_back, opens=tab_of_link)
    demo.load(run_back, None, [generate_tab.stage], **WATCHING)
