"""Our own components: pieces of the page that Gradio lacks, each an HTML block drawn by a script of ours; and how the
page's events are to behave.

A component's value is data (a view, a list, a status); its script makes elements from it and parses nothing. The
scripts are served by the studio itself from studio/ui/static.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from studio.ui.text import words

# Arguments of an event that asks something short, and of one that watches a run. Watching has no limit: it costs next
# to nothing, and what is watched is admitted by the engine.
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "queue": False}
WATCHING: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}

SCRIPTS = (
    "studio.js",
    "stage.js",
    "controls.js",
    "picture.js",
    "camera.js",
    "paint_map.js",
    "control.js",
    "start.js",
    "mask.js",
    "helper.js",
    "record.js",
    "viewer.js",
    "viewer/painter.js",
    "viewer/quantities.js",
    "viewer/chart.js",
    "viewer/ask.js",
    "viewer/decoded.js",
    "viewer/contours.js",
    "viewer/again.js",
    "viewer/embeddings.js",
    "viewer/brush.js",
    "viewer/timeline.js",
    "viewer/panes.js",
    "viewer/schedule.js",
    "viewer/numbers.js",
    "viewer/equation.js",
    "viewer/guidance.js",
    "viewer/schedules.js",
    "viewer/forward.js",
    "viewer/latent.js",
    "viewer/vae.js",
    "viewer/words.js",
    "viewer/attention.js",
    "live.js",
    "compare/look.js",
    "compare/curve.js",
    "compare/compare.js",
    "viewer/branches.js",
    "viewer/architecture.js",
    "viewer/runs.js",
    "viewer/export.js",
    "hub.js",
    "conversions.js",
    "models.js",
)
_HEAD = "".join(f'<script src="/studio-static/{name}"></script>' for name in SCRIPTS)


def drawn(script: str, *, value: Any = None, events: tuple[str, ...] = (), **props: Any) -> gr.HTML:
    """An HTML block whose content is drawn by `window.LatentStudio.<script>`; `events` are those it may trigger."""
    # Gradio finds the events a block may trigger by their quoted names in this text.
    names = ", ".join(f"'{event}'" for event in events)
    start = f"window.LatentStudio.{script}({{ element, props, watch, trigger, events: [{names}] }});"
    return gr.HTML(
        value=value if value is not None else {},
        html_template='<div class="ls-mount"></div>',
        js_on_load=start,
        head=_HEAD,
        apply_default_css=False,
        container=False,
        padding=False,
        **props,
    )


def stage(tab: str, first: dict[str, Any], sample: str | None = None) -> gr.HTML:
    """The stage of one tab, showing `first` until a run says otherwise. `sample`: where the script may fetch
    the picture of a first visit."""
    events = ("stop", "reuse", "edit", "inpaint", "noise")
    return drawn(
        "stage",
        value=first,
        events=events,
        tab=tab,
        words=words("stage"),
        sample=sample,
        elem_id=f"{tab}-stage",
        elem_classes="ls-block",
    )
