"""The tab Library: all pictures of a visitor, and of this machine for its owner.

It is drawn by static/library.js, which asks the addresses below `/library` (web/library_routes.py) for what is in
sight.
"""

from __future__ import annotations

import gradio as gr

from studio.ui.blocks import html_block
from studio.ui.text import words

TAB = "library"


def build() -> gr.HTML:
    """Draw the tab."""
    return html_block(
        "library",
        words=words("library"),
        sheet_words=words("picture_sheet"),
        elem_id=f"{TAB}-wall",
        elem_classes="ls-library-tab",
    )
