"""The *fast* preview: one 3x3 convolution from latents to 8x8 patches of pixels, fitted by least squares.

It works for any VAE: show it encodings of some pictures and it finds the best linear decoder there is. Latents are at
the U-Net's scale (already times scaling_factor), pixels (B, 3, H, W) in [-1, 1].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

MEMORY_ROWS = 2**18  # patches after which older pictures count half


@dataclass
class FastFit:
    """Least squares by its running sums, so that each new picture costs the same and the sums of two fits add up.

    With A the inputs of all patches seen (9 C values and a 1 each) and b their pixels, `normal` is A^T A and `moment`
    is A^T b.
    """

    normal: torch.Tensor  # (9 C + 1, 9 C + 1), double, on the CPU
    moment: torch.Tensor  # (9 C + 1, 3 s^2), likewise
    rows: float = 0.0  # patches seen, older ones counting less

    @classmethod
    def empty(cls, channels: int, scale: int) -> FastFit:
        """Nothing seen yet: latents of so many channels, `scale` pixels to a latent cell and side."""
        inputs = 9 * channels + 1
        return cls(torch.zeros(inputs, inputs).double(), torch.zeros(inputs, 3 * scale * scale).double())

    @torch.inference_mode()
    def add(self, latents: torch.Tensor, pixels: torch.Tensor, most: int | None = None) -> None:
        """Take latents (B, C, h, w) and their pixels (B, 3, H, W) in; of more than `most` patches, some of all."""
        scale = pixels.shape[-1] // latents.shape[-1]
        inputs = F.unfold(_padded(latents), 3).transpose(1, 2).flatten(0, 1)  # (B h w, 9 C)
        targets = F.pixel_unshuffle(pixels.float(), scale).flatten(2).transpose(1, 2).flatten(0, 1)  # (B h w, 3 s^2)
        if most is not None and len(inputs) > most:
            some = torch.linspace(0, len(inputs) - 1, most, device=inputs.device).round().long()
            inputs, targets = inputs[some], targets[some.to(targets.device)]
        inputs, targets = inputs.cpu().double(), targets.cpu().double()
        inputs = torch.cat([inputs, inputs.new_ones(len(inputs), 1)], dim=1)
        if self.rows > MEMORY_ROWS:
            self.normal, self.moment, self.rows = self.normal / 2, self.moment / 2, self.rows / 2
        self.normal = self.normal + inputs.T @ inputs
        self.moment = self.moment + inputs.T @ targets
        self.rows += len(inputs)

    def __iadd__(self, other: FastFit) -> FastFit:
        """What another fit of the same shape has seen, too."""
        self.normal, self.moment = self.normal + other.normal, self.moment + other.moment
        self.rows += other.rows
        return self

    @torch.inference_mode()
    def solve(self, ridge: float = 1e-4) -> tuple[torch.Tensor, torch.Tensor]:
        """The weight (3 s^2, C, 3, 3) and bias (3 s^2,) of `decode_fast` with the least squared error, float32.

        `ridge` keeps the equations solvable when there are fewer patches than unknowns or constant latents; it is
        relative to the mean squared input.
        """
        normal = self.normal + torch.eye(len(self.normal)).double() * (ridge * self.normal.diagonal().mean())
        solution = torch.linalg.solve(normal, self.moment).float()  # (9 C + 1, 3 s^2)
        channels = (len(solution) - 1) // 9
        return solution[:-1].T.reshape(-1, channels, 3, 3).contiguous(), solution[-1].contiguous()


def fit_fast_preview(
    latents: torch.Tensor, pixels: torch.Tensor, ridge: float = 1e-4
) -> tuple[torch.Tensor, torch.Tensor]:
    """The (weight, bias) of `decode_fast` that fits these latents (B, C, h, w) and pixels (B, 3, H, W) best."""
    fit = FastFit.empty(latents.shape[1], pixels.shape[-1] // latents.shape[-1])
    fit.add(latents, pixels)
    return fit.solve(ridge)


@torch.inference_mode()
def decode_fast(latents: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Latents (B, C, h, w) => pixels (B, 3, s h, s w) in [-1, 1], clamped, by the fitted convolution."""
    return F.pixel_shuffle(_patches(latents, weight, bias), _scale(bias)).clamp(-1, 1)


@torch.inference_mode()
def picture_fast(latents: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> np.ndarray:
    """Latents (B, C, h, w) => uint8 (B, s h, s w, 3), contiguous: `vae.to_uint8` of `decode_fast`, to the bit.

    For the frames of a run. Bytes are shuffled into their places instead of floats, in one copy instead of three: two
    thirds of the time.
    """
    levels = _patches(latents, weight, bias).mul_(0.5).add_(0.5).clamp_(0, 1).mul_(255).round_().to(torch.uint8)
    scale, (batch, _, height, width) = _scale(bias), levels.shape
    placed = levels.view(batch, 3, scale, scale, height, width).permute(0, 4, 2, 5, 3, 1)
    return placed.reshape(batch, height * scale, width * scale, 3).cpu().numpy()


def _patches(latents: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """(B, 3 s s, h, w): the pixels of each latent's patch as channels, not yet clamped."""
    return F.conv2d(_padded(latents), weight.to(latents), bias.to(latents))


def _scale(bias: torch.Tensor) -> int:
    """Pixels a side of the patch that one latent becomes."""
    return round((len(bias) / 3) ** 0.5)


def _padded(latents: torch.Tensor) -> torch.Tensor:
    return F.pad(latents.float(), (1, 1, 1, 1), mode="replicate")
