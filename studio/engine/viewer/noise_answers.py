"""What noise does to a picture, and what the U-Net says of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from PIL import Image

from studio.asked.questions import (
    ErrorMap,
    ForwardProcess,
    LossCurve,
)
from studio.diffusion import forward
from studio.diffusion.components import Components
from studio.diffusion.prompt import Conditioning
from studio.diffusion.unet_call import UnetCall
from studio.engine.viewer.answer_format import json_answer, level_facts, picture_facts, safetensors
from studio.engine.viewer.asking import conditioning_of, mean_latents, noise_of, unet_call
from studio.engine.viewer.inquiries import Denoise, Slices
from studio.engine.viewer.recording import fast_decoder, on_cpu


def forward_process(question: ForwardProcess, picture: Image.Image, components: Components) -> Slices:
    z0 = mean_latents(picture, components)
    yield
    noise = noise_of(z0, question.seed)
    training = forward.training_curve(components.scheduler_config)
    tensors = {
        "z0": on_cpu(z0[0]),
        "noise": on_cpu(noise[0]),
        "pixels": np.asarray(picture),
        "training_a": np.array([level.a for level in training.levels], dtype=np.float32),
        "training_s": np.array([level.s for level in training.levels], dtype=np.float32),
        "training_timesteps": np.array(training.timesteps, dtype=np.float32),
    }
    decoder = fast_decoder(components)
    if decoder is not None:
        tensors["preview.weight"], tensors["preview.bias"] = decoder
    return safetensors(tensors, {"seed": question.seed, **picture_facts(picture, components)})


def loss_curve(
    question: LossCurve,
    picture: Image.Image,
    components: Components,
    denoise: Denoise,
    tokenizer_lock: AbstractContextManager[Any],
) -> Slices:
    z0 = mean_latents(picture, components)
    noise = noise_of(z0, question.seed)
    captions = {"right": question.caption, "empty": "", "wrong": question.wrong_caption}
    with tokenizer_lock:
        conditions = {name: conditioning_of(caption, components, question.models) for name, caption in captions.items()}
    yield
    training = forward.training_curve(components.scheduler_config)
    timesteps = np.linspace(0, len(training) - 1, question.points + 1)[1:].round().astype(int).tolist()
    curves: dict[str, list[float]] = {name: [] for name in captions}
    for timestep in timesteps:
        level = training.levels[timestep]
        z_t = forward.add_noise(z0, noise, level)
        for name, output in _outputs(z_t, training.timesteps[timestep], conditions, components, denoise):
            difference = forward.error(z_t, output, noise, level, components.prediction_type)
            curves[name].append(float(difference.square().mean()))
        yield
    levels = [level_facts(training.levels[t]) for t in timesteps]
    facts = {"timesteps": timesteps, "levels": levels, "captions": captions, "seed": question.seed}
    return json_answer(facts | {"losses": curves} | picture_facts(picture, components))


def error_map(
    question: ErrorMap,
    picture: Image.Image,
    components: Components,
    denoise: Denoise,
    tokenizer_lock: AbstractContextManager[Any],
) -> Slices:
    z0 = mean_latents(picture, components)
    noise = noise_of(z0, question.seed)
    with tokenizer_lock:
        conditions = {"caption": conditioning_of(question.caption, components, question.models)}
    yield
    training = forward.training_curve(components.scheduler_config)
    timestep = min(question.timestep, len(training) - 1)
    level = training.levels[timestep]
    z_t = forward.add_noise(z0, noise, level)
    [(_, output)] = _outputs(z_t, training.timesteps[timestep], conditions, components, denoise)
    difference = forward.error(z_t, output, noise, level, components.prediction_type)
    tensors = {"z_t": z_t, "noise": noise, "noise_pred": noise - difference, "error": difference}
    facts: dict[str, object] = {
        "timestep": timestep,
        "caption": question.caption,
        "seed": question.seed,
        **level_facts(level),
    }
    facts["loss"] = float(difference.square().mean())
    return safetensors({n: on_cpu(t[0]) for n, t in tensors.items()}, facts | picture_facts(picture, components))


def _outputs(
    z_t: torch.Tensor,
    timestep: float,
    conditions: Mapping[str, Conditioning],
    components: Components,
    denoise: Denoise,
) -> Iterator[tuple[str, torch.Tensor]]:
    """The U-Net's answer (1, C, h, w) under each condition; captions of one length share a call."""
    by_shape: dict[object, list[tuple[str, UnetCall]]] = {}
    for name, conditioning in conditions.items():
        call = unet_call(z_t, timestep, conditioning, components)
        by_shape.setdefault(tuple(call.prompt_embeds.shape), []).append((name, call))
    for group in by_shape.values():
        answer = denoise([call for _, call in group])
        yield from zip([name for name, _ in group], answer.split(1))
