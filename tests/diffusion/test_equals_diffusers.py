"""Our loop against diffusers' own pipelines on the same weights, latents and embeddings: bit for bit."""

from __future__ import annotations

import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionPipeline
from diffusers.image_processor import VaeImageProcessor
from PIL import Image

from studio.asked.fields import ImageToImage, TextToImage
from studio.asked.resolved import resolve
from studio.asked.schedulers import SCHEDULERS
from studio.diffusion.components import Components
from studio.diffusion.lane import start_lane
from studio.diffusion.prompt import Conditioning, encode_prompts
from studio.diffusion.vae import from_picture
from tests.diffusion.helpers import REFERENCE, ask_unet, reference_scheduler, run_lane

SEED = 1234
STEPS = 8
GUIDANCE = 7.5
OF_DIFFUSERS = [name for name in SCHEDULERS if name in REFERENCE]  # test_planned has the others
WITH_CURVE_FLAGS = [
    "euler", "heun", "lms", "dpm2", "dpm2_a", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_2m_sde_heun",
    "dpmpp_sde", "dpmpp_3m_sde", "unipc", "deis",
]  # fmt: skip


def conditioning(components: Components, guidance: float = GUIDANCE) -> Conditioning:
    return encode_prompts(components, "a red apple", "snow", num_steps=STEPS, guidance_scale=guidance)


def pipeline_latents(components: Components, scheduler: object, guidance: float = GUIDANCE) -> torch.Tensor:
    """diffusers' final latents (1, 4, 8, 8) for SEED, our embeddings and guidance."""
    pipeline = StableDiffusionPipeline(
        vae=components.vae,
        text_encoder=components.part("text_encoder"),
        tokenizer=components.text_encoders[0].tokenizer,
        unet=components.unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(SEED)
    noise = torch.randn((1, 4, 8, 8), generator=generator)
    embeds = conditioning(components).at(0)[0]
    result: torch.Tensor = pipeline(
        prompt_embeds=embeds[1:],
        negative_prompt_embeds=embeds[:1],
        latents=noise,
        generator=generator,
        num_inference_steps=STEPS,
        guidance_scale=guidance,
        output_type="latent",
    ).images
    return result


def our_latents(components: Components, request: TextToImage) -> torch.Tensor:
    lane = start_lane(
        components,
        resolve(request, components.suits),
        seed=SEED,
        conditioning=conditioning(components, request.guidance_scale),
    )
    run_lane(lane, lambda lane: ask_unet(components, lane))
    return lane.latents


@pytest.mark.parametrize("name", OF_DIFFUSERS)
def test_configured_spacing_is_bit_equal(components: Components, name: str) -> None:
    reference = pipeline_latents(components, reference_scheduler(name, components.scheduler_config, SEED))
    request = TextToImage(
        prompt="", scheduler=name, noise_schedule="as_configured", num_inference_steps=STEPS, guidance_scale=GUIDANCE
    )
    assert torch.equal(our_latents(components, request), reference)


@pytest.mark.parametrize("curve", ["karras", "exponential"])
@pytest.mark.parametrize("name", WITH_CURVE_FLAGS)
def test_flagged_curve_is_bit_equal(components: Components, name: str, curve: str) -> None:
    scheduler = reference_scheduler(
        name,
        components.scheduler_config,
        SEED,
        timestep_spacing="linspace",
        **{f"use_{curve}_sigmas": True},
    )
    reference = pipeline_latents(components, scheduler)
    request = TextToImage(
        prompt="", scheduler=name, noise_schedule=curve, num_inference_steps=STEPS, guidance_scale=GUIDANCE
    )
    ours = our_latents(components, request)
    assert torch.equal(ours, reference)


def test_without_guidance_one_branch_is_bit_equal(components: Components) -> None:
    reference = pipeline_latents(components, reference_scheduler("euler", components.scheduler_config, SEED), 1.0)
    request = TextToImage(
        prompt="", scheduler="euler", noise_schedule="as_configured", num_inference_steps=STEPS, guidance_scale=1.0
    )
    assert torch.equal(our_latents(components, request), reference)


def picture() -> Image.Image:
    """A 96x80 gradient: its size is not the request's, so that resizing is compared too."""
    gradient = Image.linear_gradient("L").resize((96, 80))
    return Image.merge("RGB", (gradient, gradient.rotate(90), gradient.rotate(180)))


@pytest.mark.parametrize(
    "strength", [pytest.param(0.3, marks=pytest.mark.slow), 0.6, pytest.param(1.0, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("name", OF_DIFFUSERS)
def test_image_to_image_is_bit_equal(components: Components, name: str, strength: float) -> None:
    """The pipeline gets the picture as a contiguous tensor: from a PIL picture it makes a channels-last one, on which
    convolutions round differently.

    Two schedulers differ on purpose when they begin in mid-schedule. diffusers' miss the clean latents then, even with
    a perfect model (test_schedules has ours against one). Its PNDM skips its second evaluation and from
    then on is one step behind its timesteps. Its LMS takes coefficients of the fourth order while it has a single
    derivative.
    """
    pipeline = StableDiffusionImg2ImgPipeline(
        vae=components.vae,
        text_encoder=components.part("text_encoder"),
        tokenizer=components.text_encoders[0].tokenizer,
        unet=components.unet,
        scheduler=reference_scheduler(name, components.scheduler_config, SEED),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    embeds = conditioning(components).at(0)[0]
    reference = pipeline(
        image=(from_picture(picture(), 64, 64) + 1) / 2,
        strength=strength,
        prompt_embeds=embeds[1:],
        negative_prompt_embeds=embeds[:1],
        generator=torch.Generator().manual_seed(SEED),
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        output_type="latent",
    ).images
    request = ImageToImage(
        prompt="",
        image=b"stands for the picture below",
        strength=strength,
        scheduler=name,
        noise_schedule="as_configured",
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
    )
    resized = picture().resize((64, 64), Image.Resampling.LANCZOS)
    lane = start_lane(
        components,
        resolve(request, components.suits),
        seed=SEED,
        conditioning=conditioning(components),
        picture=resized,
    )
    run_lane(lane, lambda lane: ask_unet(components, lane))
    assert torch.equal(lane.latents, reference) == (name not in ("pndm", "lms") or strength == 1)


def test_pictures_become_the_pixels_that_diffusers_makes() -> None:
    resized = picture().resize((64, 64), Image.Resampling.LANCZOS)
    assert torch.equal(from_picture(picture(), 64, 64), VaeImageProcessor(vae_scale_factor=8).preprocess(resized))
