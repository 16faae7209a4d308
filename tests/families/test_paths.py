"""Checkpoints on other paths of noise than Stable Diffusion's: EDM (noise and v) and rectified flow, against diffusers'
own pipelines and schedulers on the same weights, from noise and from a picture."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    EDMDPMSolverMultistepScheduler,
    EDMEulerScheduler,
    UniPCMultistepScheduler,
)

from studio.asked.problems import InvalidRequest
from studio.asked.schedulers import SCHEDULERS
from studio.checkpoints.identify import identify
from studio.diffusion import vae
from studio.diffusion.components import Components
from studio.diffusion.paths import path_of
from studio.diffusion.scheduler_switch import switch_at
from studio.diffusion.schedulers import able
from tests.families.helpers import (
    COSXL,
    COSXL_CONFIG,
    EDM,
    EDM_CONFIG,
    FLOW_METADATA,
    GUIDANCE,
    NEGATIVE,
    PROMPT,
    SEED,
    STEPS,
    lane_of,
    latents_of,
    load,
    picture,
    pipeline,
    run,
    single_file,
)

KINDS: dict[str, tuple[dict[str, torch.Tensor], dict[str, str]]] = {
    "playground": (EDM, {}),
    "cosxl": (COSXL, {}),
    "flow": ({}, FLOW_METADATA),
}
PREDICTIONS = {"playground": "edm_epsilon", "cosxl": "edm_v_prediction", "flow": "flow_prediction"}
FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 1.0}
SDE = {"algorithm_type": "sde-dpmsolver++"}
REFERENCES: dict[tuple[str, str], Any] = {  # written down a second time on purpose
    ("playground", "euler"): lambda: EDMEulerScheduler(**EDM_CONFIG),
    ("playground", "dpmpp_2m"): lambda: EDMDPMSolverMultistepScheduler(**EDM_CONFIG),
    ("playground", "dpmpp_2m_sde"): lambda: EDMDPMSolverMultistepScheduler(**EDM_CONFIG, **SDE),
    ("cosxl", "euler"): lambda: EDMEulerScheduler(**COSXL_CONFIG),
    ("cosxl", "dpmpp_2m"): lambda: EDMDPMSolverMultistepScheduler(**COSXL_CONFIG),
    ("flow", "dpmpp_2m"): lambda: DPMSolverMultistepScheduler(**FLOW),
    ("flow", "dpmpp_2m_sde"): lambda: DPMSolverMultistepScheduler(**FLOW, **SDE),
    ("flow", "unipc"): lambda: UniPCMultistepScheduler(**FLOW),
}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Components]:
    found = {}
    for kind, (extra, metadata) in KINDS.items():
        found[kind] = load(single_file(tmp_path_factory.mktemp(kind), extra, metadata))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_they_are_told_by_their_file(kind: str, loaded: dict[str, Components], tmp_path: Path) -> None:
    facts = identify(single_file(tmp_path, *KINDS[kind]))
    source = "metadata" if kind == "flow" else "file"
    assert (facts.usable, facts.family, facts.prediction_type, facts.prediction_source) == (
        True, "sdxl", PREDICTIONS[kind], source,
    )  # fmt: skip
    assert loaded[kind].prediction_type == PREDICTIONS[kind]
    assert loaded[kind].notes == ()


def test_a_flow_is_told_by_its_name_too_and_by_its_owner(tmp_path: Path) -> None:
    path = single_file(tmp_path, {})
    named = path.rename(tmp_path / "mugen-Rectified_v2.safetensors")
    assert (identify(named).prediction_type, identify(named).prediction_source) == ("flow_prediction", "name")
    plain = named.rename(tmp_path / "model.safetensors")
    assert identify(plain).prediction_type == "epsilon"
    assert load(plain, prediction_type="flow_prediction").prediction_type == "flow_prediction"


@pytest.mark.parametrize(("kind", "scheduler"), REFERENCES)
def test_latents_are_those_of_diffusers(kind: str, scheduler: str, loaded: dict[str, Components]) -> None:
    components = loaded[kind]
    reference = latents_of(components, REFERENCES[kind, scheduler]())
    for noise_schedule in ("automatic", "as_configured"):
        lane = lane_of(components, scheduler, noise_schedule)
        run(components, lane)
        assert float((lane.latents - reference).abs().max()) < 1e-5 * float(reference.abs().max())


@pytest.mark.parametrize(("kind", "scheduler"), REFERENCES)
def test_pictures_from_a_picture_are_those_of_diffusers(
    kind: str, scheduler: str, loaded: dict[str, Components]
) -> None:
    components = loaded[kind]
    theirs = pipeline(components, REFERENCES[kind, scheduler](), "StableDiffusionXLImg2ImgPipeline")
    expected = theirs(
        image=(vae.from_picture(picture(), 64, 64) + 1) / 2,
        strength=0.6,
        prompt=PROMPT,
        negative_prompt=NEGATIVE,
        generator=torch.Generator().manual_seed(SEED),
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        output_type="pt",
    ).images
    lane = lane_of(components, scheduler, strength=0.6)
    run(components, lane)
    ours = (vae.decode(components, lane.latents) / 2 + 0.5).clamp(0, 1)
    assert float((ours - expected).abs().max()) < 5e-5


@pytest.mark.parametrize("shift", [1.0, 2.5])
def test_eulers_flow_is_ten_plain_lines(shift: float, loaded: dict[str, Components]) -> None:
    components = loaded["flow"]
    config = components.scheduler_config | {"shift": shift, "flow_shift": shift}
    components = type(components)(**{**vars(components), "scheduler_config": config})
    lane = lane_of(components, "euler")
    x, call = lane.latents, lane.call()
    embeds, added = call.prompt_embeds, dict(call.added_conditions)
    times = [1 - k / STEPS for k in range(STEPS + 1)]
    times = [shift * t / (1 + (shift - 1) * t) for t in times]
    with torch.inference_mode():
        for now, following in itertools.pairwise(times):
            t = torch.full((2,), 1000 * now)
            both = components.unet(x.expand(2, -1, -1, -1), t, embeds, added_cond_kwargs=added, return_dict=False)[0]
            u, c = both.chunk(2)
            x = x + (following - now) * (u + GUIDANCE * (c - u))
    run(components, lane)
    assert float((lane.latents - x).abs().max()) < 1e-5 * float(x.abs().max())


@pytest.mark.parametrize("scheduler", ["dpmpp_2m", "unipc"])
def test_the_shift_of_a_flow_is_diffusers(scheduler: str, loaded: dict[str, Components]) -> None:
    components = loaded["flow"]
    config = components.scheduler_config | {"shift": 3.0, "flow_shift": 3.0}
    shifted = type(components)(**{**vars(components), "scheduler_config": config})
    reference = latents_of(components, type(REFERENCES["flow", scheduler]())(**FLOW | {"flow_shift": 3.0}))
    lane = lane_of(shifted, scheduler)
    run(shifted, lane)
    assert float((lane.latents - reference).abs().max()) < 1e-5 * float(reference.abs().max())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strength", [None, 0.6])
def test_x0_and_noise_are_what_x_t_is_made_of(kind: str, strength: float | None, loaded: dict[str, Components]) -> None:
    components = loaded[kind]
    path = path_of(components.scheduler_config)
    for scheduler in able(PREDICTIONS[kind]):
        lane = lane_of(components, scheduler, **({} if strength is None else {"strength": strength}))
        for e in run(components, lane):
            assert torch.allclose(e.a * e.denoised + e.s * e.noise_pred, e.x_t, atol=2e-4 * float(e.x_t.abs().max()))
            assert torch.allclose(e.latents, e.scale * e.x_t, rtol=1e-5, atol=1e-5)
            assert e.sigma == pytest.approx(e.s / e.a) if e.a else math.isinf(e.sigma)
            if kind == "flow":
                assert e.a + e.s == pytest.approx(1)
            else:
                assert e.a**2 * path.sigma_data**2 + e.s**2 == pytest.approx(1)  # type: ignore[attr-defined]
        assert torch.isfinite(lane.latents).all(), scheduler


@pytest.mark.parametrize("kind", KINDS)
def test_a_perfect_model_is_followed_to_its_picture(kind: str, loaded: dict[str, Components]) -> None:
    """Every scheduler that runs the path, on every noise schedule that it takes, from noise and from the middle."""
    components, clean = loaded[kind], torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(4)) * 0.5
    data = getattr(path_of(components.scheduler_config), "sigma_data", 1.0)
    for scheduler in able(PREDICTIONS[kind]):
        for noise_schedule in ("automatic", "karras", "exponential", "normal", "simple", "sgm_uniform", "beta"):
            lane = lane_of(components, scheduler, noise_schedule)
            while not lane.is_finished:
                call, level = lane.call(), lane.schedule.levels[lane.index]
                noise = (call.sample - level.a * clean) / level.s
                if kind == "flow":
                    answer = noise - clean
                else:  # v of clean / data, whose standard deviation is 1
                    v = level.a * data * noise - level.s * clean / data
                    answer = -v if kind == "playground" else v
                e = lane.advance(answer)
                assert float((e.denoised - clean).abs().max()) < 2e-2, (scheduler, noise_schedule)
            assert float((lane.latents - clean).abs().max()) < 5e-3, (scheduler, noise_schedule)


@pytest.mark.parametrize("kind", KINDS)
def test_schedulers_that_cannot_run_them_are_refused_by_name(kind: str, loaded: dict[str, Components]) -> None:
    names = able(PREDICTIONS[kind])
    assert {"euler", "dpmpp_2m"} <= set(names)
    for scheduler in set(SCHEDULERS) - set(names):
        label = re.escape(SCHEDULERS[scheduler].label)
        with pytest.raises(InvalidRequest, match=f"scheduler: {label} is not allowed. Allowed: for a .*DPM"):
            lane_of(loaded[kind], scheduler)
    with pytest.raises(InvalidRequest, match="noise_schedule: AYS is not allowed"):
        lane_of(loaded[kind], "euler", "ays")


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", KINDS)
def test_another_scheduler_goes_on_in_the_middle(kind: str, whole: bool, loaded: dict[str, Components]) -> None:
    """Every pair of schedulers; `whole`: each pair with every noise schedule, else with one of them in turn."""
    components, noise_schedules = loaded[kind], (None, "karras", "simple")
    pairs = list(itertools.permutations(able(PREDICTIONS[kind]), 2))
    turns = zip(pairs, itertools.cycle(noise_schedules))
    for (first, second), noise_schedule in itertools.product(pairs, noise_schedules) if whole else turns:
        lane = lane_of(components, first)
        call = lane.call()
        lane.advance(call.sample * 0.3)
        own = lane.schedule
        switch = switch_at(own, 1, second, noise_schedule, components.scheduler_config, components.family)  # type: ignore[arg-type]
        lane.switch_scheduler(switch)
        assert lane.schedule.levels[1].sigma == pytest.approx(own.levels[1].sigma, rel=1e-4)
        if noise_schedule is None:
            assert [v.sigma for v in lane.schedule.levels[1:]] == pytest.approx(
                [v.sigma for v in own.levels[1:]], rel=1e-3
            )
        rest = run(components, lane)
        assert [e.index for e in rest] == [1, 2, 3, 4]
        assert torch.isfinite(lane.latents).all()


def test_the_latents_of_playground_have_mean_and_standard_deviation(loaded: dict[str, Components]) -> None:
    components = loaded["playground"]
    pixels = vae.from_picture(picture(), 64, 64)
    own = components.vae.encode(pixels).latent_dist.mode()
    mean, std = (torch.tensor(v).view(1, 4, 1, 1) for v in (EDM["edm_mean"].tolist(), EDM["edm_std"].tolist()))
    ours = vae.encode(components, pixels)
    assert torch.equal(ours, (own - mean) * 0.5 / std)
    assert torch.equal(vae.decode(components, ours), components.vae.decode(ours * std / 0.5 + mean)[0])
    at_scale, spread = vae.posterior(components, pixels)
    assert torch.equal(at_scale, ours)
    assert torch.allclose(spread, components.vae.encode(pixels).latent_dist.std * 0.5 / std)
