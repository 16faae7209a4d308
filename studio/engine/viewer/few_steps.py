"""The picture that a run of few steps ends with, for the page's figure of what more steps add."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager
from typing import Any

from PIL import Image

from studio.answered.engine import Answer, Refused
from studio.asked.messages import Message
from studio.asked.questions import FewSteps
from studio.asked.resolved import resolve
from studio.diffusion import vae
from studio.diffusion.components import Components
from studio.diffusion.lane import start_lane
from studio.diffusion.prompt import encode_prompts
from studio.engine.viewer.inquiries import Denoise, Slices


def few_steps(
    question: FewSteps,
    picture: Image.Image | None,
    components: Components,
    denoise: Denoise,
    tokenizer_lock: AbstractContextManager[Any],
) -> Slices:
    """A PNG: that of an exact run with these fields, at the native size or from `picture` at its own. Nothing is
    recorded or saved.

    Raises Refused for a prompt that names a LoRA, and for a scheduler that cannot run what the checkpoint predicts.
    """
    resolved = resolve(question.request, components.suits, size=picture.size if picture else None, exact=True)
    if resolved.prompt.loras:
        raise Refused(Message("A figure of few steps is made without LoRAs, and this prompt names one."))
    with tokenizer_lock:
        conditioning = encode_prompts(
            components,
            resolved.prompt,
            resolved.negative_prompt,
            num_steps=resolved.steps,
            guidance_scale=resolved.guidance_scale,
            clip_skip=resolved.clip_skip,
            models=question.models,
        )
    try:
        lane = start_lane(components, resolved, seed=question.seed, conditioning=conditioning, picture=picture)
    except ValueError as error:  # a scheduler that cannot run what this checkpoint predicts
        raise Refused(str(error)) from None
    yield
    while not lane.is_finished:
        lane.advance(denoise([lane.call()]))
        yield
    result = vae.to_pictures(vae.decode(components, lane.latents))[0]
    file = io.BytesIO()
    result.save(file, "PNG")
    return Answer(content=file.getvalue(), media_type="image/png")
