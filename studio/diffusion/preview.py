"""The *fast* preview: one 3x3 convolution from latents to 8x8 patches of pixels, fitted by least squares.

It works for any VAE: from the encodings of some pictures it finds the best linear decoder. Latents are at the U-Net's
scale (already times scaling_factor), pixels (B, 3, H, W) in [-1, 1].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

MEMORY_ROWS = 2**18  # patches after which older pictures count half


@dataclass
class FastFit:
    """Least squares by running sums: each new picture costs the same, and the sums of two fits can be added.

    With A the inputs of all patches seen (9 C values and a 1 each) and b their pixels, `normal` is A^T A and `moment`
    is A^T b.
    """

    normal: torch.Tensor  # (9 C + 1, 9 C + 1), double, on the CPU
    moment: torch.Tensor  # (9 C + 1, 3 s^2), likewise
    rows: float = 0.0  # patches seen, older ones counting less

    @classmethod
    def empty(cls, channels: int, scale: int) -> FastFit:
        """A fit of nothing yet, for latents of so many channels and `scale` pixels per cell and side."""
        inputs = 9 * channels + 1
        return cls(torch.zeros(inputs, inputs).double(), torch.zeros(inputs, 3 * scale * scale).double())

    @torch.inference_mode()
    def add(self, latents: torch.Tensor, pixels: torch.Tensor, most: int | None = None) -> None:
        """Add latents (B, C, h, w) and their pixels (B, 3, H, W). Of more than `most` patches, an even selection is
        used."""
        scale = pixels.shape[-1] // latents.shape[-1]
        inputs = F.unfold(_pad(latents), 3).transpose(1, 2).flatten(0, 1)  # (B h w, 9 C)
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
        """Add what another fit of the same shape has seen."""
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
    patches = F.conv2d(_pad(latents), weight.to(latents), bias.to(latents))
    return F.pixel_shuffle(patches, _scale(bias)).clamp(-1, 1)


class FastFrames:
    """The fitted convolution for the frames of a run: latents to bytes, as one matrix product whose answer is in levels
    of 0 to 255 already and has each row of a patch in one piece. Against `decode_fast` and `to_uint8` a frame of 128
    pixels takes a little more than half the time on a CPU, one of 1024 a quarter.
    """

    @torch.inference_mode()
    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        """`weight` (3 s^2, C, 3, 3) and `bias` (3 s^2,) of `decode_fast`."""
        self._scale = _scale(bias)
        colours, places = 3, self._scale**2  # the order that pixel_shuffle takes, and here the colour comes last
        by_place = weight.float().view(colours, places, -1).transpose(0, 1).reshape(len(bias), -1)
        self._matrix = by_place.T.contiguous() * 127.5  # (9 C, s s 3)
        # Adding half a level and cutting off rounds to the nearest level.
        self._shift = bias.float().view(colours, places).T.flatten() * 127.5 + 128

    @torch.inference_mode()
    def __call__(self, latents: torch.Tensor) -> np.ndarray:
        """Latents (B, C, h, w) => uint8 (B, s h, s w, 3), contiguous: `vae.to_uint8` of `decode_fast`, but for pixels
        that are halfway between two levels."""
        (batch, _, height, width), scale = latents.shape, self._scale
        inputs = F.unfold(_pad(latents), 3).transpose(1, 2).flatten(0, 1)  # (B h w, 9 C)
        levels = torch.addmm(self._shift, inputs, self._matrix).clamp_(0, 255).to(torch.uint8)
        rows = levels.view(batch, height, width, scale, 3 * scale).transpose(2, 3)
        return rows.reshape(batch, height * scale, width * scale, 3).cpu().numpy()


def _scale(bias: torch.Tensor) -> int:
    """Pixels a side of the patch that one latent becomes."""
    return round((len(bias) / 3) ** 0.5)


def _pad(latents: torch.Tensor) -> torch.Tensor:
    return F.pad(latents.float(), (1, 1, 1, 1), mode="replicate")
