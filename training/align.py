"""Carries an autoencoder that went on learning back to the latents that a U-Net knows, as far as a matrix can.

    python -m training.align --vae training/runs/autoencoder --to models/small-world-128 --out training/runs/aligned

An autoencoder in training turns and stretches its latents as it likes, for its decoder turns them back. The affine map
z -> A z + b, position by position, that brings the new latents nearest to the old ones (least squares) is folded into
the two 1x1 convolutions between which the latents lie: `quant_conv` applies it, `post_quant_conv` its inverse. So
pictures come out as before to rounding, and the U-Net has only what no such map explains still to learn.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from training.encode_latents import load_vae
from training.train_autoencoder import psnr
from training.world_pictures import HELD_OUT_SEED, picture_batch

SEED = 123
COUNT = 192  # pictures: 49,000 positions for 20 numbers


@torch.inference_mode()
def encode(vae: AutoencoderKL, pixels: Tensor) -> Tensor:
    """The posterior's means (B, C, h, w), unscaled."""
    return torch.cat([vae.encode(part).latent_dist.mean for part in pixels.split(16)])


@torch.inference_mode()
def decode(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """Pixels (B, 3, H, W)."""
    return torch.cat([vae.decode(part).sample for part in latents.split(16)])


def fit_map(latents: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """A (C, C) and b (C,) of the affine map that brings `latents` nearest to `target`, both (B, C, h, w)."""
    rows, answers = (value.movedim(1, -1).flatten(0, -2).double() for value in (latents, target))
    rows = torch.cat([rows, rows.new_ones(len(rows), 1)], dim=1)
    solution = torch.linalg.lstsq(rows, answers).solution
    return solution[:-1].T.float(), solution[-1].float()


@torch.no_grad()
def fold(vae: AutoencoderKL, matrix: Tensor, offset: Tensor) -> None:
    """Makes z' = A z + b the latents of `vae`, in place; what it makes of a picture stays the same.

    The posterior's variances go with it as far as they can, being independent: each becomes the sum of its row's, as if
    all had been equal.
    """
    before, after, count = vae.quant_conv, vae.post_quant_conv, len(offset)
    assert isinstance(before, nn.Conv2d)
    assert isinstance(after, nn.Conv2d)
    assert before.bias is not None
    assert after.bias is not None
    before.weight[:count] = torch.einsum("ij,jkhw->ikhw", matrix, before.weight[:count])
    before.bias[:count] = matrix @ before.bias[:count] + offset
    before.bias[count:] += 2 * matrix.norm(dim=1).log()
    back = torch.linalg.inv(matrix)
    after.bias -= after.weight[:, :, 0, 0] @ back @ offset
    after.weight.copy_(torch.einsum("ijhw,jk->ikhw", after.weight, back))


def align(vae: AutoencoderKL, old: AutoencoderKL, count: int = COUNT) -> dict[str, float]:
    """Folds the best map into `vae`, and says what comes of held-out pictures.

    Misfit: how far its latents are from the old ones, as a share of their standard deviation. PSNR in dB, with its own
    latents and with the old ones.
    """
    pixels = picture_batch(SEED, range(count))
    matrix, offset = fit_map(encode(vae, pixels), encode(old, pixels))
    pixels = picture_batch(HELD_OUT_SEED, range(min(count, 64)))
    target = encode(old, pixels)

    def misfit() -> float:
        return float((encode(vae, pixels) - target).square().mean().sqrt() / target.std())

    before = misfit()
    fold(vae, matrix, offset)
    return {
        "misfit_before": before,
        "misfit": misfit(),
        "psnr": psnr(decode(vae, encode(vae, pixels)), pixels),
        "psnr_of_old_latents": psnr(decode(vae, target), pixels),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vae", type=Path, required=True, help="a run's folder or a checkpoint's")
    parser.add_argument("--to", type=Path, default=Path("models/small-world-128"), help="whose latents are wanted")
    parser.add_argument("--out", type=Path, required=True, help="folder that gets vae/, as a checkpoint has it")
    options = parser.parse_args()
    vae, old = load_vae(options.vae), load_vae(options.to)
    figures = align(vae, old)
    vae.register_to_config(scaling_factor=old.config.scaling_factor)
    vae.save_pretrained(options.out / "vae")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
