"""The prompt of a tab that shows one run: the noise viewer and Learn."""

from __future__ import annotations

import gradio as gr

from studio.ui.text import say


def ask_field(tab: str) -> gr.Textbox:
    """One line for the words of the run, in the current row."""
    return gr.Textbox(
        value="",
        label=say("prompt.label"),
        placeholder=say("prompt.placeholder"),
        show_label=False,
        max_lines=1,
        elem_id=f"{tab}-prompt",
        scale=1,
    )
