"""Our own components, which Gradio lacks: each is an HTML block that a script of ours draws. And how the page's events
behave.

A component's value is data (a view, a list, a status); its script makes elements from it and parses nothing. The
scripts are ES modules in the folders `static`, served as one (studio/ui/assets.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from studio.ui import assets
from studio.ui.text import Words, words
from studio.ui.watching import EARLIER

# Arguments of an event with a short answer, of one by which fields follow another, and of one that watches a run. Of
# several choices in quick succession the last is followed too: Gradio's "once" ignores it while the first is answered.
# What is typed meanwhile stays (static/head.js). Any number may watch: that costs almost nothing, and the engine limits
# the runs.
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "queue": False}
FOLLOWING: dict[str, Any] = {**QUIET, "trigger_mode": "always_last"}
WATCHING: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}

SECONDS_UNTIL_LATE = 10  # after which a block without its script says so


def html_block(block: str, *, value: Any = None, events: tuple[str, ...] = (), **props: Any) -> gr.HTML:
    """An HTML block whose content is drawn by the function `block` of static/page.js; `events` are those it may
    trigger. Texts among the `props` are named by their prefix: static/language.js puts them there in the visitor's
    language."""
    props = {name: {"$words": one.prefix} if isinstance(one, Words) else one for name, one in props.items()}
    return gr.HTML(
        value=value if value is not None else {},
        html_template='<div class="ls-mount"></div>',
        js_on_load=_start(block, events),
        apply_default_css=False,
        container=False,
        padding=False,
        **props,
    )


def _start(block: str, events: tuple[str, ...]) -> str:
    """The code that Gradio runs once the block is in the page. The script is a module and may arrive late; a block
    whose script does not arrive says so in its place."""
    # Gradio finds the events a block may trigger by their quoted names in this text.
    names = ", ".join(f"'{event}'" for event in events)
    return (
        "const say = (key) => element.replaceChildren(Object.assign(document.createElement('p'), "
        "{ className: 'ls-broken', textContent: words[key] })); "
        "const words = window.studioLanguage.words('page'); "
        f"const late = setTimeout(() => say('late'), {SECONDS_UNTIL_LATE * 1000}); "
        f"import('{assets.script().address}').then(({{ mount }}) => mount('{block}', "
        f"{{ element, props, watch, trigger, events: [{names}], words }}))"
        ".catch((error) => { console.error(error); say('absent'); }).finally(() => clearTimeout(late));"
    )


def stage(tab: str, first: dict[str, Any], sample: Mapping[str, Any] | None = None) -> gr.HTML:
    """The stage of one tab, showing `first` until a run says otherwise. `sample`: the `address` at which the
    script may fetch the picture of a first visit, and the texts of its `line` of settings."""
    events = ("stop", "again", "reuse", "edit", "inpaint", "noise", "compare")
    return html_block(
        "stage",
        value=first,
        events=events,
        tab=tab,
        words=words("stage"),
        sample=sample,
        earlier=EARLIER,
        elem_id=f"{tab}-stage",
        elem_classes="ls-block",
    )


def put_off_one_function_per_event(page: gr.Blocks) -> None:
    """Let only the first of an event's functions be put off until the last event; the others of that mode run each
    time. To be called once the page is built.

    When Gradio comes to a function that it has put off, it tells all functions of the event again: that also brings the
    others their last event, and two that are put off would call each other without end.
    """
    taken: set[tuple[int | None, str]] = set()
    for function in page.fns.values():
        if function.trigger_mode != "always_last" or function.fn is None:
            continue
        if taken & set(function.targets):
            function.trigger_mode = "multiple"
        else:
            taken |= set(function.targets)
