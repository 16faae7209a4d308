"""Fields that survive a reload, kept by the browser alone, and written back by `restore`.

Each browser tab has its own (sessionStorage), so that two tabs of one browser do not overwrite each other; a new tab
begins with what was kept last (localStorage).

Not gr.BrowserState: in 6.31 it loses the first value that is set after the page has loaded (measured).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gradio as gr

from studio.ui.blocks import QUIET

# Of what is kept; fields without a version are those of 0.1.0, which had the same form. A version of the studio reads
# what older ones have kept, and leaves alone what a newer one has (static/head.js).
VERSION = 1


def storage_key(tab: str) -> str:
    """Where the browser keeps a tab's fields."""
    return f"latent-studio-{tab}"


def keeper(key: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of an event that keeps `fields` (components by name) under `key`; it runs in the browser alone."""
    pairs = ", ".join(f"{name}: v[{k}]" for k, name in enumerate(fields))
    name = json.dumps(key)
    return {
        "fn": None,
        # What changes before the kept fields are written back would take their place.
        "js": (
            f"(...v) => {{ if (latentStudio.restoredForms.has({name})) "
            f"latentStudio.keep({name}, {VERSION}, {{{pairs}}}); }}"
        ),
        "inputs": list(fields.values()),
    }


def restore(
    demo: gr.Blocks,
    key: str,
    fields: Mapping[str, gr.components.Component],
    others: Sequence[Any],
    back: Callable[[Any, gr.Request], Mapping[Any, Any]],
    *,
    opens: Callable[[gr.Request], str | None] = lambda _: None,
) -> None:
    """After a (re)load, write into `fields` (components by name) what `back` answers, by component, to what `keeper`
    kept under `key` and the request. The one place that writes fields without having been asked by a person.

    A field that no longer has the value that it was served with is the person's, and stays. What is no value (choices,
    help), and what goes to `others`, is written in any case. `opens` names the tab that a
    request asks for.
    """
    browser_values, values = gr.JSON(visible=False), gr.JSON(visible=False)

    def look(stored_values: object, request: gr.Request) -> dict[Any, Any]:
        updates = dict(back(stored_values, request))
        new: dict[str, Any] = {}
        for name, component in fields.items():
            update = updates.pop(component, None) if component in updates else gr.skip()
            rest = (
                dict(update) if isinstance(update, dict) and update.get("__type__") == "update" else {"value": update}
            )
            if "value" in rest:
                new[name] = rest.pop("value")
            if rest.keys() - {"__type__"}:
                updates[component] = rest
        return updates | {values: {"fields": new, "open": opens(request)}}

    outputs = [*fields.values(), *others, values]
    load_event = demo.load(
        look, [browser_values], outputs, js=f"() => latentStudio.storedFields({json.dumps(key)}, {VERSION})", **QUIET
    )
    served_values = json.dumps({name: component.value for name, component in fields.items()})
    load_event.then(
        None,
        [values, *fields.values()],
        [*fields.values()],
        js=f"(back, ...now) => latentStudio.write({json.dumps(key)}, {VERSION}, {served_values}, back, now)",
    )
