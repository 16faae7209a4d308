"""How a denoiser is called, by kind: which lanes can share a call, and the call itself.

A family names its kind. All families of Stable Diffusion 1 to SDXL have a U-Net, whose arguments are put together here
and nowhere else.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Protocol

import torch

from studio.diffusion.attention_edits import CallEdit, Projection, apply_edits, placed_edits
from studio.diffusion.components import Components
from studio.diffusion.conditions import of_lanes
from studio.diffusion.control_residuals import residuals
from studio.diffusion.guidance import guidance_embedding
from studio.diffusion.lora import apply_adapters
from studio.diffusion.text_cache import TextCache
from studio.diffusion.time_cache import TimeCache
from studio.diffusion.unet_call import UnetCall

Shape = tuple[int, ...]  # of one row


class Denoiser(Protocol):
    """A kind of denoiser. Its methods keep nothing from call to call."""

    def batch_key(self, latents: Shape, prompt: Shape, conditions: Mapping[str, Shape]) -> Hashable:
        """Lanes with equal keys fit into one call. The shapes are of a row: latents (C, h, w), the prompt's embeddings
        (tokens, width), and what else it is given, by name."""
        ...

    def answers(
        self,
        components: Components,
        calls: Sequence[UnetCall],
        texts: TextCache | None = None,
        times: TimeCache | None = None,
    ) -> list[torch.Tensor]:
        """One call for several lanes: an answer (branches, C, h, w) for each of `calls`. `texts` and `times` keep what
        the network makes of the text and of a timestep alone; the answers are the same without."""
        ...


class Unet:
    """The U-Net of diffusers (UNet2DConditionModel): all rows of a call have one size and as many tokens."""

    def batch_key(self, latents: Shape, prompt: Shape, conditions: Mapping[str, Shape]) -> Hashable:
        """See Denoiser."""
        return latents, prompt, tuple(sorted(conditions.items()))

    def answers(
        self,
        components: Components,
        calls: Sequence[UnetCall],
        texts: TextCache | None = None,
        times: TimeCache | None = None,
    ) -> list[torch.Tensor]:
        """See Denoiser."""
        return list(call_unet(components, calls, texts, times).split([len(call.sample) for call in calls]))


DENOISERS: dict[str, Denoiser] = {"unet": Unet()}


def call_unet(
    components: Components,
    calls: Sequence[UnetCall],
    texts: TextCache | None = None,
    times: TimeCache | None = None,
) -> torch.Tensor:
    """The calls of several lanes as one: rows (sum of branches, C, h, w), in the order of the calls.

    `texts` keeps what the U-Net makes of the text alone from one call to the next, `times` what it makes of a timestep
    from one picture to the next; the answer is the same without. A compiled U-Net does without, and answers uncompiled
    where a lane has edits of its attention: it would be compiled anew for each.
    """
    texts = texts or TextCache()
    first, rows = calls[0], [len(c.sample) for c in calls]
    timesteps = torch.tensor([c.timestep for c, n in zip(calls, rows) for _ in range(n)], device=components.device)
    embeds = texts.join([c.prompt_embeds for c in calls], first.adapters)
    sample = first.sample if len(calls) == 1 else torch.cat([c.sample for c in calls])
    conditions = of_lanes([c.added_conditions for c in calls])
    control_residuals = residuals(calls, timesteps)
    attention_arguments = {}
    if control_residuals is not None:
        attention_arguments = {
            "down_block_additional_residuals": control_residuals.down,
            "mid_block_additional_residual": control_residuals.mid,
        }
    edits = placed_edits([c.edits for c in calls], rows)
    network, has_graph = components.unet, is_compiled(components.unet)
    if has_graph and edits:
        network = getattr(network, "_orig_mod", network).forward
    caches: list[tuple[CallEdit, Sequence[Projection]]] = []
    if not has_graph:
        caches.append((texts, components.text_projections))
        if times is not None and times.covers(calls):
            caches.append((times, components.time_projections))
    height, width = sample.shape[2:]
    with (
        apply_adapters(components, first.adapters, ("unet",)),
        apply_edits(components.attention_layers, edits, (height, width), caches),
    ):
        answer: torch.Tensor = network(
            sample,
            timesteps,
            embeds,
            timestep_cond=_guidance(components, calls),
            added_cond_kwargs=conditions or None,
            return_dict=False,
            **attention_arguments,
        )[0]
    return answer


def is_compiled(network: torch.nn.Module) -> bool:
    """Whether torch.compile has been asked for it, by either of its two ways."""
    return hasattr(network, "_orig_mod") or getattr(network, "_compiled_call_impl", None) is not None


def _guidance(components: Components, calls: Sequence[UnetCall]) -> torch.Tensor | None:
    """The guidance scale of each row, for a U-Net that is told it; a call that does not say is one without guidance."""
    width = components.guidance_width
    if width is None:
        return None
    none = guidance_embedding(1.0, width)
    rows = [(c.guidance if c.guidance is not None else none).expand(len(c.sample), -1) for c in calls]
    return torch.cat(rows).to(components.device, components.dtype)
