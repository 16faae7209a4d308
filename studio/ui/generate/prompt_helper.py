"""The prompt helper: the words that a checkpoint knows, as chips that insert themselves where they belong, and a random
prompt.

Drawn by static/helper.js. Only a checkpoint with a vocabulary has one.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from studio.answered.models import Checkpoint
from studio.ui.blocks import html_block
from studio.ui.text import words


def build(tab: str, checkpoint: Checkpoint | None) -> gr.HTML:
    """The helper below the prompt of a tab, folded."""
    return html_block(
        "helper", value=offer(checkpoint), field=f"{tab}-prompt", words=words("helper"), elem_classes="ls-helper"
    )


def offer(checkpoint: Checkpoint | None) -> dict[str, Any]:
    """What the helper shows of a checkpoint: groups of words, each with its label, its phrase and its other names."""
    if checkpoint is None:
        return {"label": "", "groups": []}
    groups: dict[str, list[dict[str, Any]]] = {}
    for group, label, phrase, *others in checkpoint.vocabulary:
        groups.setdefault(group, []).append({"label": label, "phrase": phrase, "others": others})
    return {"label": checkpoint.label, "groups": [{"key": key, "words": rows} for key, rows in groups.items()]}
