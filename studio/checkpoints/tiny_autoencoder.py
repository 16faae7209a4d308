"""A tiny autoencoder (TAESD, by Ollin Boer Bohan) in the place of a VAE: a thirtieth of it, and not as faithful."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from diffusers.models.autoencoders.vae import EncoderTiny

from studio.asked.messages import Message
from studio.checkpoints.inspect import BadCheckpoint, read_header
from studio.checkpoints.reader import WeightsFile
from studio.checkpoints.tiny_pair import encoder_of
from studio.checkpoints.tiny_vae import load_tiny_vae

LATENT_CHANNELS, WIDTHS, BLOCKS = 4, (64, 64, 64, 64), (1, 3, 3, 3)


class OnePoint:
    """Where a VAE has a distribution of latents, a tiny autoencoder has one answer: its deviation is 0."""

    def __init__(self, latents: torch.Tensor) -> None:
        self.mean, self.std = latents, torch.zeros_like(latents)

    def mode(self) -> torch.Tensor:
        return self.mean

    def sample(self, generator: torch.Generator | None = None) -> torch.Tensor:
        return self.mean


class TinyAutoencoder(torch.nn.Module):
    """Called as diffusers' AutoencoderKL is. Its latents are at the U-Net's scale, so its factor is 1."""

    def __init__(self, tiny: Any, encoder: Any) -> None:
        """`tiny`: an AutoencoderTiny that can decode; `encoder`: None where there is none."""
        super().__init__()
        self.tiny, self.encoder = tiny, encoder
        self.config = SimpleNamespace(
            scaling_factor=1.0,
            shift_factor=None,
            latents_mean=None,
            latents_std=None,
            latent_channels=LATENT_CHANNELS,
            block_out_channels=WIDTHS,
        )

    @property
    def decoder(self) -> Any:
        return self.tiny.decoder

    def encode(self, pixels: torch.Tensor) -> SimpleNamespace:
        """Pixels (B, 3, H, W) in [-1, 1] => `latent_dist`."""
        return SimpleNamespace(latent_dist=OnePoint(self.encoder(pixels)))

    def decode(self, latents: torch.Tensor, return_dict: bool = False) -> tuple[torch.Tensor]:
        """Latents => pixels in [-1, 1], about."""
        return (self.tiny.decode(latents, return_dict=False)[0],)


def load_tiny_autoencoder(path: Path, *, device: torch.device, dtype: torch.dtype) -> TinyAutoencoder:
    """The tiny autoencoder whose decoder is this file or folder, with the encoder beside it. Raises BadCheckpoint."""
    tiny = load_tiny_vae(path, device=device, dtype=dtype)
    file = encoder_of(path)
    encoder = _encoder(file, device=device, dtype=dtype) if file is not None else None
    return TinyAutoencoder(tiny, encoder).eval()


def _encoder(path: Path, *, device: torch.device, dtype: torch.dtype) -> Any:
    with torch.device("meta"):
        module = EncoderTiny(3, LATENT_CHANNELS, num_blocks=BLOCKS, block_out_channels=WIDTHS, act_fn="relu")
    tensors = {name: entry for key, entry in read_header(path).items() if (name := _encoder_name(key)) is not None}
    shapes = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    if {name: entry.shape for name, entry in tensors.items()} != shapes:
        raise BadCheckpoint(
            Message("{file} is no encoder of a TAESD: its tensors have other names or shapes.", file=path.name)
        )
    with WeightsFile(path) as file:
        for name, entry in tensors.items():
            owner, leaf = module.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2]
            owner._parameters[leaf] = torch.nn.Parameter(
                file.read(entry, device=device, dtype=dtype), requires_grad=False
            )
    return module


def _encoder_name(key: str) -> str | None:
    """diffusers' name of a tensor of the encoder; None for one of the decoder. Both count its layers alike."""
    match = re.fullmatch(r"(?:(?:taesd_)?encoder\.)?(?:layers\.)?(\d+\..+)", key)
    return f"layers.{match[1]}" if match else None
