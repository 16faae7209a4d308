"""A U-Net that is told the guidance scale (LCM): one row a call, and the latents of diffusers' own pipeline."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel

from studio.asked.fields import TextToImage
from studio.asked.resolved import resolve
from studio.diffusion.components import Components
from studio.diffusion.denoisers import call_unet
from studio.diffusion.lane import Lane, start_lane
from studio.diffusion.prompt import encode_prompts
from tests.diffusion.helpers import reference_scheduler, run_lane

SEED, STEPS = 7, 3


@pytest.fixture(scope="module")
def told(components: Components) -> Components:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        config = {k: v for k, v in components.unet.config.items() if k != "_use_default_values"}
        config["time_cond_proj_dim"] = 16
        return replace(components, unet=UNet2DConditionModel.from_config(config).eval())


def lane_of(told: Components, guidance_scale: float) -> Lane:
    request = TextToImage(
        prompt="a red fox", width=64, height=64, scheduler="euler", noise_schedule="as_configured",
        num_inference_steps=STEPS, guidance_scale=guidance_scale,
    )  # fmt: skip
    said = encode_prompts(told, "a red fox", "", num_steps=STEPS, guidance_scale=guidance_scale)
    return start_lane(told, resolve(request, told.suits), seed=SEED, conditioning=said)


@torch.inference_mode()
@pytest.mark.parametrize("guidance_scale", [1.0, 8.5])
def test_its_latents_are_those_of_diffusers(told: Components, guidance_scale: float) -> None:
    pipeline = StableDiffusionPipeline(
        vae=told.vae, text_encoder=told.part("text_encoder"), tokenizer=told.text_encoders[0].tokenizer, unet=told.unet,
        scheduler=reference_scheduler("euler", told.scheduler_config, SEED), safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    wanted = pipeline(
        prompt="a red fox", width=64, height=64, num_inference_steps=STEPS, guidance_scale=guidance_scale,
        generator=torch.Generator().manual_seed(SEED), output_type="latent",
    ).images  # fmt: skip
    lane = lane_of(told, guidance_scale)
    assert lane.rows == 1
    run_lane(lane, lambda lane: call_unet(told, [lane.call()]))
    torch.testing.assert_close(lane.latents, wanted, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_lanes_of_different_scales_share_a_call(told: Components) -> None:
    lanes = [lane_of(told, scale) for scale in (2.0, 8.5)]
    assert lanes[0].key == lanes[1].key
    calls = [lane.call() for lane in lanes]
    together = call_unet(told, calls)
    alone = torch.cat([call_unet(told, [call]) for call in calls])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(alone[0], alone[1])
