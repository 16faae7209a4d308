"""One HTML file that replays a recorded run without a studio: the viewer's own scripts, styles, words, and the record.

It opens from a disk and makes no requests, and speaks its reader's language. Panels that ask the studio get its answers
from the file; those whose answer it does not hold, and those that make runs, are left out.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence

from studio.export.page_answers import PICTURE, PageAnswer
from studio.ui import assets, language
from studio.ui.text import Words, say, texts_under
from studio.ui.viewer import noise_viewer

# Panels that need only the record, and those that show an answer of the studio, by the question's name.
OFFLINE = (
    "machine",
    "timeline",
    "panes",
    "schedule",
    "numbers",
    "equation",
    "guidance",
    "latent",
    "words",
    "attention",
    "trajectories",
)
ANSWERED = {"architecture": "architecture", "schedules": "schedule", "forward": "forward", "vae": "vae"}


def replay_page(recording: bytes, run: Mapping[str, object], answers: Sequence[PageAnswer] = ()) -> bytes:
    """The file of a recording (`/record/<job>` from the first evaluation on) whose header is `run`."""
    names = {answer.name for answer in answers}
    about_picture = any("picture" in answer.fields for answer in answers)
    value = {
        **noise_viewer.EMPTY,
        "job": "record",
        "checkpoint": run["checkpoint"],
        "picture": PICTURE if about_picture else None,
    }
    panels = tuple(name for name in noise_viewer.PANELS if name in OFFLINE or ANSWERED.get(name) in names)
    props = {
        "value": value,
        "languages": {name: _props(panels, name) | {"answers": sorted(names)} for name in language.TAGS},
    }
    enclosed = [
        {
            "name": answer.name,
            "fields": dict(answer.fields),
            "type": answer.media_type,
            "content": base64.b64encode(answer.content).decode(),
        }
        for answer in answers
    ]
    title = html.escape(f"{run['prompt'] or say('tab.noise_viewer')} · {say('page.title')}")
    parts = [
        "<!doctype html>",
        f'<html lang="{language.TAGS[language.current()]}"><head><meta charset="utf-8"><title>{title}</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        *(f"<style>{_safe(name, assets.read(name))}</style>" for name in assets.STYLES),
        "<style>body { margin: 0; padding: 16px; background: var(--ls-surface); color: var(--ls-ink); "
        "font-family: var(--ls-sans); }</style></head>",
        f'<body class="gradio-container"><main id="viewer" class="ls-mount" aria-label="{title}"></main>',
        f'<script type="application/json" id="props">{_json(props)}</script>',
        f'<script type="application/json" id="answers">{_json(enclosed)}</script>',
        f'<script type="text/plain" id="record">{base64.b64encode(recording).decode()}</script>',
        f'<script type="module">{_safe(assets.REPLAY, assets.source(assets.REPLAY))}</script></body></html>',
    ]
    return "\n".join(parts).encode()


def _props(panels: tuple[str, ...], name: str) -> dict[str, object]:
    """What the viewer's script gets in a language."""
    props = {
        key: texts_under(one.prefix, name) if isinstance(one, Words) else one
        for key, one in noise_viewer.props(panels).items()
    }
    return {**props, "tag": language.TAGS[name]}


def _safe(name: str, text: str) -> str:
    """A text of ours, checked not to end the element that it is put into."""
    if "</script" in text.lower() or "</style" in text.lower():
        raise ValueError(f"{name} cannot be put into a page")
    return text


def _json(values: object) -> str:
    """JSON that cannot end its script element, whatever a prompt says."""
    return json.dumps(values).replace("<", "\\u003c")
