"""T9: a run is rewound to any evaluation bit for bit, whatever its scheduler keeps to itself."""

from __future__ import annotations

import pytest
import torch

from studio.asked.schedulers import SCHEDULERS
from studio.diffusion.lane import Lane
from studio.diffusion.rewind import PastEvaluation, renoise, rewind
from tests.diffusion.test_predicted_x0 import lane_of, nonlinear


def answer(lane: Lane) -> torch.Tensor:
    found: torch.Tensor = nonlinear(lane) * torch.tensor([1.0, 0.5])[:, None, None, None]
    return found


def new_lane(name: str) -> Lane:
    return lane_of(name, "epsilon", guidance_scale=7.5)


def finish(lane: Lane) -> tuple[list[PastEvaluation], torch.Tensor]:
    past = []
    while not lane.is_finished:
        evaluation = lane.advance(answer(lane))
        past.append(PastEvaluation(evaluation.latents, evaluation.outputs, evaluation.guidance_scale))
    return past, lane.latents


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_branch_with_no_change_is_the_run(name: str) -> None:
    past, latents = finish(new_lane(name))
    for here in (0, 1, len(past) // 2, len(past) - 1):
        lane = new_lane(name)
        lane.guidance_scale = 2.0  # what the branch asks for has no say in what is past
        rewind(lane, past[:here], {})
        assert lane.index == here
        assert torch.equal(lane.latents[0], past[here].latents), here
        lane.guidance_scale = 7.5
        again, last = finish(lane)
        assert torch.equal(last, latents), here
        assert torch.equal(again[-1].outputs, past[-1].outputs)


@pytest.mark.parametrize("name", ["ddim", "euler_a", "dpmpp_2m_sde", "dpmpp_sde", "unipc"])
def test_replaced_noise_is_found_again_too(name: str) -> None:
    past, latents = finish(new_lane(name))
    lane = new_lane(name)
    rewind(lane, past[:3], {})
    renoise(lane, 99, torch.ones(4, 8, 8))
    level, scale = lane.schedule.levels[3], lane.schedule.scale(3)
    noise = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(99))
    assert torch.allclose(lane.latents, scale * (level.a + level.s * noise), atol=1e-5)
    tail, other = finish(lane)
    assert not torch.equal(other, latents)
    whole = [*past[:3], *tail]
    for here in (3, 4, 5):
        lane = new_lane(name)
        rewind(lane, whole[:here], {3: 99})
        if here == 3:
            lane.take_noise(99, whole[3].latents[None])
        _, again = finish(lane)
        assert torch.equal(again, other), here
