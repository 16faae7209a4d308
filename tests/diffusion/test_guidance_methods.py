"""The ways of guidance against diffusers, and against plain loops where diffusers has none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, StableDiffusionPipeline
from diffusers.guiders.adaptive_projected_guidance import AdaptiveProjectedGuidance, MomentumBuffer

from studio.asked.fields import TextToImage
from studio.asked.problems import InvalidRequest
from studio.asked.resolved import resolve
from studio.diffusion.components import Components
from studio.diffusion.evaluation import Evaluation
from studio.diffusion.lane import Lane, start_lane
from studio.diffusion.prompt import encode_prompts
from studio.diffusion.rewind import PastEvaluation, rewind
from tests.diffusion.helpers import ask_unet, reference_scheduler, run_lane
from tests.tiny import tiny_components

SEED, STEPS, SCALE = 1234, 6, 20.0  # the tiny model cares little for its prompt


def lane_of(components: Components, prompt: str = "a red apple", **fields: Any) -> Lane:
    request = TextToImage(
        prompt=prompt,
        negative_prompt="snow",
        **{"num_inference_steps": STEPS, "guidance_scale": SCALE, "noise_schedule": "as_configured"} | fields,
    )
    resolved = resolve(request, components.suits)
    conditioning = encode_prompts(
        components, prompt, "snow", num_steps=STEPS, guidance_scale=request.guidance_scale or SCALE
    )
    return start_lane(components, resolved, seed=SEED, conditioning=conditioning)


def run(lane: Lane, components: Components) -> tuple[torch.Tensor, list[Evaluation]]:
    evaluations = run_lane(lane, lambda lane: ask_unet(components, lane))
    return lane.latents, evaluations


@torch.inference_mode()
def plain_loop(
    components: Components, scheduler: Any, combine: Callable[..., tuple[torch.Tensor, torch.Tensor]]
) -> torch.Tensor:
    """The loop of diffusers' documentation. `combine` makes of u, c, x_t and abar what the scheduler is stepped with:
    the model output, and the sample in the model's scale."""
    conditioning = encode_prompts(components, "a red apple", "snow", num_steps=STEPS, guidance_scale=SCALE)
    embeds = conditioning.at(0)[0]
    scheduler.set_timesteps(STEPS)
    latents = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(SEED)) * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        x_t = scheduler.scale_model_input(latents, t)
        u, c = components.unet(torch.cat([x_t, x_t]), t, embeds, return_dict=False)[0].chunk(2)
        abar = scheduler.alphas_cumprod[int(t)]
        output, sample = combine(u, c, x_t, abar)
        scale = latents.norm() / x_t.norm()
        latents = scheduler.step(output, t, sample * scale, return_dict=False)[0]
    return latents


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_rescale_is_the_pipelines(components: Components, share: float) -> None:
    pipeline = StableDiffusionPipeline(
        vae=components.vae,
        text_encoder=components.part("text_encoder"),
        tokenizer=components.text_encoders[0].tokenizer,
        unet=components.unet,
        scheduler=reference_scheduler("euler", components.scheduler_config, SEED),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(SEED)
    embeds = encode_prompts(components, "a red apple", "snow", num_steps=STEPS, guidance_scale=SCALE).at(0)[0]
    expected = pipeline(
        prompt_embeds=embeds[1:],
        negative_prompt_embeds=embeds[:1],
        latents=torch.randn((1, 4, 8, 8), generator=generator),
        num_inference_steps=STEPS,
        guidance_scale=SCALE,
        guidance_rescale=share,
        output_type="latent",
    ).images
    latents, _ = run(lane_of(components, scheduler="euler", guidance_rescale=share), components)
    assert torch.equal(latents, expected)
    assert not torch.equal(latents, run(lane_of(components, scheduler="euler"), components)[0])


@pytest.mark.parametrize(
    ("eta", "norm", "momentum", "share"), [(0.0, 15.0, -0.5, 0.0), (0.3, 2.0, -0.75, 0.0), (1.0, 0.0, 0.0, 0.5)]
)
def test_apg_is_diffusers_guider_on_predicted_pictures(
    components: Components, eta: float, norm: float, momentum: float, share: float
) -> None:
    """Its formula is the paper's, c + (w - 1) D, which diffusers calls the original one."""
    guider = AdaptiveProjectedGuidance(
        guidance_scale=SCALE - 1,
        adaptive_projected_guidance_momentum=momentum,
        adaptive_projected_guidance_rescale=norm,
        eta=eta,
        use_original_formulation=True,
    )
    guider.momentum_buffer = MomentumBuffer(momentum)  # as its first step begins it

    def combine(u: torch.Tensor, c: torch.Tensor, x_t: torch.Tensor, abar: torch.Tensor) -> Any:
        u, c, wide = u.double(), c.double(), x_t.double()
        a, s = abar.double().sqrt(), (1 - abar.double()).sqrt()
        x0 = guider.forward((wide - s * c) / a, (wide - s * u) / a).pred
        output = (wide - a * x0) / s
        if share:
            output = share * output * c.std() / output.std() + (1 - share) * output
        return output.float(), x_t

    expected = plain_loop(components, DDIMScheduler.from_config(components.scheduler_config), combine)
    fields = {"apg_eta": eta, "apg_norm": norm, "apg_momentum": momentum, "guidance_rescale": share}
    latents, _ = run(lane_of(components, scheduler="ddim", guidance_method="apg", **fields), components)
    plain, _ = run(lane_of(components, scheduler="ddim"), components)
    difference = float((latents - plain).abs().max())
    assert float((latents - expected).abs().max()) < 0.01 * difference


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("name", ["ddim", "euler"])
def test_cfgpp_renoises_without_the_prompt(name: str, prediction: str) -> None:
    """x0 by u + scale / 12.5 (c - u), then the noise of u alone (Chung et al. 2024, algorithm 2)."""
    components = tiny_components(prediction_type=prediction)
    config = components.scheduler_config
    scheduler = {"ddim": DDIMScheduler, "euler": EulerDiscreteScheduler}[name].from_config(config)
    conditioning = encode_prompts(components, "a red apple", "snow", num_steps=STEPS, guidance_scale=SCALE)
    embeds, share = conditioning.at(0)[0], SCALE / 12.5
    scheduler.set_timesteps(STEPS)
    abars = [float(scheduler.alphas_cumprod[int(t)]) for t in scheduler.timesteps]
    final = float(scheduler.final_alpha_cumprod) if name == "ddim" else 1.0
    x_t = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(SEED))
    if name == "euler":  # its first latents have its own standard deviation
        x_t = x_t * scheduler.init_noise_sigma * abars[0] ** 0.5
    with torch.inference_mode():
        for t, abar, following in zip(scheduler.timesteps, abars, [*abars[1:], final]):
            a, s = abar**0.5, (1 - abar) ** 0.5
            u, c = components.unet(torch.cat([x_t, x_t]), t, embeds, return_dict=False)[0].chunk(2)
            g = u + share * (c - u)
            x0 = (x_t - s * g) / a if prediction == "epsilon" else a * x_t - s * g
            noise = u if prediction == "epsilon" else s * x_t + a * u
            x_t = following**0.5 * x0 + (1 - following) ** 0.5 * noise
    latents, evaluations = run(lane_of(components, scheduler=name, guidance_method="cfgpp"), components)
    plain, _ = run(lane_of(components, scheduler=name), components)
    difference = float((latents - plain).abs().max())
    assert float((latents - x_t).abs().max()) < 0.01 * difference
    assert float((evaluations[-1].denoised - x0[0]).abs().max()) < 0.01 * difference


@pytest.mark.parametrize("name", ["euler_a", "ddim"])
def test_cfgpp_without_a_difference_is_the_scheduler_itself(components: Components, name: str) -> None:
    """With the prompt in both rows there is nothing to guide: fresh noise and all, the run is the plain one."""
    fields: dict[str, Any] = {"scheduler": name, "prompt": "snow", "eta": 0.8}
    plain, _ = run(lane_of(components, **fields), components)
    other, _ = run(lane_of(components, **fields, guidance_method="cfgpp"), components)
    assert torch.allclose(plain, other, atol=1e-4)


@pytest.mark.parametrize("name", ["euler", "heun", "dpmpp_2m"])
def test_outside_its_band_guidance_costs_nothing(components: Components, name: str) -> None:
    """Rows of the U-Net are one where guidance does not act; the pictures are those of a loop that sets the scale to 1
    there."""
    low, high = 0.9, 6.0
    lane = lane_of(components, scheduler=name, guidance_low=low, guidance_high=high)
    rows: list[int] = []

    def ask(lane: Lane) -> torch.Tensor:
        rows.append(len(lane.call().sample))
        assert rows[-1] == lane.rows == len(lane.call().prompt_embeds)
        return ask_unet(components, lane)

    evaluations = run_lane(lane, ask)
    inside = [low <= e.sigma <= high for e in evaluations]
    assert rows == [2 if acts else 1 for acts in inside]
    assert 0 < sum(inside) < len(inside)
    assert [e.guidance_scale for e in evaluations] == [SCALE if acts else 1.0 for acts in inside]
    other = lane_of(components, scheduler=name)
    while not other.is_finished:
        other.guidance_scale = SCALE if inside[other.index] else 1.0
        other.advance(ask_unet(components, other))
    assert torch.allclose(lane.latents, other.latents, atol=1e-4)


@pytest.mark.parametrize("name", ["euler_a", "ddim"])
@pytest.mark.parametrize("method", ["apg", "cfgpp"])
def test_a_branch_goes_on_bit_for_bit(components: Components, method: str, name: str) -> None:
    """Rewound with the recorded answers a new lane has the momentum of the first, and ends at the same latents."""
    fields = {"scheduler": name, "guidance_method": method, "guidance_high": 8.0, "guidance_rescale": 0.3}
    latents, evaluations = run(lane_of(components, **fields), components)
    other = lane_of(components, **fields)
    rewind(other, [PastEvaluation(e.latents, e.outputs, e.guidance_scale) for e in evaluations[:3]], {})
    assert other.index == 3
    assert torch.equal(run(other, components)[0], latents)


def test_a_composed_prompt_keeps_its_rows(components: Components) -> None:
    """AND needs the negative prompt to compose its texts; outside the band they are composed at a scale of 1."""
    fields: dict[str, Any] = {"prompt": "a fox AND snow :0.7", "scheduler": "euler"}
    lane = lane_of(components, **fields, guidance_high=1e-3)
    assert lane.rows == 3
    latents, evaluations = run(lane, components)
    alone, _ = run(lane_of(components, **fields, guidance_scale=1.0), components)
    assert torch.equal(latents, alone)
    assert {e.guidance_scale for e in evaluations} == {1.0}


def test_with_the_usual_settings_nothing_changes(components: Components) -> None:
    """A band that holds every noise level, and APG's parameters without APG, leave a run as it is, bit for bit."""
    plain, _ = run(lane_of(components, scheduler="euler"), components)
    wide = {"guidance_low": 1e-6, "guidance_high": 1000.0, "apg_eta": 0.4, "apg_norm": 3.0, "apg_momentum": 0.5}
    other, _ = run(lane_of(components, scheduler="euler", **wide), components)
    assert torch.equal(plain, other)


@pytest.mark.parametrize(
    ("fields", "field", "allowed"),
    [
        ({"guidance_low": 5.0, "guidance_high": 2.0}, "guidance_low", "with a highest noise level of 2 numbers from 0"),
        ({"guidance_rescale": 1.5}, "guidance_rescale", "0 to 1"),
        ({"guidance_method": "cfg++++"}, "guidance_method", "CFG"),
        (
            {"guidance_method": "cfgpp", "scheduler": "dpmpp_2m"},
            "guidance_method",
            "with DPM++ 2M one of CFG (cfg), APG (apg)",
        ),
        (
            {"guidance_method": "cfgpp", "scheduler": "ddim", "hires_scale": 2.0, "hires_scheduler": "heun"},
            "guidance_method",
            "with Heun",
        ),
        ({"apg_momentum": -2.0}, "apg_momentum", "-1 to 1"),
    ],
)
def test_a_bad_value_is_one_error(fields: dict[str, Any], field: str, allowed: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        TextToImage.parse({"prompt": ""} | fields)
    problem, *others = error.value.problems
    assert not others
    assert problem.field == field
    assert allowed in str(problem.allowed)
