"""Pixels => latents once, so that the U-Net's training neither draws nor encodes.

    python -m training.encode_latents --count 24000

Written in parts; run it again and it goes on after the last whole part. Parts of another autoencoder are made anew.
The scaling factor of a run's autoencoder is measured; a checkpoint's stays the one that its U-Net knows.
"""

from __future__ import annotations

import argparse
import json
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from training.state import load_state, save_state
from training.train_autoencoder import RUNS, AutoencoderConfig, make_autoencoder, picture_batch
from training.workers import Workers, run_workers

PART = 500  # pictures


@dataclass(frozen=True)
class CachedLatents:
    """Latents (N, 4, 16, 16) at the U-Net's scale, fp16, of samples 0 ... N-1 of world `seed`."""

    latents: Tensor
    seed: int
    scaling_factor: float

    def draw(self, count: int, step: int, seed: int) -> np.ndarray:
        """Indices of the pictures of batch number `step`: each epoch goes once through all, in its own order."""
        size = len(self.latents)
        places = np.arange(step * count, (step + 1) * count)
        orders = {epoch: np.random.default_rng((seed, epoch)).permutation(size) for epoch in set(places // size)}
        return np.array([orders[place // size][place % size] for place in places])


def load_latents(file: Path) -> CachedLatents:
    """What `main` wrote."""
    state = load_state(file)
    if state is None:
        raise FileNotFoundError(f"{file} is missing: run python -m training.encode_latents first")
    return CachedLatents(state["latents"], state["seed"], state["scaling_factor"])


def load_trained(run: Path) -> AutoencoderKL:
    """The autoencoder of a training run, from its state and its config.json."""
    state = load_state(run / "state.pt")
    if state is None:
        raise FileNotFoundError(f"{run}/state.pt is missing: run python -m training.train_autoencoder first")
    vae = make_autoencoder(AutoencoderConfig(**json.loads((run / "config.json").read_text(encoding="utf-8"))))
    vae.load_state_dict(state["vae"])
    return vae.eval().requires_grad_(False)


@torch.inference_mode()
def encode_parts(workers: Workers, vae_from: Path, parts: Path, seed: int, count: int) -> None:
    """Encodes this process's parts that are not on disk yet. Latents unscaled: the posterior's mean."""
    vae = load_vae(vae_from)
    mark = checksum(vae)
    began = time.monotonic()
    for number in range(workers.rank, count // PART, workers.size):
        file = parts / f"{number:04}.pt"
        made_by = load_state(file)
        if made_by is not None and made_by.get("vae") == mark:
            continue
        chunks = [
            vae.encode(picture_batch(seed, range(first, first + 20))).latent_dist.mean
            for first in range(number * PART, (number + 1) * PART, 20)
        ]
        save_state(file, {"latents": torch.cat(chunks).half(), "vae": mark})
        if workers.is_first:
            print(f"part {number} of {count // PART}, {time.monotonic() - began:.0f} s", flush=True)


def checksum(module: nn.Module) -> int:
    """CRC-32 of all weights: tells one autoencoder from another."""
    value = 0
    for weight in module.state_dict().values():
        value = zlib.crc32(weight.contiguous().numpy().tobytes(), value)
    return value


def load_vae(source: Path) -> AutoencoderKL:
    """An autoencoder from a checkpoint folder (with vae/config.json) or from a training run's folder."""
    if (source / "vae" / "config.json").exists():
        vae: AutoencoderKL = AutoencoderKL.from_pretrained(source, subfolder="vae", torch_dtype=torch.float32)
        return vae.eval().requires_grad_(False)
    return load_trained(source)


@torch.inference_mode()
def encoder_misfit(vae: AutoencoderKL, cached: CachedLatents, count: int = 4) -> float:
    """RMS difference between the first cached latents and what this autoencoder makes of the same pictures.

    About 0.01 when it is the same encoder, also after fp16; of the order of 1 for another one or another world.
    """
    latents = vae.encode(picture_batch(cached.seed, range(count))).latent_dist.mean * cached.scaling_factor
    return float((latents - cached.latents[:count].float()).square().mean().sqrt())


def measure_scaling_factor(latents: Tensor) -> float:
    """1 / standard deviation of all latent values (Rombach et al. 2022, section D.1): the U-Net sees unit variance."""
    return float(1.0 / latents.float().std())


def encode(vae_from: Path, out: Path, count: int, seed: int, workers: int) -> CachedLatents:
    """Encodes samples 0 ... count-1 (whole parts only) and writes them to `out`, at the U-Net's scale."""
    parts = out.with_suffix(".parts")
    run_workers(workers, encode_parts, vae_from, parts, seed, count)
    files = [parts / f"{number:04}.pt" for number in range(count // PART)]
    latents = torch.cat([torch.load(file, weights_only=True)["latents"] for file in files])
    # A checkpoint's U-Net knows the factor it was trained with; only a new autoencoder is measured.
    known = (vae_from / "vae" / "config.json").exists()
    factor = float(load_vae(vae_from).config.scaling_factor) if known else measure_scaling_factor(latents)
    cached = CachedLatents((latents.float() * factor).half(), seed, factor)
    save_state(out, {"latents": cached.latents, "seed": seed, "scaling_factor": factor})
    return cached


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vae", type=Path, default=RUNS / "autoencoder", help="a run's folder or a checkpoint's")
    parser.add_argument("--count", type=int, default=24_000)
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RUNS / "latents.pt")
    options = parser.parse_args()
    cached = encode(options.vae, options.out, options.count, options.seed, options.workers)
    print(f"{len(cached.latents)} latents, scaling factor {cached.scaling_factor:.5f}")


if __name__ == "__main__":
    main()
