"""One HTML file that replays a recorded run without a studio: the viewer's own scripts, styles, words, and the record.

It opens from a disk and makes no requests, and speaks its reader's language. Panels that need a model are left out.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping

from studio.ui import assets, language
from studio.ui.text import Words, say, texts_under
from studio.ui.viewer import noise_viewer

# Panels that need only the record.
OFFLINE = ("timeline", "panes", "schedule", "numbers", "equation", "guidance", "latent", "words", "attention")


def replay_page(recording: bytes, run: Mapping[str, object]) -> bytes:
    """The file of a recording (`/record/<job>` from the first evaluation on) whose header is `run`."""
    value = {**noise_viewer.EMPTY, "job": "record", "checkpoint": run["checkpoint"]}
    panels = tuple(name for name in noise_viewer.PANELS if name in OFFLINE)
    props = {"value": value, "languages": {name: _props(panels, name) for name in language.TAGS}}
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
