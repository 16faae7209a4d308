"""The transformer of `models/small-world-flow`: Stable Diffusion 3's form at a size that a CPU trains, and its path.

Rectified flow (Liu et al. 2023; Esser et al. 2024): x_t = (1 - t) x0 + t noise for t in [0, 1], and the network
predicts the velocity v = noise - x0. So x0 = x_t - t v, and a step to t' is x_t + (t' - t) v.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from diffusers import SD3Transformer2DModel
from torch import Tensor
from transformers import CLIPTextModel

TIMESTEPS = 1000  # the network is told t times this
Velocity = Callable[[Tensor, Tensor], Tensor]  # x_t (B, 4, h, w), t (B,) => v


@dataclass(frozen=True, kw_only=True)
class TransformerShape:
    """5.5 million weights as they stand."""

    layers: int = 6
    heads: int = 5
    head_width: int = 32
    patch: int = 2  # 8 x 8 tokens of latents of 16 x 16

    @property
    def width(self) -> int:
        """Of a token."""
        return self.heads * self.head_width


def make_transformer(shape: TransformerShape, text_width: int, seed: int, side: int = 16) -> SD3Transformer2DModel:
    """An MMDiT with random weights for latents of 4 x `side` x `side`: queries and keys normalised, as in Stable
    Diffusion 3.5."""
    torch.manual_seed(seed)
    return SD3Transformer2DModel(
        sample_size=side,
        patch_size=shape.patch,
        in_channels=4,
        out_channels=4,
        num_layers=shape.layers,
        attention_head_dim=shape.head_width,
        num_attention_heads=shape.heads,
        joint_attention_dim=text_width,
        caption_projection_dim=shape.width,
        pooled_projection_dim=text_width,
        pos_embed_max_size=side // shape.patch * 2,
        qk_norm="rms_norm",
    )


@dataclass(frozen=True)
class Embeddings:
    """Of captions: each token's (B, 77, D), and one of the whole (B, D)."""

    tokens: Tensor
    pooled: Tensor

    def rows(self, chosen: Tensor) -> Embeddings:
        """Some of them, by their numbers."""
        return Embeddings(self.tokens[chosen], self.pooled[chosen])


@torch.no_grad()
def embed(text_encoder: CLIPTextModel, tokens: Tensor) -> Embeddings:
    """Captions' tokens (B, 77) by the text encoder of the U-Net, which stays as it is."""
    output = text_encoder(tokens)
    return Embeddings(output.last_hidden_state, output.pooler_output)


def load_text_encoder(checkpoint: Path) -> CLIPTextModel:
    """In float32, not to be trained."""
    encoder: CLIPTextModel = CLIPTextModel.from_pretrained(checkpoint, subfolder="text_encoder", dtype=torch.float32)
    return encoder.requires_grad_(False).eval()


def velocity(transformer: SD3Transformer2DModel, noisy: Tensor, times: Tensor, embeddings: Embeddings) -> Tensor:
    """What the network predicts for x_t (B, 4, h, w) at t (B,) in [0, 1]."""
    prediction: Tensor = transformer(
        hidden_states=noisy,
        timestep=times * TIMESTEPS,
        encoder_hidden_states=embeddings.tokens,
        pooled_projections=embeddings.pooled,
        return_dict=False,
    )[0]
    return prediction


def on_path(clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
    """x_t of x0 and noise (B, C, h, w) at t (B,)."""
    share = times[:, None, None, None]
    return (1 - share) * clean + share * noise


def draw_times(count: int, generator: torch.Generator, mean: float = 0.0, spread: float = 1.0) -> Tensor:
    """t of a batch, logit-normal (Esser et al. 2024, section 3.1): the middle of the path, the hardest part, most."""
    normal = torch.randn(count, generator=generator, device=generator.device)
    return torch.sigmoid(mean + spread * normal)


@torch.no_grad()
def sample(velocity_at: Velocity, noise: Tensor, steps: int, shift: float = 1.0) -> Tensor:
    """Euler's method from noise (B, C, h, w) at t = 1 to x0 at t = 0, over equal parts of the shifted path:
    t' = shift t / (1 + (shift - 1) t)."""
    even = torch.linspace(1, 0, steps + 1)
    times = shift * even / (1 + (shift - 1) * even)
    state = noise
    for now, then in pairwise(times):
        state = state + (then - now) * velocity_at(state, now.expand(len(state)))
    return state


def guided(transformer: SD3Transformer2DModel, words: Embeddings, empty: Embeddings, scale: float) -> Velocity:
    """Classifier-free guidance (Ho & Salimans 2022) on the velocity; one call of two rows a picture."""
    count = len(words.pooled)
    both = Embeddings(
        torch.cat([empty.tokens.expand(count, -1, -1), words.tokens]),
        torch.cat([empty.pooled.expand(count, -1), words.pooled]),
    )

    def velocity_at(state: Tensor, times: Tensor) -> Tensor:
        without, with_words = velocity(transformer, state.repeat(2, 1, 1, 1), times.repeat(2), both).chunk(2)
        return without + scale * (with_words - without)

    return velocity_at
