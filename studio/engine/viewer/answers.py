"""How each question of the noise viewer is answered, in slices on the engine's thread; formats: docs/viewer.md."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import save

from studio.answered.engine import Answer
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
from studio.asked.requests import resolve_noise_schedule
from studio.diffusion import architecture, forward, vae
from studio.diffusion.components import Components, size_conditioning
from studio.diffusion.latents import image_generator, repaint_everything
from studio.diffusion.levels import Level
from studio.diffusion.paths import path_of
from studio.diffusion.prompt import Conditioning, encode_prompts
from studio.diffusion.schedule import make_schedule
from studio.diffusion.tokens import token_table
from studio.diffusion.unet_call import UnetCall
from studio.engine.viewer import noised_start
from studio.engine.viewer.inquiries import Denoise, Inquiry, Slices
from studio.engine.viewer.recording import fast_decoder, on_cpu

Array = np.ndarray[Any, np.dtype[Any]]

MOST_TOKENS = 154  # of a prompt whose tokens are compared with each other: their number is squared
SIDE_GRID = 64  # pixels: a U-Net of four levels halves the latents three times


def slices(
    inquiry: Inquiry,
    components: Components,
    denoise: Denoise,
    tokenizer_lock: AbstractContextManager[Any],
    synchronize: Callable[[], None],
) -> Slices:
    """The work of a question about the loaded checkpoint. `denoise` calls the U-Net, the lock is held while a caption
    is encoded, `synchronize` waits for the device."""
    question = inquiry.question
    if isinstance(question, ForwardProcess):
        return _forward(question, _fitted(inquiry, components), components)
    if isinstance(question, NoisedStart):
        assert inquiry.picture is not None
        return noised_start.slices(question, inquiry.picture, components)
    if isinstance(question, LossCurve):
        return _losses(question, _fitted(inquiry, components), components, denoise, tokenizer_lock)
    if isinstance(question, ErrorMap):
        return _error_map(question, _fitted(inquiry, components), components, denoise, tokenizer_lock)
    if isinstance(question, RoundTrip):
        return _round_trip(question, _fitted(inquiry, components), components)
    if isinstance(question, Architecture):
        return _architecture(components, denoise, tokenizer_lock, synchronize)
    if isinstance(question, Embeddings):
        return _embeddings(question, components, tokenizer_lock)
    raise TypeError(f"nobody answers {type(question).__name__}")


def _fitted(inquiry: Inquiry, components: Components) -> Image.Image:
    """The picture in its own shape at about the checkpoint's native area, on the grid of its U-Net."""
    picture = inquiry.picture
    assert picture is not None
    factor = math.sqrt(components.native_width * components.native_height / (picture.width * picture.height))
    grid = min(SIDE_GRID, components.native_width)
    width, height = (max(grid, round(side * factor / grid) * grid) for side in picture.size)
    return picture if picture.size == (width, height) else picture.resize((width, height), Image.Resampling.LANCZOS)


# --------------------------------------------------------------------------------------------- schedule, forward


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
            **_level_facts(level),
        }
        for index, (step, stage, timestep, level, position) in enumerate(
            zip(schedule.steps, schedule.stages, schedule.timesteps, schedule.levels, positions)
        )
    ]
    training = forward.training_curve(components.scheduler_config)
    return _json(
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


def _level_facts(level: Level) -> dict[str, float | None]:
    finite = math.isfinite(level.sigma)
    return {
        "sigma": level.sigma if finite else None,
        "a": level.a,
        "s": level.s,
        "abar": 1 / (1 + level.sigma**2) if finite else 0.0,
        "log_snr": -2 * math.log(level.sigma) if finite and level.sigma > 0 else None,
    }


def _forward(question: ForwardProcess, picture: Image.Image, components: Components) -> Slices:
    z0 = _encoded(picture, components)
    yield
    noise = _noise(z0, question.seed)
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
    return safetensors(tensors, {"seed": question.seed, **_picture_facts(picture, components)})


def _losses(
    question: LossCurve,
    picture: Image.Image,
    components: Components,
    denoise: Denoise,
    tokenizer_lock: AbstractContextManager[Any],
) -> Slices:
    z0 = _encoded(picture, components)
    noise = _noise(z0, question.seed)
    captions = {"right": question.caption, "empty": "", "wrong": question.wrong_caption}
    with tokenizer_lock:
        conditions = {name: _conditioning(caption, components) for name, caption in captions.items()}
    yield
    training = forward.training_curve(components.scheduler_config)
    timesteps = np.linspace(0, len(training) - 1, question.points + 1)[1:].round().astype(int).tolist()
    curves: dict[str, list[float]] = {name: [] for name in captions}
    for timestep in timesteps:
        level = training.levels[timestep]
        z_t = forward.noised(z0, noise, level)
        for name, output in _asked(z_t, training.timesteps[timestep], conditions, components, denoise):
            difference = forward.error(z_t, output, noise, level, components.prediction_type)
            curves[name].append(float(difference.square().mean()))
        yield
    levels = [_level_facts(training.levels[t]) for t in timesteps]
    facts = {"timesteps": timesteps, "levels": levels, "captions": captions, "seed": question.seed}
    return _json(facts | {"losses": curves} | _picture_facts(picture, components))


def _error_map(
    question: ErrorMap,
    picture: Image.Image,
    components: Components,
    denoise: Denoise,
    tokenizer_lock: AbstractContextManager[Any],
) -> Slices:
    z0 = _encoded(picture, components)
    noise = _noise(z0, question.seed)
    with tokenizer_lock:
        conditions = {"caption": _conditioning(question.caption, components)}
    yield
    training = forward.training_curve(components.scheduler_config)
    timestep = min(question.timestep, len(training) - 1)
    level = training.levels[timestep]
    z_t = forward.noised(z0, noise, level)
    [(_, output)] = _asked(z_t, training.timesteps[timestep], conditions, components, denoise)
    difference = forward.error(z_t, output, noise, level, components.prediction_type)
    tensors = {"z_t": z_t, "noise": noise, "noise_pred": noise - difference, "error": difference}
    facts: dict[str, object] = {
        "timestep": timestep,
        "caption": question.caption,
        "seed": question.seed,
        **_level_facts(level),
    }
    facts["loss"] = float(difference.square().mean())
    return safetensors({n: on_cpu(t[0]) for n, t in tensors.items()}, facts | _picture_facts(picture, components))


def _asked(
    z_t: torch.Tensor,
    timestep: float,
    conditions: Mapping[str, Conditioning],
    components: Components,
    denoise: Denoise,
) -> Iterator[tuple[str, torch.Tensor]]:
    """The U-Net's answer (1, C, h, w) under each condition; captions of one length share a call."""
    by_shape: dict[object, list[tuple[str, UnetCall]]] = {}
    for name, conditioning in conditions.items():
        call = _call(z_t, timestep, conditioning, components)
        by_shape.setdefault(tuple(call.prompt_embeds.shape), []).append((name, call))
    for group in by_shape.values():
        answer = denoise([call for _, call in group])
        yield from zip([name for name, _ in group], answer.split(1))


def _call(z_t: torch.Tensor, timestep: float, conditioning: Conditioning, components: Components) -> UnetCall:
    """The U-Net call of latents (1, C, h, w) at a timestep that the model knows, without guidance; an inpainting U-Net
    is shown a mask that is white everywhere."""
    embeds, added = conditioning.at(0)
    height, width = (side * components.vae_scale_factor for side in z_t.shape[2:])
    sample = z_t.to(components.dtype)
    if components.is_inpainting:
        sample = torch.cat([sample, repaint_everything(components, width, height).to(sample)], dim=1)
    return UnetCall(sample, float(timestep), embeds, {**added, **size_conditioning(components, width, height, 1)})


def _encoded(picture: Image.Image, components: Components) -> torch.Tensor:
    """z0 (1, C, h, w) float32: the mean of the posterior, so that the same picture has the same latents."""
    return vae.posterior(components, vae.from_picture(picture, *picture.size))[0]


def _noise(z0: torch.Tensor, seed: int) -> torch.Tensor:
    return torch.randn(z0.shape, generator=image_generator(seed)).to(z0.device)


def _conditioning(caption: str, components: Components) -> Conditioning:
    return encode_prompts(components, caption, "", num_steps=1, guidance_scale=1.0)


# ------------------------------------------------------------------------------------------------- the VAE


def _round_trip(question: RoundTrip, picture: Image.Image, components: Components) -> Slices:
    mean, std = vae.posterior(components, vae.from_picture(picture, *picture.size))
    yield
    by_mean = vae.to_uint8(vae.decode(components, mean))[0]
    yield
    sample = mean + std * _noise(mean, question.seed)
    by_sample = vae.to_uint8(vae.decode(components, sample))[0]
    by_tiny = None
    if components.tiny_vae is not None:
        yield
        by_tiny = vae.to_uint8(vae.decode_tiny(components, mean))[0]
    pixels = np.asarray(picture)
    tensors = {
        "pixels": pixels,
        "reconstruction": by_mean,
        "reconstruction_of_sample": by_sample,
        **({"reconstruction_by_tiny": by_tiny} if by_tiny is not None else {}),
        "mean": on_cpu(mean[0]),
        "std": on_cpu(std[0]),
    }
    channels = on_cpu(mean[0]).astype(np.float64)
    facts = {
        "psnr": psnr(pixels, by_mean),
        "psnr_of_sample": psnr(pixels, by_sample),
        "psnr_by_tiny": psnr(pixels, by_tiny) if by_tiny is not None else None,
        "ratio": pixels.size / channels.size,
        "channels": [
            {"mean": float(c.mean()), "std": float(c.std()), "min": float(c.min()), "max": float(c.max())}
            for c in channels
        ],
        "posterior_std": [float(v) for v in on_cpu(std[0]).mean(axis=(1, 2))],
        "scaling_factor": float(components.vae.config.scaling_factor),
        "seed": question.seed,
    }
    return safetensors(tensors, facts | _picture_facts(picture, components))


def psnr(picture: Array, other: Array) -> float | None:
    """Peak signal to noise ratio of two uint8 pictures in dB; None when they are equal."""
    error = float(np.mean((picture.astype(np.float64) - other.astype(np.float64)) ** 2))
    return 10 * math.log10(255**2 / error) if error else None


# ------------------------------------------------------------------------------------------------- the words


def _embeddings(question: Embeddings, components: Components, tokenizer_lock: AbstractContextManager[Any]) -> Slices:
    """Begin, content tokens and end of each chunk, as the U-Net is given them; padding is left out."""
    with tokenizer_lock:
        conditioning = _conditioning(question.prompt, components)
        table = token_table(components, conditioning.prompt, 1)[0]["chunks"]
        embeds = conditioning.at(0)[0][0].float()
    yield
    places = [(c, position) for c, chunk in enumerate(table) for position in range(chunk["kinds"].count("content") + 2)]
    vectors = on_cpu(embeds)[[components.positions * c + position for c, position in places[:MOST_TOKENS]]].astype(
        np.float64
    )
    lengths = np.linalg.norm(vectors, axis=1)
    directions = vectors / np.maximum(lengths, 1e-12)[:, None]
    flat, share = _flat(directions)
    tokens = [
        {
            "chunk": c,
            "position": position,
            "kind": table[c]["kinds"][position],
            "text": table[c]["text"][position],
            "norm": round(float(length), 4),
            "at": [round(float(v), 5) for v in at],
        }
        for (c, position), length, at in zip(places, lengths, flat)
    ]
    return _json(
        {
            "checkpoint": components.name,
            "width": vectors.shape[1],
            "tokens": tokens,
            "left_out": len(places) - len(tokens),
            "cosine": [[round(float(v), 4) for v in row] for row in directions @ directions.T],
            "share": round(share, 4),
        }
    )


def _flat(directions: Array) -> tuple[Array, float]:
    """The two main directions of points (n, dim) around their mean, (n, 2), and the share of the variance they hold."""
    centred = directions - directions.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    flat = np.zeros((len(directions), 2))
    many = min(2, len(sizes))
    flat[:, :many] = left[:, :many] * sizes[:many]
    for axis in flat.T:  # a sign that does not depend on the library: the farthest point is on the positive side
        axis *= -1.0 if axis[np.abs(axis).argmax()] < 0 else 1.0
    total = float((sizes**2).sum())
    return flat, float((sizes[:2] ** 2).sum()) / total if total > 0 else 1.0


# ------------------------------------------------------------------------------------------- the architecture


def _architecture(
    components: Components,
    denoise: Denoise,
    tokenizer_lock: AbstractContextManager[Any],
    synchronize: Callable[[], None],
) -> Slices:
    """One pass through every part at the native size; the U-Net's second call is the one that counts."""
    blocks = architecture.blocks_of(components)
    picture = Image.new("RGB", (components.native_width, components.native_height), "grey")
    with architecture.watched(blocks, synchronize), tokenizer_lock:
        conditioning = _conditioning("", components)
    yield
    with architecture.watched(blocks, synchronize):
        z0 = _encoded(picture, components)
    yield
    training = forward.training_curve(components.scheduler_config)
    middle = training.timesteps[len(training) // 2]
    for _ in range(2):
        with architecture.watched(blocks, synchronize):
            denoise([_call(z0, middle, conditioning, components)])
        yield
    with architecture.watched(blocks, synchronize):
        vae.decode(components, z0)
    whole = {one.part: one.module for one in components.text_encoders} | {
        "unet": components.unet,
        "encoder": components.vae.encoder,
        "decoder": components.vae.decoder,
    }
    told = [block for block, _ in blocks.values()]
    parts = {
        name: {
            "kind": type(module).__name__,
            "parameters": architecture.parameters(module),
            "milliseconds": round(sum(b.milliseconds or 0.0 for b in told if b.part == name), 3),
        }
        for name, module in whole.items()
    }
    text = components.text_encoders[0].module.config
    shapes = {
        "picture": [3, picture.height, picture.width],
        "latents": list(z0.shape[1:]),
        "context": list(conditioning.at(0)[0].shape[1:]),
    }
    return _json(
        {
            "checkpoint": components.name,
            "family": components.family.name,
            "prediction_type": components.prediction_type,
            "dtype": str(components.dtype).removeprefix("torch."),
            "device": components.device.type,
            "shapes": shapes,
            "text": {
                "layers": text.num_hidden_layers,
                "heads": text.num_attention_heads,
                "width": text.hidden_size,
                "vocabulary": text.vocab_size,
                "positions": text.max_position_embeddings,
            },
            "parts": parts,
            "blocks": [{k: v for k, v in asdict(b).items() if not k.startswith("_")} for b in told],
        }
    )


# --------------------------------------------------------------------------------------------------- formats


def _picture_facts(picture: Image.Image, components: Components) -> dict[str, object]:
    return {
        "width": picture.width,
        "height": picture.height,
        "checkpoint": components.name,
        "prediction_type": components.prediction_type,
    }


def _json(values: object) -> Answer:
    return Answer(content=json.dumps(values, allow_nan=False).encode(), media_type="application/json")


def safetensors(tensors: Mapping[str, Array], facts: Mapping[str, object]) -> Answer:
    """Arrays with their facts, as every such answer has them."""
    whole = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    content = bytes(save(whole, metadata={"run": json.dumps(facts, allow_nan=False)}))
    return Answer(content=content, media_type="application/octet-stream")
