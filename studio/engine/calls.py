"""The calls of several lanes as one U-Net call: the one place where its arguments are put together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch

from studio.diffusion.components import Components
from studio.diffusion.control_residuals import residuals
from studio.diffusion.guidance import guidance_embedding
from studio.diffusion.lora import applied
from studio.diffusion.text_memory import TextMemory
from studio.diffusion.time_memory import TimeMemory
from studio.diffusion.unet_call import UnetCall


def call_unet(
    components: Components,
    calls: Sequence[UnetCall],
    memory: TextMemory | None = None,
    times: TimeMemory | None = None,
) -> torch.Tensor:
    """The calls of several lanes as one: rows (sum of branches, C, h, w), in the order of the calls.

    `memory` keeps what the U-Net makes of the text alone from one call to the next, `times` what it makes of the
    timestep of a lone lane from one picture to the next; the answer is the same without.
    """
    memory = memory or TextMemory()
    device = components.device
    timesteps = torch.tensor([c.timestep for c in calls for _ in range(len(c.sample))], device=device)
    embeds = memory.joined([c.prompt_embeds for c in calls])
    if len(calls) == 1:
        sample, added = calls[0].sample, dict(calls[0].added)
    else:
        sample = torch.cat([c.sample for c in calls])
        added = {name: torch.cat([c.added[name] for c in calls]) for name in calls[0].added}
    given = residuals(calls, timesteps)
    steered = {}
    if given is not None:
        steered = {"down_block_additional_residuals": given.down, "mid_block_additional_residual": given.mid}
    guidance = _guidance(components, calls)
    first = calls[0]
    remembered: AbstractContextManager[None] = nullcontext()
    if times is not None and len(calls) == 1 and not first.adapters and not added and guidance is None:
        remembered = times.used(components.unet, first.timestep, len(sample))
    with applied(components, first.adapters, ("unet",)), memory.used(components.unet), remembered:
        answer: torch.Tensor = components.unet(
            sample,
            timesteps,
            embeds,
            timestep_cond=guidance,
            added_cond_kwargs=added or None,
            return_dict=False,
            **steered,
        )[0]
    return answer


def _guidance(components: Components, calls: Sequence[UnetCall]) -> torch.Tensor | None:
    """The guidance scale of each row, for a U-Net that is told it; a call that does not say is one without guidance."""
    width = components.guidance_width
    if width is None:
        return None
    none = guidance_embedding(1.0, width)
    rows = [(c.guidance if c.guidance is not None else none).expand(len(c.sample), -1) for c in calls]
    return torch.cat(rows).to(components.device, components.dtype)
