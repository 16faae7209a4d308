"""Points in the plane: the prediction is the mixture's own, and more steps lead closer to the data."""

from __future__ import annotations

import pytest
import torch

from studio.asked.problems import InvalidRequest
from studio.diffusion.levels import flow_level, preserving_level
from studio.diffusion.plane import CONFIGS, ring, walk

NOISE = torch.randn(200, 2, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("level", [preserving_level(0.7), preserving_level(5.0), flow_level(0.4)])
def test_the_prediction_follows_from_the_score_of_the_noised_mixture(level: object) -> None:
    """Against the gradient of the logarithm of the density, which torch takes by itself."""
    mixture = ring()
    x = (NOISE.double() * 1.5).requires_grad_()
    a, s = level.a, level.s  # type: ignore[attr-defined]
    variance = (a * mixture.deviation) ** 2 + s**2
    logs = [-((x - a * mean.double()) ** 2).sum(1) / (2 * variance) for mean in mixture.means]
    [score] = torch.autograd.grad(torch.stack(logs).logsumexp(0).sum(), x)
    expected = (x.detach() + s**2 * score) / a
    assert (mixture.x0(x.detach(), level) - expected).abs().max() < 1e-6  # type: ignore[arg-type]


@pytest.mark.parametrize("path", CONFIGS)
@pytest.mark.parametrize("scheduler", ["euler", "dpmpp_2m", "unipc"])
def test_few_steps_cut_corners_and_many_do_not(path: str, scheduler: str) -> None:
    mixture, config = ring(), CONFIGS[path]
    exact = walk(mixture, "dpmpp_2m", 100, config, NOISE)[-1]
    strays = [
        float((walk(mixture, scheduler, steps, config, NOISE)[-1] - exact).norm(dim=1).mean())  # type: ignore[arg-type]
        for steps in (1, 8, 50)
    ]
    assert strays[0] > 2 * strays[1] > 4 * strays[2]
    [*before, end] = walk(mixture, scheduler, 1, config, NOISE)  # type: ignore[arg-type]
    assert len(before) == 1
    assert end.norm(dim=1).mean() < 0.2, "one step leads to the mean of all data"
    nearest = torch.cdist(exact, mixture.means).min(dim=1)
    assert nearest.values.mean() < 2 * mixture.deviation
    assert nearest.indices.bincount(minlength=6).min() > 10, "every cloud has its points"


def test_a_flow_refuses_schedulers_that_cannot_run_it() -> None:
    with pytest.raises(InvalidRequest):
        walk(ring(), "ddim", 4, CONFIGS["flow"], NOISE)
