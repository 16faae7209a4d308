"""Checkpoints of other paths of noise and depths, tiny and random: single files, and in diffusers' pipelines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import torch
from PIL import Image

from studio.asked.fields import ImageToImage, TextToImage
from studio.asked.resolved import resolve
from studio.checkpoints import loader
from studio.diffusion.components import Components
from studio.diffusion.evaluation import Evaluation
from studio.diffusion.lane import Lane, start_lane
from studio.diffusion.prompt import encode_prompts
from tests.checkpoints.original import save_original, tiny_family

SEED, STEPS, GUIDANCE, SIDE = 11, 5, 3.0, 64
PROMPT, NEGATIVE = "a red apple in the snow", "blurry"
MEAN, STD = (-1.6, 1.2, -0.8, 0.4), (8.4, 6.2, 5.1, 4.4)  # about Playground v2.5's
EDM = {"edm_mean": torch.tensor(MEAN), "edm_std": torch.tensor(STD)}
COSXL = {"edm_vpred.sigma_max": torch.tensor(120.0), "edm_vpred.sigma_min": torch.tensor(0.002)}
EDM_CONFIG = {"sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5, "prediction_type": "epsilon"}
COSXL_CONFIG = {
    "sigma_min": 0.0020000000949949026,  # as float32 has it in the file
    "sigma_max": 120.0,
    "sigma_data": 1.0,
    "prediction_type": "v_prediction",
    "sigma_schedule": "exponential",
}
FLOW_METADATA = {"modelspec.prediction_type": "flow"}


def load(path: Path, **given: Any) -> Components:
    return loader.load(
        path,
        name="tiny",
        device=torch.device("cpu"),
        dtype=torch.float32,
        progress=lambda message, fraction: None,
        fast_preview=(torch.zeros(192, 4, 3, 3), torch.zeros(192)),
        **given,
    )


def single_file(folder: Path, extra: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> Path:
    """An SDXL in the original layout with further tensors."""
    return save_original(folder / "model.safetensors", "sdxl", tiny_family("sdxl"), extra=extra, metadata=metadata)


def pipeline(components: Components, scheduler: Any, name: str = "StableDiffusionXLPipeline") -> Any:
    """diffusers' pipeline over the same modules."""
    first, second = components.text_encoders
    made = getattr(diffusers, name)(
        vae=components.vae,
        text_encoder=first.module,
        text_encoder_2=second.module,
        tokenizer=first.tokenizer,
        tokenizer_2=second.tokenizer,
        unet=components.unet,
        scheduler=scheduler,
        add_watermarker=False,
    )
    made.set_progress_bar_config(disable=True)
    return made


def picture() -> Image.Image:
    gradient = Image.linear_gradient("L").resize((SIDE, SIDE))
    return Image.merge("RGB", (gradient, gradient.rotate(90), gradient.rotate(180)))


@torch.inference_mode()
def run(components: Components, lane: Lane) -> list[Evaluation]:
    evaluations = []
    while not lane.is_finished:
        call = lane.call()
        timestep = torch.full((len(call.sample),), call.timestep)
        added = dict(call.added_conditions) or None
        answer = components.unet(call.sample, timestep, call.prompt_embeds, added_cond_kwargs=added, return_dict=False)
        evaluations.append(lane.advance(answer[0]))
    return evaluations


def lane_of(components: Components, scheduler: str, noise_schedule: str = "automatic", **given: Any) -> Lane:
    """A lane of text to image, or with `strength` of image to image from `picture`."""
    asked = {
        "prompt": PROMPT,
        "negative_prompt": NEGATIVE,
        "width": SIDE,
        "height": SIDE,
        "scheduler": scheduler,
        "noise_schedule": noise_schedule,
        "num_inference_steps": STEPS,
        "guidance_scale": GUIDANCE,
        "seed": SEED,
    }
    if "strength" in given:
        request: Any = ImageToImage(image=b"stands for the picture", **asked, **given)
    else:
        request = TextToImage(**asked)
    conditioning = encode_prompts(components, PROMPT, NEGATIVE, num_steps=STEPS, guidance_scale=GUIDANCE)
    return start_lane(
        components,
        resolve(request, components.suits),
        seed=SEED,
        conditioning=conditioning,
        picture=picture() if "strength" in given else None,
    )


def latents_of(components: Components, scheduler: Any) -> torch.Tensor:
    """diffusers' final latents for the same prompt and seed."""
    generator = torch.Generator().manual_seed(SEED)
    noise = torch.randn((1, 4, SIDE // 8, SIDE // 8), generator=generator)
    asked = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "num_inference_steps": STEPS, "guidance_scale": GUIDANCE}
    made = pipeline(components, scheduler)(
        latents=noise, generator=generator, width=SIDE, height=SIDE, output_type="latent", **asked
    )
    result: torch.Tensor = made.images
    return result


def without(components: Components, **changes: Any) -> Components:
    """The components with other facts."""
    return replace(components, **changes)
