"""A tab's presets on the page: their fields come when one is chosen, when the checkpoint that has some is chosen, and
when a link names them. What of them does not come is said below the checkpoint.

Drawn by static/presets.js, which saves, renames and deletes by the addresses of studio/web/preset_routes.py.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

from studio.answered.engine import Engine
from studio.asked.fields import TextToImage
from studio.asked.messages import Message
from studio.asked.names import listed_name
from studio.asked.presets import LINK, fields_of_link, first_value, rows_of_presets
from studio.asked.problems import InvalidRequest, Problem
from studio.asked.requests import REQUEST_KINDS
from studio.asked.resolved import Suits
from studio.picture.gallery import Gallery
from studio.picture.preset_files import PresetFiles
from studio.ui import session
from studio.ui.blocks import QUIET
from studio.ui.generate import stored_fields
from studio.ui.generate.controls import Controls
from studio.ui.generate.widgets import locked_values
from studio.ui.text import say
from studio.ui.visible import visible

Updates = dict[Any, Any]
Remembered = Callable[[str, gr.Request], Updates]


def connect(engine: Engine, gallery: Gallery, controls: Controls) -> Remembered:
    """Let the block's clicks write the fields, and read them. Returns what writes those that a visitor remembers of a
    checkpoint."""
    files, block = PresetFiles(gallery.outputs_dir), controls.presets

    def put(checkpoint: str | None, event: gr.EventData) -> Updates:
        fields = event._data.get("fields")
        updates, sentences = restored(engine, controls, fields if isinstance(fields, Mapping) else {}, checkpoint)
        says = [say("presets.chosen", name=visible(str(event._data.get("name")))), *sentences]
        return updates | {block: {"says": says, "number": secrets.token_hex(4)}}  # a value like the last is no news

    def remembered(checkpoint: str, request: gr.Request) -> Updates:
        try:
            of_model = files.of(session.preset_owner_of(request)).of_model(controls.tab, checkpoint)
        except (InvalidRequest, OSError) as error:
            return {block: {"checkpoint": checkpoint, "says": [unreadable(error)]}}
        if of_model is None:
            return {block: {"checkpoint": checkpoint, "says": []}}
        updates, sentences = restored(engine, controls, of_model.fields, checkpoint)
        return updates | {block: {"checkpoint": checkpoint, "came": True, "says": sentences}}

    outputs = [*stored_fields.reusable(controls), block]
    block.put(put, [controls.fields["checkpoint"]], outputs, **QUIET)
    names = stored_fields.restorable_names(controls)
    pairs = ", ".join(f"{name}: v[{k}]" for k, name in enumerate(names))
    block.collect(
        None,
        [controls.fields[name] for name in names],
        [block],
        js=f"(...v) => ({{ fields: {{ {pairs} }}, at: performance.now() }})",
        **QUIET,
    )
    return remembered


def restored(
    engine: Engine, controls: Controls, fields: Mapping[str, Any], checkpoint: str | None
) -> tuple[Updates, list[str]]:
    """Updates for some fields of a tab on which `checkpoint` is chosen, and sentences about those that do not come."""
    named = listed_name(str(fields.get("checkpoint")), [one.name for one in engine.catalog()])
    updates = stored_fields.restore(engine, controls, {**fields, "checkpoint": named or checkpoint})
    if named is None:
        for one in (controls.fields["checkpoint"], controls.before):
            updates.pop(one, None)
        if "vae_name" not in fields:
            updates.pop(controls.fields["vae_name"], None)
    return updates, left_out(engine, controls.tab, fields, named or checkpoint)


def unreadable(error: InvalidRequest | OSError) -> str:
    """Why the presets of a visitor cannot be read."""
    if isinstance(error, OSError):
        return Message("The presets cannot be read or written down: {cause}.", cause=error.strerror or "")
    return error.args[0]


def left_out(engine: Engine, tab: str, fields: Mapping[str, Any], checkpoint: str | None) -> list[str]:
    """Sentences about the fields that do not come: fixed by the owner, not here, or no longer allowed. `checkpoint`:
    the one that is chosen then."""
    locked, rows = locked_values(engine), rows_of_presets(tab)
    says: list[str] = []
    for name, value in fields.items():
        row = rows.get(name)
        if row is None:
            continue
        label = say(row.label)
        if name in locked and value != locked[name] and str(value) != str(locked[name]):
            says.append(say("presets.locked", label=label, value=visible(str(locked[name]))))
        elif name == "checkpoint":
            if listed_name(str(value), [one.name for one in engine.catalog()]) is None:
                says.append(say("presets.absent", label=label, value=visible(str(value))))
        elif name == "vae_name" and value:
            chosen = next((one for one in engine.catalog() if one.name == checkpoint), None)
            if chosen is not None and value not in chosen.vaes:
                says.append(say("presets.other_vae", value=visible(str(value))))
        else:
            problems: list[Problem] = []
            read = row.read(value, problems)
            says += [str(problem) for problem in problems or row.problems(read)]
    return says


def of_link(
    engine: Engine, controls: Controls, query: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The fields of a link to this tab, those that it does not name at their defaults, and what the block says of it;
    None where the page was opened by no such link. Of a link that is not as it should be nothing comes."""
    try:
        link = fields_of_link(query)
    except InvalidRequest as error:
        return ({}, {"says": [say("presets.link.bad"), error.args[0]]}) if names_tab(query, controls.tab) else None
    if link is None or link[0] != controls.tab:
        return None
    tab, named = link
    catalog = {one.name: one for one in engine.catalog()}
    chosen = catalog.get(listed_name(str(named.get("checkpoint")), list(catalog)) or "")
    suits = chosen.suits if chosen is not None else Suits()
    fields = {
        name: getattr(suits, name) if row.suits and not row.stays_open else first_value(row)
        for name, row in rows_of_presets(tab).items()
        if name != "checkpoint"
    }
    if "image" in controls.fields:  # these start from a picture, which has a size of its own
        fields |= {"width": None, "height": None}
    fields |= named
    says = [say("presets.link.came"), *left_out(engine, tab, fields, chosen.name if chosen is not None else None)]
    return fields, {"says": says, "opened": [name for name in query if name in (LINK, "v", *rows_of_presets(tab))]}


def names_tab(query: Mapping[str, str], tab: str) -> bool:
    """Whether a link names this tab; the first tab speaks for one that names none that there is."""
    named = query.get(LINK, "")
    return named == tab or (bool(named) and named not in REQUEST_KINDS and tab == TextToImage.kind)
