"""The *fast* preview: one 3x3 convolution from latents to 8x8 patches of pixels, fitted by least squares.

It works for any VAE: show it encodings of some pictures and it finds the best linear decoder there is. Latents are at
the U-Net's scale (already times scaling_factor), pixels (B, 3, H, W) in [-1, 1].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


@torch.inference_mode()
def fit_fast_preview(
    latents: torch.Tensor, pixels: torch.Tensor, ridge: float = 1e-4
) -> tuple[torch.Tensor, torch.Tensor]:
    """The weight (3 s^2, C, 3, 3) and bias (3 s^2,) of `decode_fast` with the least squared error, s = H / h.

    latents: (B, C, h, w), pixels: (B, 3, H, W). `ridge` keeps the normal equations solvable when there are fewer
    patches than unknowns or constant latents; it is relative to the mean squared input.
    """
    channels = latents.shape[1]
    scale = pixels.shape[-1] // latents.shape[-1]
    inputs = F.unfold(_padded(latents), 3).transpose(1, 2).reshape(-1, channels * 9)  # (B h w, 9 C)
    inputs = torch.cat([inputs, torch.ones(len(inputs), 1)], dim=1).double()
    targets = F.pixel_unshuffle(pixels.float(), scale).flatten(2).transpose(1, 2)  # (B, h w, 3 s^2)
    targets = targets.reshape(len(inputs), -1).double()
    normal = inputs.T @ inputs  # (9 C + 1, 9 C + 1)
    normal += torch.eye(len(normal), dtype=normal.dtype) * (ridge * normal.diagonal().mean())
    solution = torch.linalg.solve(normal, inputs.T @ targets).float()  # (9 C + 1, 3 s^2)
    return solution[:-1].T.reshape(-1, channels, 3, 3).contiguous(), solution[-1].contiguous()


@torch.inference_mode()
def decode_fast(latents: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Latents (B, C, h, w) => pixels (B, 3, s h, s w) in [-1, 1], clamped, by the fitted convolution."""
    weight, bias = weight.to(latents), bias.to(latents)
    scale = round((len(bias) / 3) ** 0.5)
    return F.pixel_shuffle(F.conv2d(_padded(latents), weight, bias), scale).clamp(-1, 1)


def _padded(latents: torch.Tensor) -> torch.Tensor:
    return F.pad(latents.float(), (1, 1, 1, 1), mode="replicate")
