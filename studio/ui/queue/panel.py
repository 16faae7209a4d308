"""The fold Queue of a tab: pictures that wait for their turn, many prompts or pictures at once, and generating forever.

Drawn by static/queue.js. What waits lives in the browser's tab, which sends one run after the other to the addresses
for programs (web/api), with the fields as they were when it was added.
"""

from __future__ import annotations

import gradio as gr

from studio.asked.requests import REQUEST_KINDS
from studio.ui import keeping
from studio.ui.blocks import html_block
from studio.ui.text import words

MOST = 500  # that wait


def build(tab: str) -> gr.HTML:
    """Draw the fold."""
    rows = REQUEST_KINDS[tab].rows()
    return html_block(
        "queue",
        words=words("queue"),
        tab=tab,
        storage=keeping.storage_key(tab),
        version=keeping.VERSION,
        fields=[name for name, row in rows.items() if row.kind not in ("file", "controls")],
        suits=[name for name, row in rows.items() if row.suits],
        most=MOST,
        elem_id=f"{tab}-queue",
    )
