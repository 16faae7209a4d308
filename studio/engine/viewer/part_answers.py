"""What the parts of a model do: the VAE to a picture, the text encoder to words, every block in one pass."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from PIL import Image

from studio.asked.questions import (
    Embeddings,
    RoundTrip,
)
from studio.diffusion import architecture, forward, vae
from studio.diffusion.components import Components
from studio.diffusion.tokens import token_table
from studio.engine.recorded_evaluation import Array
from studio.engine.viewer.answer_format import json_answer, picture_facts, safetensors
from studio.engine.viewer.asking import conditioning_of, mean_latents, noise_of, unet_call
from studio.engine.viewer.inquiries import Denoise, Slices
from studio.engine.viewer.recording import on_cpu

MOST_TOKENS = 154  # of a prompt whose tokens are compared with each other: their number is squared


def round_trip(question: RoundTrip, picture: Image.Image, components: Components) -> Slices:
    mean, std = vae.posterior(components, vae.from_picture(picture, *picture.size))
    yield
    by_mean = vae.to_uint8(vae.decode(components, mean))[0]
    yield
    sample = mean + std * noise_of(mean, question.seed)
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
    return safetensors(tensors, facts | picture_facts(picture, components))


def psnr(picture: Array, other: Array) -> float | None:
    """Peak signal to noise ratio of two uint8 pictures in dB; None when they are equal."""
    error = float(np.mean((picture.astype(np.float64) - other.astype(np.float64)) ** 2))
    return 10 * math.log10(255**2 / error) if error else None


def embeddings(question: Embeddings, components: Components, tokenizer_lock: AbstractContextManager[Any]) -> Slices:
    """Begin, content tokens and end of each chunk, as the U-Net is given them; padding is left out."""
    with tokenizer_lock:
        conditioning = conditioning_of(question.prompt, components, question.models)
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
    return json_answer(
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
    deviations = directions - directions.mean(axis=0)
    left_vectors, sizes, _ = np.linalg.svd(deviations, full_matrices=False)
    flat = np.zeros((len(directions), 2))
    many = min(2, len(sizes))
    flat[:, :many] = left_vectors[:, :many] * sizes[:many]
    for axis in flat.T:  # a sign that does not depend on the library: the farthest point is on the positive side
        axis *= -1.0 if axis[np.abs(axis).argmax()] < 0 else 1.0
    total = float((sizes**2).sum())
    return flat, float((sizes[:2] ** 2).sum()) / total if total > 0 else 1.0


def _grey(picture: Image.Image, components: Components) -> torch.Tensor:
    """Latents (1, C, h, w) of zeros, of the picture's size, where the VAE cannot encode one."""
    height, width = (side // components.vae_scale_factor for side in (picture.height, picture.width))
    return torch.zeros(1, components.latent_channels, height, width, device=components.device)


def architecture_answer(
    components: Components,
    denoise: Denoise,
    tokenizer_lock: AbstractContextManager[Any],
    synchronize: Callable[[], None],
) -> Slices:
    """One pass through every part at the native size; the U-Net's second call is the one that counts."""
    blocks = architecture.blocks_of(components)
    picture = Image.new("RGB", (components.native_width, components.native_height), "grey")
    with architecture.watch_blocks(blocks, synchronize), tokenizer_lock:
        conditioning = conditioning_of("", components, ())
    yield
    with architecture.watch_blocks(blocks, synchronize):
        z0 = mean_latents(picture, components) if components.encodes_pictures else _grey(picture, components)
    yield
    training = forward.training_curve(components.scheduler_config)
    middle = training.timesteps[len(training) // 2]
    for _ in range(2):
        with architecture.watch_blocks(blocks, synchronize):
            denoise([unet_call(z0, middle, conditioning, components)])
        yield
    with architecture.watch_blocks(blocks, synchronize):
        vae.decode(components, z0)
    whole = {one.part: one.module for one in components.text_encoders} | {
        "unet": components.unet,
        "encoder": components.vae.encoder,
        "decoder": components.vae.decoder,
    }
    block_list = [block for block, _ in blocks.values()]
    parts = {
        name: {
            "kind": type(module).__name__,
            "parameters": architecture.parameters(module),
            "milliseconds": round(sum(b.milliseconds or 0.0 for b in block_list if b.part == name), 3),
        }
        for name, module in whole.items()
        if module is not None  # a VAE may have its decoder alone
    }
    text = components.text_encoders[0].module.config
    shapes = {
        "picture": [3, picture.height, picture.width],
        "latents": list(z0.shape[1:]),
        "context": list(conditioning.at(0)[0].shape[1:]),
    }
    return json_answer(
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
            "blocks": [{k: v for k, v in asdict(b).items() if not k.startswith("_")} for b in block_list],
        }
    )
