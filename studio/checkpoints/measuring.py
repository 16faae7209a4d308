"""Measures what a loaded model predicts, by its answer to pure noise, where neither its tensors nor its notes nor its
name say so.

At the last training timestep nothing but noise is left. A model that predicts noise answers what it was given. One that
predicts v answers nearly minus the picture it imagines: little of the noise, and smooth.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as functional

from studio.asked.messages import Message
from studio.diffusion.components import Components
from studio.diffusion.conditions import no_words
from studio.diffusion.forward import training_curve
from studio.families.base import Prediction

MEANING: Mapping[Prediction, str] = {
    "epsilon": Message("the noise"),
    "v_prediction": "v",
    "sample": Message("the picture"),
}
# Cosine between pure noise and the answer to it: about 1 for noise, about 0.07 for v. Between these nobody can say.
NOISE_COSINE, V_COSINE = 0.6, 0.3
SMOOTH = 0.3  # correlation of neighbouring cells of an imagined picture; that of noise is 0
MAX_SIDE = 64  # cells of the latents: the native size, as far as it costs little


@torch.inference_mode()
def measured_prediction(components: Components, *, mostly: Prediction | None = None) -> Prediction | None:
    """Whether a U-Net predicts noise or v; None where its answer does not show it.

    `mostly` is what nearly all of its family predict: then little of the noise alone does not make it v, and the answer
    must be smooth as well.
    """
    side = min(MAX_SIDE, components.native_width // components.vae_scale_factor)
    noise = torch.randn((1, components.in_channels, side, side), generator=torch.Generator().manual_seed(0))
    answer = _answer(components, noise).float().cpu()
    cosine = float(functional.cosine_similarity(answer.flatten(), noise[:, : answer.shape[1]].flatten(), dim=0))
    if cosine > NOISE_COSINE:
        return "epsilon"
    if abs(cosine) < V_COSINE and (mostly is None or smoothness(answer) > SMOOTH):
        return "v_prediction"
    return None


def _answer(components: Components, noise: torch.Tensor) -> torch.Tensor:
    """The model's own, to pure noise and no words."""
    width = components.unet.config.cross_attention_dim
    sample, embeds = (
        one.to(components.device, components.dtype) for one in (noise, torch.zeros(1, components.positions, width))
    )
    last = torch.tensor([training_curve(components.scheduler_config).timesteps[-1]], device=components.device)
    side = noise.shape[-1] * components.vae_scale_factor
    conditions = no_words(components, side, side)
    arguments = {"added_cond_kwargs": conditions} if conditions else {}
    result: torch.Tensor = components.unet(sample, last, embeds, return_dict=False, **arguments)[0]
    return result


def smoothness(answer: torch.Tensor) -> float:
    """Correlation of each cell with its right and lower neighbour, mean over channels of (1, C, h, w)."""
    deviation = answer - answer.mean(dim=(2, 3), keepdim=True)
    power = deviation.square().mean(dim=(2, 3)).clamp(min=1e-12)
    right = (deviation[..., 1:] * deviation[..., :-1]).mean(dim=(2, 3)) / power
    below = (deviation[..., 1:, :] * deviation[..., :-1, :]).mean(dim=(2, 3)) / power
    return float((right + below).mean() / 2)
