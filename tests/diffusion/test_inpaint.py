"""Masked runs: equal to diffusers' own pipeline, and what stays stays; noise on the way from one seed to another."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionInpaintPipeline, UNet2DConditionModel
from PIL import Image, ImageDraw

from studio.asked.fields import Inpaint, TextToImage
from studio.asked.resolved import resolve
from studio.diffusion import vae
from studio.diffusion.components import Components
from studio.diffusion.lane import Lane, start_lane
from studio.diffusion.latents import Variation, image_generator, image_noise, mask_cells, slerp
from tests.diffusion.helpers import REFERENCE, ask_unet, reference_scheduler, run_lane
from tests.diffusion.test_equals_diffusers import GUIDANCE, SEED, STEPS, conditioning, picture

SIZE = (64, 64)
BOX = (16, 8, 47, 39)  # on the latents' grid: columns 2 to 5, rows 1 to 4


def start() -> Image.Image:
    return picture().resize(SIZE, Image.Resampling.LANCZOS)


def mask() -> Image.Image:
    drawn = Image.new("L", SIZE, 0)
    ImageDraw.Draw(drawn).rectangle(BOX, fill=255)
    return drawn


def asked(**fields: object) -> Inpaint:
    values = {"prompt": "", "image": b"a", "mask": b"b", "num_inference_steps": STEPS, "guidance_scale": GUIDANCE}
    return Inpaint(**{**values, "noise_schedule": "as_configured", **fields})  # type: ignore[arg-type]


def masked_lane(components: Components, request: Inpaint) -> Lane:
    return start_lane(
        components,
        resolve(request, components.suits),
        seed=SEED,
        conditioning=conditioning(components),
        picture=start(),
        mask=mask(),
    )


# These differ on purpose where a run begins in mid-schedule (see image to image); DPM2 and DPM++ SDE put the kept part
# back at the level where their second evaluation really is, between two sigmas.
DIFFERENT = {"pndm", "lms", "dpm2", "dpm2_a", "dpmpp_sde"}


@pytest.mark.parametrize("strength", [0.6, pytest.param(1.0, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", [name for name in REFERENCE if name not in DIFFERENT])
def test_inpainting_is_bit_equal(components: Components, name: str, strength: float) -> None:
    """The pipeline is handed latents of a masked picture that it does not use with a model of four channels, since it
    would take random numbers to make them."""
    pipeline = StableDiffusionInpaintPipeline(
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
        image=(vae.from_picture(start(), *SIZE) + 1) / 2,
        mask_image=mask(),
        masked_image_latents=torch.zeros(1, 4, 8, 8),
        width=64,
        height=64,
        strength=strength,
        prompt_embeds=embeds[1:],
        negative_prompt_embeds=embeds[:1],
        generator=torch.Generator().manual_seed(SEED),
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        output_type="latent",
    ).images
    lane = masked_lane(components, asked(scheduler=name, strength=strength))
    run_lane(lane, lambda lane: ask_unet(components, lane))
    assert torch.equal(lane.latents, reference)


@pytest.fixture(scope="module")
def nine(components: Components) -> Components:
    """The same with an inpainting U-Net, which takes latents, mask and masked picture."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        unet = UNet2DConditionModel.from_config(dict(components.unet.config) | {"in_channels": 9}).eval()
    return replace(components, unet=unet)


@pytest.mark.parametrize("strength", [1.0, 0.6])
@pytest.mark.parametrize("name", ["ddim", "euler", "dpmpp_2m", "euler_a"])
def test_an_inpainting_unet_is_bit_equal(nine: Components, name: str, strength: float) -> None:
    """The pipeline is handed the masked picture's latents without random numbers, as ours are (`inpainting_input`)."""
    pipeline = StableDiffusionInpaintPipeline(
        vae=nine.vae, text_encoder=nine.part("text_encoder"), tokenizer=nine.text_encoders[0].tokenizer, unet=nine.unet,
        scheduler=reference_scheduler(name, nine.scheduler_config, SEED), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    embeds = conditioning(nine).at(0)[0]
    pixels = vae.from_picture(start(), *SIZE)
    white = torch.from_numpy(np.asarray(mask(), dtype=np.float32) / 255)[None, None] >= 0.5
    reference = pipeline(
        image=(pixels + 1) / 2, mask_image=mask(),
        masked_image_latents=vae.encode(nine, pixels.masked_fill(white, 0.0)), width=64, height=64, strength=strength,
        prompt_embeds=embeds[1:], negative_prompt_embeds=embeds[:1], generator=torch.Generator().manual_seed(SEED),
        num_inference_steps=STEPS, guidance_scale=GUIDANCE, output_type="latent",
    ).images  # fmt: skip
    lane = masked_lane(nine, asked(scheduler=name, strength=strength))
    run_lane(lane, lambda lane: ask_unet(nine, lane))
    assert torch.equal(lane.latents, reference)


@pytest.mark.parametrize("fill", ["original", "noise", "edges"])
@pytest.mark.parametrize("name", sorted(DIFFERENT | {"euler_a"}))
def test_what_is_not_masked_ends_as_the_pictures_own_latents(components: Components, name: str, fill: str) -> None:
    lane = masked_lane(components, asked(scheduler=name, strength=0.7, mask_fill=fill))
    run_lane(lane, lambda lane: ask_unet(components, lane))
    own = vae.encode(components, vae.from_picture(start(), *SIZE), image_generator(SEED)).float()
    cells = mask_cells(mask(), 8).bool().expand(1, 4, 8, 8)
    assert torch.equal(lane.latents[~cells], own[~cells])
    assert not torch.isclose(lane.latents[cells], own[cells]).any()


@pytest.mark.parametrize("name", ["dpm2", "dpm2_a", "dpmpp_sde", "heun", "dpmpp_2m", "ddim"])
def test_the_kept_part_has_the_noise_of_each_evaluation(components: Components, name: str) -> None:
    """Also of second evaluations, which lie between two sigmas: in the model's own coordinates it is a x0 + s noise."""
    lane = masked_lane(components, asked(scheduler=name, strength=0.8, noise_schedule="normal"))
    unmasked = lane._unmasked_part
    assert unmasked is not None
    outside = ~unmasked.mask.bool().expand(1, 4, 8, 8)[0]

    def check(lane: Lane) -> torch.Tensor:
        asked_for = lane.call().sample[0]
        level = lane.schedule.levels[lane.index]
        expected = (level.a * unmasked.latents + level.s * unmasked.noise)[0]
        assert (asked_for[outside] - expected[outside]).abs().max() < 2e-5
        return ask_unet(components, lane)

    run_lane(lane, check)


def test_a_masked_run_without_steps_is_the_picture(components: Components) -> None:
    lane = masked_lane(components, asked(strength=0.05))
    assert lane.is_finished
    own = vae.encode(components, vae.from_picture(start(), *SIZE), image_generator(SEED)).float()
    assert torch.equal(lane.latents, own)


def test_the_finest_stroke_paints_its_cell() -> None:
    drawn = Image.new("L", SIZE, 0)
    drawn.putpixel((29, 44), 255)
    cells = mask_cells(drawn, 8)
    assert cells.sum() == 1
    assert cells[0, 0, 5, 3] == 1


# ----------------------------------------------------------------------------------------------------- variations


def a1111_slerp(val: float, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """The published formula on one image's noise (C, h, w), written down again with NumPy."""
    low_array, high_array = low.double().numpy(), high.double().numpy()
    low_norm = low_array / np.linalg.norm(low_array, axis=1, keepdims=True)
    high_norm = high_array / np.linalg.norm(high_array, axis=1, keepdims=True)
    omega = np.arccos((low_norm * high_norm).sum(1))
    so = np.sin(omega)
    first, second = np.sin((1.0 - val) * omega) / so, np.sin(val * omega) / so
    return torch.from_numpy(first[:, None] * low_array + second[:, None] * high_array)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_slerp_is_that_of_other_studios_and_keeps_the_length(share: float) -> None:
    low, high = (torch.randn((1, 4, 16, 16), generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    made = slerp(share, low, high)
    assert torch.allclose(made[0].double(), a1111_slerp(share, low[0], high[0]), atol=1e-5)
    assert made.std() == pytest.approx(1.0, abs=0.06)
    chord = low * (1 - share) + high * share
    if 0 < share < 1:
        assert made.std() > 1.1 * chord.std()


def test_nearly_equal_noises_are_mixed_without_dividing_by_nothing() -> None:
    low = torch.randn((1, 4, 8, 8), generator=image_generator(1))
    made = slerp(0.5, low, low.clone())
    assert torch.equal(made, low)


def test_a_variation_lies_between_two_seeds_and_its_ends_are_they(components: Components) -> None:
    shape = (1, 4, 8, 8)
    own, other = (image_noise(shape, image_generator(seed)) for seed in (1, 2))
    assert torch.equal(image_noise(shape, image_generator(1), Variation(2, 0.0)), own)
    assert torch.allclose(image_noise(shape, image_generator(1), Variation(2, 1.0)), other, atol=1e-5)
    near = image_noise(shape, image_generator(1), Variation(2, 0.2))
    assert math.dist(near.flatten(), own.flatten()) < math.dist(near.flatten(), other.flatten())

    def first(variation: Variation | None) -> torch.Tensor:
        request = TextToImage(prompt="", scheduler="euler", num_inference_steps=STEPS)
        lane = start_lane(
            components,
            resolve(request, components.suits),
            seed=1,
            conditioning=conditioning(components),
            variation=variation,
        )
        return lane.latents

    assert torch.equal(first(None), first(Variation(2, 0.0)))
    assert not torch.equal(first(None), first(Variation(2, 0.3)))
