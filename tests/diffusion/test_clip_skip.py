"""Clip skip: the layer of the text encoders that is listened to, with A1111's numbers, equal to diffusers' own.

diffusers obeys its clip_skip for the prompt alone, and encodes the negative prompt as without it; A1111, whose pictures
carry the number, obeys it for both, and so does the studio. So the prompts are compared one by one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline

from studio.asked.fields import TextToImage
from studio.asked.problems import InvalidRequest
from studio.asked.resolved import resolve
from studio.diffusion.components import Components, TextEncoder
from studio.diffusion.lane import start_lane
from studio.diffusion.prompt import encode_prompts
from studio.families import configs
from studio.families.registry import FAMILIES
from tests.checkpoints.original import text_encoders, tiny_family
from tests.diffusion.helpers import ask_unet, reference_scheduler, run_lane

LAYERS = 4
PROMPT, NEGATIVE = "a red apple in the snow", "a fox"


def components_of(name: str) -> Components:
    """Tiny random weights of a family, whose text encoders have LAYERS layers."""
    modules = tiny_family(name)  # type: ignore[arg-type]
    deep = []
    for index, one in enumerate(text_encoders(FAMILIES[name], modules)):
        torch.manual_seed(index)
        config = type(one.module.config).from_dict(one.module.config.to_dict() | {"num_hidden_layers": LAYERS})
        module = type(one.module)(config).eval()
        if not hasattr(module, "text_model"):  # diffusers' pipelines still look for the norm one level deeper
            object.__setattr__(module, "text_model", module)
        deep.append(TextEncoder(one.part, one.tokenizer, module))
    return Components(
        name=name,
        family=FAMILIES[name],
        unet=modules["unet"],
        vae=modules["vae"],
        text_encoders=tuple(deep),
        scheduler_config=configs.family_config(FAMILIES[name], "scheduler"),
        prediction_type="epsilon",
        device=torch.device("cpu"),
        dtype=torch.float32,
        native_width=64,
        native_height=64,
    )


def diffusers_embeds(components: Components, prompt: str, clip_skip: int | None) -> torch.Tensor:
    """A prompt's embeddings of diffusers' pipeline, whose numbers count what is skipped."""
    encoders = {one.part: one.module for one in components.text_encoders}
    tokenizers = {
        f"tokenizer{one.part.removeprefix('text_encoder')}": one.tokenizer for one in components.text_encoders
    }
    parts: dict[str, Any] = encoders | tokenizers | {"unet": components.unet, "vae": components.vae}
    parts["scheduler"] = reference_scheduler("ddim", components.scheduler_config, 0)
    assert isinstance(parts["scheduler"], DDIMScheduler)
    if components.is_xl:
        pipeline = StableDiffusionXLPipeline(**parts, add_watermarker=False, force_zeros_for_empty_prompt=False)
    else:
        pipeline = StableDiffusionPipeline(
            **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )
    given = {"num_images_per_prompt": 1, "do_classifier_free_guidance": False, "clip_skip": clip_skip}
    embeds: torch.Tensor = pipeline.encode_prompt(prompt, device="cpu", **given)[0]
    return embeds


@torch.inference_mode()
@pytest.mark.parametrize("clip_skip", range(1, LAYERS + 1))
@pytest.mark.parametrize("name", ["sd1", "sd2"])
def test_sd_equals_diffusers_clip_skip_of_one_less(name: str, clip_skip: int) -> None:
    components = components_of(name)
    ours = encode_prompts(components, PROMPT, NEGATIVE, num_steps=4, guidance_scale=5.0, clip_skip=clip_skip).at(0)[0]
    theirs = [diffusers_embeds(components, text, clip_skip - 1 or None) for text in (NEGATIVE, PROMPT)]
    assert torch.equal(ours, torch.cat(theirs))
    if clip_skip == 1:
        usual = encode_prompts(components, PROMPT, NEGATIVE, num_steps=4, guidance_scale=5.0).at(0)[0]
        assert torch.equal(ours, usual)


def pipeline_of(components: Components) -> StableDiffusionPipeline:
    encoder = components.text_encoders[0]
    pipeline = StableDiffusionPipeline(
        unet=components.unet, vae=components.vae, text_encoder=encoder.module, tokenizer=encoder.tokenizer,
        scheduler=reference_scheduler("ddim", components.scheduler_config, 0), safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@torch.inference_mode()
def test_diffusers_skips_for_the_prompt_alone_and_the_studio_for_both() -> None:
    components = components_of("sd1")
    prompt, negative = pipeline_of(components).encode_prompt(
        PROMPT, "cpu", 1, True, negative_prompt=NEGATIVE, clip_skip=1
    )
    ours = encode_prompts(components, PROMPT, NEGATIVE, num_steps=4, guidance_scale=5.0, clip_skip=2).at(0)[0]
    plain = encode_prompts(components, PROMPT, NEGATIVE, num_steps=4, guidance_scale=5.0, clip_skip=1).at(0)[0]
    assert torch.equal(ours[1:], prompt)
    assert torch.equal(plain[:1], negative)
    assert not torch.equal(ours[:1], negative)


@torch.inference_mode()
@pytest.mark.parametrize("clip_skip", [2, 3])
def test_a_whole_picture_equals_diffusers_with_the_same_layer_for_both_prompts(clip_skip: int) -> None:
    components = components_of("sd1")
    negative = diffusers_embeds(components, NEGATIVE, clip_skip - 1)
    noise = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(3))
    theirs = pipeline_of(components)(
        prompt=PROMPT, clip_skip=clip_skip - 1, negative_prompt_embeds=negative, latents=noise, output_type="latent",
        num_inference_steps=4, guidance_scale=5.0, generator=torch.Generator().manual_seed(3),
    ).images  # fmt: skip
    request = TextToImage(
        prompt=PROMPT, negative_prompt=NEGATIVE, scheduler="ddim", noise_schedule="as_configured",
        num_inference_steps=4, guidance_scale=5.0, clip_skip=clip_skip,
    )  # fmt: skip
    encoded = encode_prompts(components, PROMPT, NEGATIVE, num_steps=4, guidance_scale=5.0, clip_skip=clip_skip)
    lane = start_lane(components, resolve(request, components.suits), seed=3, conditioning=encoded)
    run_lane(lane, lambda lane: ask_unet(components, lane))
    assert torch.equal(lane.latents, theirs)


@torch.inference_mode()
@pytest.mark.parametrize("clip_skip", range(1, LAYERS + 1))
def test_sdxl_counts_from_the_same_layer_and_listens_to_the_second_as_trained(clip_skip: int) -> None:
    """diffusers' numbers for SDXL begin at the last layer but one, which is 2 here."""
    components = components_of("sdxl")
    ours = encode_prompts(components, PROMPT, NEGATIVE, num_steps=4, guidance_scale=5.0, clip_skip=clip_skip)
    theirs = [diffusers_embeds(components, text, clip_skip - 2) for text in (NEGATIVE, PROMPT)]
    assert torch.equal(ours.at(0)[0], torch.cat(theirs))
    usual = encode_prompts(components, PROMPT, NEGATIVE, num_steps=4, guidance_scale=5.0)
    assert torch.equal(ours.at(0)[0], usual.at(0)[0]) == (clip_skip == 2)
    assert torch.equal(ours.at(0)[1]["text_embeds"], usual.at(0)[1]["text_embeds"])


@pytest.mark.parametrize("clip_skip", [0, -1, LAYERS + 1, 32])
def test_a_layer_that_is_not_there_is_refused_with_the_encoders_depth(clip_skip: int) -> None:
    components = components_of("sd1")
    with pytest.raises(InvalidRequest, match=rf"clip_skip: {clip_skip} .* whole numbers from 1 to {LAYERS}, its"):
        encode_prompts(components, PROMPT, "", num_steps=4, guidance_scale=1.0, clip_skip=clip_skip)


def test_the_depth_is_the_shallowest_encoders() -> None:
    components = components_of("sdxl")
    shallow = replace(components.text_encoders[0], module=tiny_family("sdxl")["text_encoder"])
    components.text_encoders = (shallow, components.text_encoders[1])
    assert components.encoder_depth == 2
