"""ControlNets: equal to diffusers' own pipelines, nothing to lanes without one, and one call for all lanes of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    StableDiffusionControlNetImg2ImgPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionXLControlNetPipeline,
)
from PIL import Image

from studio.asked.control import Control
from studio.asked.fields import ImageToImage, TextToImage
from studio.asked.resolved import resolve
from studio.diffusion.components import Components
from studio.diffusion.controlnet import AppliedControl, applied_control
from studio.diffusion.denoisers import call_unet
from studio.diffusion.lane import Lane, start_lane
from studio.diffusion.prompt import encode_prompts
from studio.diffusion.vae import from_picture
from studio.families import configs
from studio.families.registry import FAMILIES
from tests.checkpoints.original import text_encoders, tiny_family
from tests.diffusion.helpers import ask_unet, reference_scheduler, run_lane
from tests.diffusion.test_equals_diffusers import GUIDANCE, SEED, STEPS, conditioning, picture
from tests.tiny_control import tiny_controlnet

SIZE = (64, 64)


def control_map(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8))


def asked(**fields: Any) -> TextToImage:
    values = {"prompt": "", "num_inference_steps": STEPS, "guidance_scale": GUIDANCE, "noise_schedule": "as_configured"}
    return TextToImage(**{**values, **fields})


@pytest.fixture(scope="module")
def nets(components: Components) -> list[Any]:
    return [tiny_controlnet(components.unet, seed) for seed in (11, 12)]


Given = Sequence[tuple[float, float, float]]  # scale, start and end of each control


def controls_of(components: Components, nets: Sequence[Any], given: Given) -> list[AppliedControl]:
    return [
        applied_control(
            components, net, Control(model="x", image=b"x", scale=scale, start=start, end=end), control_map(k)
        )
        for k, (net, (scale, start, end)) in enumerate(zip(nets, given))
    ]


def in_pipeline(nets: Sequence[Any], given: Given) -> dict[str, Any]:
    """The arguments of diffusers' pipelines: lists where there are several."""
    columns: dict[str, list[Any]] = {
        "image": [control_map(k) for k in range(len(given))],
        "controlnet_conditioning_scale": [scale for scale, _, _ in given],
        "control_guidance_start": [start for _, start, _ in given],
        "control_guidance_end": [end for _, _, end in given],
    }
    return columns if len(given) > 1 else {name: values[0] for name, values in columns.items()}


def run_with(components: Components, lane: Lane) -> torch.Tensor:
    run_lane(lane, torch.inference_mode()(lambda lane: call_unet(components, [lane.call()])))
    return lane.latents


def sd1(cls: Any, components: Components, nets: Sequence[Any], scheduler: str) -> Any:
    pipeline = cls(
        vae=components.vae,
        text_encoder=components.part("text_encoder"),
        tokenizer=components.text_encoders[0].tokenizer,
        unet=components.unet,
        controlnet=list(nets) if len(nets) > 1 else nets[0],
        scheduler=reference_scheduler(scheduler, components.scheduler_config, SEED),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


ONE = [(1.0, 0.0, 1.0)]
PART = [(0.7, 0.25, 0.75)]
TWO = [(1.0, 0.0, 0.5), (1.6, 0.25, 1.0)]


@pytest.mark.parametrize(
    ("scheduler", "given", "guidance"),
    [("dpmpp_2m", ONE, 7.5), ("ddim", PART, 7.5), ("heun", PART, 7.5), ("euler_a", TWO, 7.5), ("dpmpp_2m", TWO, 1.0)],
)
def test_text_to_image_is_bit_equal(
    components: Components, nets: list[Any], scheduler: str, given: Given, guidance: float
) -> None:
    used = nets[: len(given)]
    generator = torch.Generator().manual_seed(SEED)
    noise = torch.randn((1, 4, 8, 8), generator=generator)
    embeds = conditioning(components, guidance).at(0)[0]
    prompts = {"prompt_embeds": embeds[-1:]} | ({"negative_prompt_embeds": embeds[:1]} if guidance > 1 else {})
    reference = sd1(StableDiffusionControlNetPipeline, components, used, scheduler)(
        **prompts,
        **in_pipeline(used, given),
        latents=noise,
        generator=generator,
        num_inference_steps=STEPS,
        guidance_scale=guidance,
        output_type="latent",
    ).images
    lane = start_lane(
        components,
        resolve(asked(scheduler=scheduler, guidance_scale=guidance), components.suits),
        seed=SEED,
        conditioning=conditioning(components, guidance),
        controls=controls_of(components, used, given),
    )
    assert torch.equal(run_with(components, lane), reference)
    plain = start_lane(
        components,
        resolve(asked(scheduler=scheduler, guidance_scale=guidance), components.suits),
        seed=SEED,
        conditioning=conditioning(components, guidance),
    )
    run_lane(plain, lambda lane: ask_unet(components, lane))
    assert not torch.allclose(plain.latents, reference, atol=1e-2), "the ControlNet had something to say"


def test_image_to_image_is_bit_equal(components: Components, nets: list[Any]) -> None:
    start = picture().resize(SIZE, Image.Resampling.LANCZOS)
    embeds = conditioning(components).at(0)[0]
    given = in_pipeline(nets, TWO)
    reference = sd1(StableDiffusionControlNetImg2ImgPipeline, components, nets, "dpmpp_2m")(
        prompt_embeds=embeds[1:],
        negative_prompt_embeds=embeds[:1],
        **given | {"image": (from_picture(start, *SIZE) + 1) / 2, "control_image": given["image"]},
        strength=0.6,
        generator=torch.Generator().manual_seed(SEED),
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        output_type="latent",
    ).images
    request = ImageToImage(
        prompt="",
        image=b"x",
        strength=0.6,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        noise_schedule="as_configured",
    )
    lane = start_lane(
        components,
        resolve(request, components.suits),
        seed=SEED,
        conditioning=conditioning(components),
        picture=start,
        controls=controls_of(components, nets, TWO),
    )
    assert torch.equal(run_with(components, lane), reference)


@pytest.fixture(scope="module")
def sdxl() -> Components:
    modules = tiny_family("sdxl")
    scheduler = configs.family_config(FAMILIES["sdxl"], "scheduler")
    return Components(
        name="tiny-xl",
        family=FAMILIES["sdxl"],
        unet=modules["unet"],
        vae=modules["vae"],
        text_encoders=text_encoders(FAMILIES["sdxl"], modules),
        scheduler_config=scheduler,
        prediction_type="epsilon",
        device=torch.device("cpu"),
        dtype=torch.float32,
        native_width=64,
        native_height=64,
    )


def test_sdxl_is_bit_equal(sdxl: Components) -> None:
    used = [tiny_controlnet(sdxl.unet, seed) for seed in (1, 2)]
    words = encode_prompts(sdxl, "a red apple", "snow", num_steps=4, guidance_scale=GUIDANCE)
    embeds, added = words.at(0)
    generator = torch.Generator().manual_seed(SEED)
    pipeline = StableDiffusionXLControlNetPipeline(
        vae=sdxl.vae,
        text_encoder=sdxl.part("text_encoder"),
        text_encoder_2=sdxl.part("text_encoder_2"),
        tokenizer=sdxl.text_encoders[0].tokenizer,
        tokenizer_2=sdxl.text_encoders[1].tokenizer,
        unet=sdxl.unet,
        controlnet=used,
        scheduler=reference_scheduler("euler", sdxl.scheduler_config, SEED),
        add_watermarker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    reference = pipeline(
        prompt_embeds=embeds[1:],
        negative_prompt_embeds=embeds[:1],
        pooled_prompt_embeds=added["text_embeds"][1:],
        negative_pooled_prompt_embeds=added["text_embeds"][:1],
        **in_pipeline(used, TWO),
        latents=torch.randn((1, 4, 8, 8), generator=generator),
        generator=generator,
        num_inference_steps=4,
        guidance_scale=GUIDANCE,
        output_type="latent",
    ).images
    request = asked(scheduler="euler", num_inference_steps=4)
    lane = start_lane(
        sdxl, resolve(request, sdxl.suits), seed=SEED, conditioning=words, controls=controls_of(sdxl, used, TWO)
    )
    assert torch.equal(run_with(sdxl, lane), reference)


class Counted:
    """A ControlNet that says how often it was asked, and for how many rows."""

    def __init__(self, net: Any) -> None:
        self.net, self.config, self.rows = net, net.config, [0][:0]

    def __call__(self, sample: torch.Tensor, *rest: Any, **named: Any) -> Any:
        self.rows.append(len(sample))
        return self.net(sample, *rest, **named)


@torch.inference_mode()
def test_lanes_of_one_controlnet_share_its_call_and_others_are_left_alone(
    components: Components, nets: list[Any]
) -> None:
    """Also lanes in which it acts with other strengths, at other times of the run, or not at all."""
    counted = [Counted(net) for net in nets]

    def lane(seed: int, nets: Sequence[Any], given: Given) -> Lane:
        controls = controls_of(components, nets, given)
        return start_lane(
            components,
            resolve(asked(), components.suits),
            seed=seed,
            conditioning=conditioning(components),
            controls=controls,
        )

    lanes = [lane(1, (), ()), lane(2, counted[:1], ONE), lane(3, counted, [(0.4, 0.0, 1.0), (1.2, 0.0, 1.0)])]
    lanes.append(lane(4, counted[:1], [(1.0, 0.5, 1.0)]))  # not yet
    assert len({one.key for one in lanes}) == 3, "lanes of the same ControlNets may share a call"
    together = call_unet(components, [one.call() for one in lanes]).split(2)
    assert [net.rows for net in counted] == [[4], [2]]
    for one, answer in zip(lanes, together):
        assert torch.allclose(call_unet(components, [one.call()]), answer, atol=1e-5)
    without = call_unet(components, [lane(seed, (), ()).call() for seed in (1, 2, 3, 4)]).split(2)
    assert torch.equal(without[0], together[0])
    assert torch.equal(without[3], together[3])
    assert not torch.allclose(without[1], together[1], atol=1e-2)


def test_a_control_acts_when_diffusers_one_does(components: Components, nets: list[Any]) -> None:
    for total in (1, 3, 8, 25):
        for start, end in ((0.0, 1.0), (0.0, 0.4), (0.3, 1.0), (0.25, 0.75), (0.5, 0.51)):
            (control,) = controls_of(components, nets[:1], [(1.0, start, end)])
            for i in range(total):
                keep = 1.0 - float(i / total < start or (i + 1) / total > end)  # pipeline_controlnet.py
                assert control.acts(i, total) == bool(keep)
    (silent,) = controls_of(components, nets[:1], [(0.0, 0.0, 1.0)])
    assert not silent.acts(0, 1)
