"""Which answer belongs to each question of the noise viewer. Formats: docs/viewer.md."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from PIL import Image

from studio.answered.engine import Answer
from studio.asked.few_steps import FewSteps, FewStepsOfMap
from studio.asked.questions import (
    Architecture,
    Embeddings,
    ErrorMap,
    ForwardProcess,
    LossCurve,
    NoisedStart,
    RoundTrip,
    ScheduleCurves,
)
from studio.asked.schedulers import resolve_noise_schedule
from studio.diffusion import forward
from studio.diffusion.components import Components
from studio.diffusion.cost import PIXEL_CHANNELS, operations
from studio.diffusion.paths import path_of
from studio.diffusion.schedule import make_schedule
from studio.engine.viewer import noised_start
from studio.engine.viewer.answer_format import json_answer, level_facts
from studio.engine.viewer.few_steps import few_steps
from studio.engine.viewer.inquiries import Denoise, Inquiry, Slices
from studio.engine.viewer.noise_answers import error_map, forward_process, loss_curve
from studio.engine.viewer.part_answers import architecture_answer, embeddings, round_trip

SIDE_GRID = 64  # pixels: a U-Net of four levels halves the latents three times


def slices(
    inquiry: Inquiry,
    components: Components,
    denoise: Denoise,
    tokenizer_lock: AbstractContextManager[Any],
    synchronize: Callable[[], None],
    controlnet: Callable[[str], Any],
) -> Slices:
    """The work of a question about the loaded checkpoint. `denoise` calls the U-Net, the lock is held while a caption
    is encoded, `synchronize` waits for the device, `controlnet` reads the ControlNet of a name."""
    question = inquiry.question
    if isinstance(question, ForwardProcess):
        return forward_process(question, _fit(inquiry, components), components)
    if isinstance(question, NoisedStart):
        assert inquiry.picture is not None
        return noised_start.slices(question, inquiry.picture, components)
    if isinstance(question, LossCurve):
        return loss_curve(question, _fit(inquiry, components), components, denoise, tokenizer_lock)
    if isinstance(question, ErrorMap):
        return error_map(question, _fit(inquiry, components), components, denoise, tokenizer_lock)
    if isinstance(question, RoundTrip):
        return round_trip(question, _fit(inquiry, components), components)
    if isinstance(question, Architecture):
        return architecture_answer(components, denoise, tokenizer_lock, synchronize)
    if isinstance(question, FewSteps):
        picture = inquiry.picture  # a map's colours are not mixed by a change of its size
        if picture is not None and not isinstance(question, FewStepsOfMap):
            picture = _fit(inquiry, components)
        return few_steps(question, picture, components, denoise, tokenizer_lock, controlnet)
    if isinstance(question, Embeddings):
        return embeddings(question, components, tokenizer_lock)
    raise TypeError(f"nobody answers {type(question).__name__}")


def _fit(inquiry: Inquiry, components: Components) -> Image.Image:
    """The picture in its own shape at about the checkpoint's native area, on the grid of its U-Net."""
    picture = inquiry.picture
    assert picture is not None
    factor = math.sqrt(components.native_width * components.native_height / (picture.width * picture.height))
    grid = min(SIDE_GRID, components.native_width)
    width, height = (max(grid, round(side * factor / grid) * grid) for side in picture.size)
    return picture if picture.size == (width, height) else picture.resize((width, height), Image.Resampling.LANCZOS)


def cost_answer(components: Components) -> Answer:
    """What one call of the U-Net computes for one row, on the latents of a picture of the native size and on its
    pixels. Needs no device and no engine's thread."""
    height, width, scale = components.native_height, components.native_width, components.vae_scale_factor
    tokens = int(components.text_encoders[0].module.config.max_position_embeddings)
    shapes = {
        "latents": (components.latent_channels, height // scale, width // scale),
        "pixels": (PIXEL_CHANNELS, height, width),
    }
    spaces = {
        name: {"shape": list(shape), "operations": operations(components, shape, tokens)}
        for name, shape in shapes.items()
    }
    return json_answer({"checkpoint": components.name, **spaces})


def schedule_answer(question: ScheduleCurves, components: Components) -> Answer:
    """Every evaluation's timestep and level, and the training curve. Needs no device and no engine's thread."""
    schedule = make_schedule(
        question.scheduler,
        question.noise_schedule,
        question.num_inference_steps,
        components.scheduler_config,
        strength=question.strength,
        prediction_type=components.prediction_type,
        family=components.family,
    )
    positions = path_of(components.scheduler_config).positions(schedule.levels)
    evaluations = [
        {
            "index": index,
            "step": step,
            "stage": stage,
            "timestep": float(timestep),
            "position": round(position, 4),
            **level_facts(level),
        }
        for index, (step, stage, timestep, level, position) in enumerate(
            zip(schedule.steps, schedule.stages, schedule.timesteps, schedule.levels, positions)
        )
    ]
    training = forward.training_curve(components.scheduler_config)
    return json_answer(
        {
            "scheduler": question.scheduler,
            "noise_schedule": resolve_noise_schedule(
                question.scheduler, question.noise_schedule, components.prediction_type
            ),
            "steps": len(set(schedule.steps)),
            "total": schedule.total,
            "evaluations": evaluations,
            "training": {
                "a": [round(level.a, 8) for level in training.levels],
                "s": [round(level.s, 8) for level in training.levels],
                "timesteps": [round(timestep, 6) for timestep in training.timesteps],
            },
        }
    )
