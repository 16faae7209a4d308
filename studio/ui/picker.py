"""The checkpoint pickers of all tabs. They offer what is in the models folders now, and load the chosen checkpoint at
once, in the background, so that the first picture need not wait for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gradio as gr

from studio.answered.engine import Engine
from studio.asked.orders import PrepareCheckpoint
from studio.ui.blocks import FOLLOWING, QUIET
from studio.ui.generate import following, widgets


def attach(
    engine: Engine, pickers: Sequence[tuple[gr.Tab, gr.Dropdown]], tell: Callable[[gr.Request], Any], outputs: list[Any]
) -> None:
    """`tell` says on the page what the engine is doing, by updates for `outputs`."""

    async def prepare(checkpoint: str, request: gr.Request) -> Any:
        await engine.order(PrepareCheckpoint(checkpoint=checkpoint))
        return tell(request)

    def refresh_choices() -> Any:
        return gr.update(choices=widgets.checkpoint_choices(engine.catalog()))

    for tab, picker in pickers:
        picker.input(prepare, [picker], outputs, **FOLLOWING)
        tab.select(refresh_choices, None, [picker], **QUIET)


def aim(engine: Engine, tab: str, fields: Mapping[str, Any], first: str | None) -> None:
    """Aim the fields of a tab at the checkpoint that is chosen in it, but for those that were changed."""
    names = (*following.FIELDS_THAT_SUIT, "width", "height")
    before = gr.State(first)

    def aim_fields(values: dict[Any, Any]) -> Any:
        catalog = {one.name: one for one in engine.catalog()}
        checkpoint, last = catalog.get(values[fields["checkpoint"]]), catalog.get(values[before])
        if checkpoint is None:
            return gr.skip()
        aims = following.suitable_values(tab, checkpoint, last, {name: values[fields[name]] for name in names})
        return {fields[name]: value for name, value in aims.items()} | {before: checkpoint.name}

    targets = [fields[name] for name in names]
    fields["checkpoint"].input(aim_fields, {fields["checkpoint"], before, *targets}, [*targets, before], **FOLLOWING)
