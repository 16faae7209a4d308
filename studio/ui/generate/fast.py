"""The switch Fast: a few-step LoRA that came with the checkpoint, and the settings that it was trained for.

It is on when the prompt has the LoRA's tag and at no other time, so that a picture made again, a link and the fields
that the browser remembers set it as well. What is run, written into the file and asked for by programs is the prompt.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from studio.answered.engine import Engine
from studio.answered.models import Checkpoint
from studio.asked.prompt import has_lora, with_lora, without_lora
from studio.ui.blocks import FOLLOWING
from studio.ui.generate.controls import Controls
from studio.ui.generate.widgets import locked_values, schedule_choices

# What it was trained for; the guidance is in its weights.
SETTINGS: dict[str, Any] = {
    "num_inference_steps": 4,
    "guidance_scale": 1.0,
    "scheduler": "lcm",
    "noise_schedule": "automatic",
}


def prompt_with(prompt: str, lora: str, on: bool) -> str:
    """The prompt with the LoRA's tag, or without any of it."""
    return with_lora(prompt, lora) if on else without_lora(prompt, lora).rstrip()


def connect(engine: Engine, controls: Controls, live: gr.Checkbox) -> None:
    """Let the switch set the fields, the prompt the switch, and turning Live on the switch too; a tab without a switch
    is left alone."""
    if controls.fast is None:
        return
    switch, f = controls.fast, controls.fields
    names = tuple(SETTINGS)

    def checkpoint_of(name: object) -> Checkpoint | None:
        return next((one for one in engine.catalog() if one.name == name), None)

    def turn(on: bool, prompt: str, name: str) -> Any:
        checkpoint = checkpoint_of(name)
        if checkpoint is None or not checkpoint.fast_lora:
            return tuple(gr.skip() for _ in range(1 + len(names)))
        values = SETTINGS if on else {one: getattr(checkpoint, one) for one in names}
        updates: dict[str, Any] = {one: gr.update(value=values[one]) for one in names}
        updates["noise_schedule"] = gr.update(
            value=values["noise_schedule"], choices=schedule_choices(str(values["scheduler"]))
        )
        fixed = locked_values(engine)
        fields = tuple(gr.skip() if one in fixed else updates[one] for one in names)
        return prompt_with(prompt or "", checkpoint.fast_lora, on), *fields

    def turn_with_live(on: bool, prompt: str, name: str) -> Any:
        """What follows the fingers must be fast. Turning Live off leaves Fast as it is."""
        checkpoint = checkpoint_of(name)
        if not on or checkpoint is None or has_lora(prompt or "", checkpoint.fast_lora):
            return tuple(gr.skip() for _ in range(1 + len(names)))
        return turn(True, prompt, name)

    def follow(prompt: str, name: str) -> Any:
        checkpoint = checkpoint_of(name)
        lora = checkpoint.fast_lora if checkpoint is not None else ""
        return gr.update(value=bool(lora) and has_lora(prompt or "", lora), visible=bool(lora))

    def leave(prompt: str, name: str) -> Any:
        """Another checkpoint does not know the LoRA of the one before."""
        checkpoint = checkpoint_of(name)
        others = {one.fast_lora for one in engine.catalog() if one.fast_lora}
        others -= {checkpoint.fast_lora} if checkpoint is not None else set()
        gone = [lora for lora in others if has_lora(prompt or "", lora)]
        for lora in gone:
            prompt = prompt_with(prompt, lora, False)
        return prompt if gone else gr.skip()

    outputs = [f["prompt"], *(f[one] for one in names)]
    switch.input(turn, [switch, f["prompt"], f["checkpoint"]], outputs, **FOLLOWING)
    live.input(turn_with_live, [live, f["prompt"], f["checkpoint"]], outputs, **FOLLOWING)
    gr.on([f["prompt"].change, f["checkpoint"].change], follow, [f["prompt"], f["checkpoint"]], [switch], **FOLLOWING)
    f["checkpoint"].input(leave, [f["prompt"], f["checkpoint"]], [f["prompt"]], **FOLLOWING)
