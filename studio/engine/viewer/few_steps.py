"""The picture that a run of few steps ends with, for the page's figure of what more steps add."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from PIL import Image

from studio.answered.engine import Answer, Refused
from studio.asked.few_steps import PARTS, FewSteps, FewStepsFromPicture, FewStepsOfMap, FewStepsUnderMask
from studio.asked.messages import Message
from studio.asked.resolved import resolve
from studio.diffusion import vae
from studio.diffusion.components import Components
from studio.diffusion.controlnet import AppliedControl, applied_control
from studio.diffusion.lane import start_lane
from studio.diffusion.prompt import encode_prompts
from studio.engine.viewer.inquiries import Denoise, Slices
from studio.picture import masks
from studio.picture.control_maps import ControlPicture


def few_steps(
    question: FewSteps,
    picture: Image.Image | None,
    components: Components,
    denoise: Denoise,
    tokenizer_lock: AbstractContextManager[Any],
    controlnet: Callable[[str], Any],
) -> Slices:
    """A PNG: that of an exact run with these fields, at the native size or from `picture` at its own. A map is brought
    to the native size. Nothing is recorded or saved. `controlnet`: the ControlNet of a name, and raises as
    `Extras.controlnet`.

    Raises Refused for a prompt that names a LoRA, and for a scheduler that cannot run what the checkpoint predicts.
    """
    begins_at_picture = isinstance(question, (FewStepsFromPicture, FewStepsUnderMask))
    size = picture.size if picture is not None and begins_at_picture else None
    resolved = resolve(question.request, components.suits, size=size, exact=True)
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
    mask = _mask_of(question, picture) if isinstance(question, FewStepsUnderMask) and picture is not None else None
    controls: tuple[AppliedControl, ...] = ()
    if isinstance(question, FewStepsOfMap) and picture is not None:
        condition = ControlPicture(picture, "none").map_at(resolved.size)
        net = controlnet(question.control)
        controls = (applied_control(components, net, resolved.request.controls[0], condition),)
    try:
        lane = start_lane(
            components,
            resolved,
            seed=question.seed,
            conditioning=conditioning,
            picture=picture if begins_at_picture else None,
            mask=mask,
            controls=controls,
        )
    except ValueError as error:  # a scheduler that cannot run what this checkpoint predicts
        raise Refused(str(error)) from None
    yield
    while not lane.is_finished:
        lane.advance(denoise([lane.call()]))
        yield
    result = vae.to_pictures(vae.decode(components, lane.latents))[0]
    if mask is not None and picture is not None and isinstance(question, FewStepsUnderMask):
        result = Image.composite(result, picture, masks.fade(mask, question.request.mask_blur))
    file = io.BytesIO()
    result.save(file, "PNG")
    return Answer(content=file.getvalue(), media_type="image/png")


def _mask_of(question: FewStepsUnderMask, picture: Image.Image) -> Image.Image:
    """The mask (L, of the picture's size) that is white over the part to be made anew."""
    left, upper, right, lower = PARTS[question.part]
    mask = Image.new("L", picture.size, 0)
    width, height = picture.size
    mask.paste(255, (round(left * width), round(upper * height), round(right * width), round(lower * height)))
    return mask
