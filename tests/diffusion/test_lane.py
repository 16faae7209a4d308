"""Lanes alone and side by side, from pure noise and from a picture."""

from __future__ import annotations

import dataclasses
import io

import pytest
import torch
from PIL import Image

from studio.asked.fields import ImageToImage, TextToImage
from studio.asked.resolved import resolve
from studio.asked.schedulers import SCHEDULERS
from studio.diffusion import vae
from studio.diffusion.components import Components
from studio.diffusion.lane import Lane, start_lane
from studio.diffusion.prompt import encode_prompts
from studio.diffusion.unet_call import UnetCall
from tests.diffusion.helpers import ask_unet, run_lane
from tests.tiny import tiny_components


def lane_for(components: Components, request: TextToImage, seed: int, picture: Image.Image | None = None) -> Lane:
    resolved = resolve(request, components.suits)
    conditioning = encode_prompts(
        components,
        request.prompt,
        request.negative_prompt,
        num_steps=resolved.steps,
        guidance_scale=resolved.guidance_scale,
    )
    return start_lane(components, resolved, seed=seed, conditioning=conditioning, picture=picture)


@torch.inference_mode()
def ask_unet_once(components: Components, calls: list[UnetCall]) -> list[torch.Tensor]:
    """One U-Net call for several lanes."""
    timesteps = torch.cat([torch.full((len(c.sample),), c.timestep) for c in calls])
    sample, embeds = torch.cat([c.sample for c in calls]), torch.cat([c.prompt_embeds for c in calls])
    answer = components.unet(sample, timesteps, embeds, return_dict=False)[0]
    return list(answer.split([len(c.sample) for c in calls]))


MIXED = [
    TextToImage(prompt="a red apple", num_inference_steps=25),
    TextToImage(prompt="snow", scheduler="euler_a", num_inference_steps=6, guidance_scale=1.0),
    TextToImage(prompt="(fox:1.4) [sea|snow]", scheduler="heun", num_inference_steps=3, guidance_scale=12.0),
    TextToImage(prompt="the sea", negative_prompt="a cat", scheduler="ddim", num_inference_steps=10),
    TextToImage(prompt="cat", scheduler="unipc", num_inference_steps=7, guidance_scale=3.5),
    TextToImage(prompt="a blue fox", scheduler="dpmpp_sde", num_inference_steps=3),
    TextToImage(prompt="", scheduler="lcm", num_inference_steps=4, guidance_scale=1.5),
    TextToImage(prompt="in the snow", scheduler="pndm", num_inference_steps=6, guidance_scale=7.5),
]


def test_a_lane_among_seven_others_is_the_lane_alone(components: Components) -> None:
    """Given equal inputs each tick's output is equal within 1e-5 of the latents' std, whoever else is in the call; the
    pictures differ by at most 1 of 255 on 99.9 % of their values."""
    together = [lane_for(components, request, seed) for seed, request in enumerate(MIXED)]
    while any(not lane.is_finished for lane in together):
        running = [lane for lane in together if not lane.is_finished]
        calls = [lane.call() for lane in running]
        for lane, answer in zip(running, ask_unet_once(components, calls)):
            alone = ask_unet(components, lane)
            assert float((answer - alone).abs().max()) < 1e-5 * float(lane.call().sample.std())
            lane.advance(answer)
    for seed, (lane, request) in enumerate(zip(together, MIXED)):
        alone = lane_for(components, request, seed)
        run_lane(alone, lambda lane: ask_unet(components, lane))
        ours, theirs = (vae.to_uint8(vae.decode(components, x.latents)).astype(int) for x in (lane, alone))
        assert (abs(ours - theirs) <= 1).mean() >= 0.999


def test_lanes_with_equal_keys_fit_into_one_call(components: Components) -> None:
    guided, alone = (lane_for(components, r, 0) for r in MIXED[:2])
    assert guided.key == alone.key  # the number of branches may differ
    larger = lane_for(components, TextToImage(prompt="", width=128), 0)
    longer = lane_for(components, TextToImage(prompt="fox " * 80), 0)
    assert len({guided.key, larger.key, longer.key}) == 3


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_same_seed_gives_the_same_latents_and_another_one_others(components: Components, name: str) -> None:
    request = TextToImage(prompt="fox", scheduler=name, num_inference_steps=2)

    def latents(seed: int) -> torch.Tensor:
        torch.manual_seed(len(name) + seed)  # the global state has no say
        lane = lane_for(components, request, seed)
        run_lane(lane, lambda lane: ask_unet(components, lane))
        return lane.latents

    first = latents(2**63 - 1)
    assert torch.equal(first, latents(2**63 - 1))
    assert not torch.equal(first, latents(5))


def test_asking_twice_is_asking_once(components: Components) -> None:
    for name in SCHEDULERS:
        request = TextToImage(prompt="fox", scheduler=name, num_inference_steps=3)
        once, twice = lane_for(components, request, 1), lane_for(components, request, 1)
        run_lane(once, lambda lane: ask_unet(components, lane))
        while not twice.is_finished:
            twice.call()
            twice.advance(ask_unet(components, twice))
        assert torch.equal(once.latents, twice.latents), name


def test_an_answer_that_was_not_asked_for_is_refused(components: Components) -> None:
    lane = lane_for(components, TextToImage(prompt="fox", num_inference_steps=3), 1)
    answer = ask_unet(components, lane)
    lane.advance(answer)
    with pytest.raises(RuntimeError, match="not asked for"):
        lane.advance(answer)


def test_looking_at_an_evaluation_changes_nothing(components: Components) -> None:
    request = TextToImage(prompt="fox", num_inference_steps=6)
    seen, unseen = lane_for(components, request, 1), lane_for(components, request, 1)
    while not seen.is_finished:
        evaluation = seen.advance(ask_unet(components, seen))
        vae.decode(components, evaluation.denoised[None])
        assert evaluation.noise_pred.shape == evaluation.x_t.shape == (4, 8, 8)
    run_lane(unseen, lambda lane: ask_unet(components, lane))
    assert torch.equal(seen.latents, unseen.latents)


def test_the_last_predicted_x0_is_the_result(components: Components) -> None:
    lane = lane_for(components, TextToImage(prompt="fox", scheduler="euler"), 1)
    evaluations = run_lane(lane, lambda lane: ask_unet(components, lane))
    assert torch.allclose(evaluations[-1].denoised, lane.latents[0], atol=1e-5)
    assert [e.index for e in evaluations] == list(range(25))
    assert evaluations[0].timestep == 999
    assert evaluations[0].sigma == pytest.approx(14.6146, rel=1e-4)


def test_prompt_scheduling_reaches_the_unet_at_its_step(components: Components) -> None:
    """Heun asks twice a step: the words change with the step, not with the evaluation."""
    lane = lane_for(components, TextToImage(prompt="[fox:cat:2]", scheduler="heun", num_inference_steps=4), 1)
    embeds = []
    while not lane.is_finished:
        embeds.append(lane.call().prompt_embeds[1])
        lane.advance(ask_unet(components, lane))
    same_as_first = [bool(torch.equal(e, embeds[0])) for e in embeds]
    assert same_as_first == [True, True, True, False, False, False, False]


def photo() -> Image.Image:
    return Image.radial_gradient("L").convert("RGB").resize((64, 64))


def image_request(**changes: object) -> ImageToImage:
    encoded = io.BytesIO()
    photo().save(encoded, "PNG")
    request = ImageToImage(prompt="fox", image=encoded.getvalue(), scheduler="ddim", num_inference_steps=10)
    return dataclasses.replace(request, **changes)  # type: ignore[arg-type]


def test_strength_zero_gives_the_picture_back(components: Components) -> None:
    lane = lane_for(components, image_request(strength=0.0), 1, photo())
    assert lane.is_finished
    assert lane.total == 0
    assert lane.key
    pixels = vae.from_picture(photo(), 64, 64)
    spread = float((lane.latents - vae.encode(components, pixels)).abs().mean())
    assert spread < 0.5  # a sample of the posterior, near its mode


def test_less_strength_keeps_more_of_the_picture(components: Components) -> None:
    clean = vae.encode(components, vae.from_picture(photo(), 64, 64))
    noise_levels = []
    for strength in (0.2, 0.5, 1.0):
        lane = lane_for(components, image_request(strength=strength), 1, photo())
        assert lane.total == int(10 * strength)
        x_t = lane.call().sample[0]
        noise_levels.append(float(torch.corrcoef(torch.stack([x_t.flatten(), clean.flatten()]))[0, 1]))
    assert noise_levels == sorted(noise_levels, reverse=True)


def test_image_to_image_needs_its_picture(components: Components) -> None:
    with pytest.raises(ValueError, match="picture"):
        lane_for(components, image_request(), 1)


def test_half_precision_asks_in_half_and_keeps_float32() -> None:
    half = tiny_components(dtype=torch.bfloat16)
    lane = lane_for(half, TextToImage(prompt="fox", num_inference_steps=3), 1)
    call = lane.call()
    assert call.sample.dtype == call.prompt_embeds.dtype == torch.bfloat16
    for evaluation in run_lane(lane, lambda lane: ask_unet(half, lane)):
        assert evaluation.x_t.dtype == evaluation.denoised.dtype == torch.float32
    assert lane.latents.dtype == torch.float32
    assert vae.decode(half, lane.latents).dtype == torch.float32


def test_v_prediction_checkpoints_run() -> None:
    sd2 = tiny_components("v_prediction")
    for name in SCHEDULERS:
        lane = lane_for(sd2, TextToImage(prompt="fox", scheduler=name, num_inference_steps=3), 1)
        evaluations = run_lane(lane, lambda lane: ask_unet(sd2, lane))
        assert all(bool(torch.isfinite(e.denoised).all()) for e in evaluations), name
        assert lane.schedule.scheduler.config.prediction_type == "v_prediction"
