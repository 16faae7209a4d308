"""The fields of how a run is guided, in a fold; APG's are in sight with APG."""

from __future__ import annotations

from typing import Any

import gradio as gr

from studio.ui.blocks import FOLLOWING
from studio.ui.generate.widgets import section
from studio.ui.text import say

_OF_APG = ("apg_eta", "apg_norm", "apg_momentum")


def build(tab: str) -> dict[str, Any]:
    """The fold's fields, by name."""
    with (
        gr.Accordion(say("guidance.label"), open=False, elem_classes="ls-fold", elem_id=f"{tab}-guidance_fold"),
        gr.Row(elem_classes="ls-guidance-fields"),
    ):
        fields = section(tab, "guidance")
    for name in _OF_APG:
        fields[name].visible = False

    def follow(method: str | None) -> Any:
        return tuple(gr.update(visible=method == "apg") for _ in _OF_APG)

    fields["guidance_method"].change(follow, [fields["guidance_method"]], [fields[n] for n in _OF_APG], **FOLLOWING)
    return fields
