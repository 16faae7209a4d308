"""Points in a plane for the tab Learn: on both paths of noise, and how far from the exact way they end."""

from __future__ import annotations

import torch

from studio.answered.engine import Answer
from studio.asked.questions import Plane
from studio.diffusion.latents import image_generator
from studio.diffusion.plane import CONFIGS, MANY_STEPS, ring, walk
from studio.engine.viewer.answer_format import json_answer

POINTS = 120


def plane_answer(question: Plane) -> Answer:
    """The places of points at the beginning of each step and at the end, on each path from the same noise, as JSON.

    Needs no device and no checkpoint. Raises InvalidRequest for a scheduler that cannot run one of the paths.
    """
    mixture = ring()
    noise = torch.randn(POINTS, 2, generator=image_generator(question.seed))
    paths = {}
    for name, config in CONFIGS.items():
        places = walk(mixture, question.scheduler, question.num_inference_steps, config, noise)
        exact = walk(mixture, "dpmpp_2m", MANY_STEPS, config, noise)[-1]
        paths[name] = {
            "places": [[[round(float(v), 3) for v in point] for point in place] for place in places],
            "strays": round(float((places[-1] - exact).norm(dim=1).mean()), 4),
        }
    means = [[round(float(v), 4) for v in mean] for mean in mixture.means]
    return json_answer({"means": means, "deviation": mixture.deviation, "seed": question.seed, "paths": paths})
