"""Pixels => latents once, so that the U-Net's training neither draws nor encodes.

    python -m training.encode_latents --count 24000
    python -m training.encode_latents --drawn training/runs/drawn   # what training.world_pictures draws

The captions' tokens are kept with the latents. Written in parts; run it again and it goes on after the last whole part.
Parts of another autoencoder or vocabulary are made anew.
The scaling factor of a run's autoencoder is measured; a checkpoint's stays the one that its U-Net knows.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from training.hardware import CPU, DEVICES, choose_hardware
from training.state import load_state, save_state
from training.tokenizer import load_tokenizer, save_tokenizer, vocabulary_checksum
from training.train_autoencoder import AutoencoderConfig, make_autoencoder
from training.workers import Workers, run_workers
from training.world_pictures import PART, RUNS, PictureFolder, caption_tokens, draw_pictures, picture_batch, to_pixels

ENCODED_AT_ONCE = {"cpu": 20, "cuda": 250}  # pictures


@dataclass(frozen=True)
class CachedLatents:
    """Latents (N, 4, 16, 16) at the U-Net's scale, fp16, of samples 0 ... N-1 of world `seed`.

    `tokens`: the captions of each, int16 (N, WORDINGS, 77); the U-Net's training alone needs them.
    """

    latents: Tensor
    seed: int
    scaling_factor: float
    tokens: Tensor | None = None
    vocabulary: int = 0  # `vocabulary_checksum` of the tokens

    def draw(self, count: int, step: int, seed: int) -> np.ndarray:
        """Indices of the pictures of batch number `step` (`draw_indices`)."""
        return draw_indices(len(self.latents), count, step, seed)


def draw_indices(size: int, count: int, step: int, seed: int) -> np.ndarray:
    """Which of `size` pictures are batch number `step`: each epoch goes once through all, in its own order."""
    places = np.arange(step * count, (step + 1) * count)
    return np.array([_order(seed, int(place) // size, size)[int(place) % size] for place in places])


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, size: int) -> np.ndarray:
    """In which order an epoch goes through all pictures."""
    return np.random.default_rng((seed, epoch)).permutation(size)


def load_latents(file: Path) -> CachedLatents:
    """What `main` wrote."""
    state = load_state(file)
    if state is None:
        raise FileNotFoundError(f"{file} is missing: run python -m training.encode_latents first")
    return CachedLatents(
        state["latents"], state["seed"], state["scaling_factor"], state.get("tokens"), state.get("vocabulary", 0)
    )


def load_trained(run: Path) -> AutoencoderKL:
    """The autoencoder of a training run, from its state and its config.json."""
    state = load_state(run / "state.pt")
    if state is None:
        raise FileNotFoundError(f"{run}/state.pt is missing: run python -m training.train_autoencoder first")
    vae = make_autoencoder(AutoencoderConfig(**json.loads((run / "config.json").read_text(encoding="utf-8"))))
    vae.load_state_dict(state["vae"])
    return vae.eval().requires_grad_(False)


@torch.inference_mode()
def encode_parts(
    workers: Workers, vae_from: Path, parts: Path, seed: int, count: int, device: torch.device, folder: Path | None
) -> None:
    """Encodes this process's parts that are not on disk yet. Latents unscaled: the posterior's mean."""
    vae = load_vae(vae_from)
    mark = {"vae": checksum(vae), "vocabulary": vocabulary_checksum(parts / "tokenizer")}
    vae.to(device)
    at_once = ENCODED_AT_ONCE[device.type]
    stored = None if folder is None else PictureFolder(folder)
    tokenizer = load_tokenizer(parts / "tokenizer")
    start = time.monotonic()
    for number in range(workers.rank, count // PART, workers.size):
        file = parts / f"{number:04}.pt"
        made_by = load_state(file)
        if made_by is not None and mark.items() <= made_by.items():
            continue
        if stored is not None:
            pictures, tokens = stored.part(number)
        else:
            indices = range(number * PART, (number + 1) * PART)
            pictures, tokens = draw_pictures(seed, indices), caption_tokens(tokenizer, seed, indices)
        chunks = [
            vae.encode(to_pixels(torch.from_numpy(pictures[first : first + at_once]), device)).latent_dist.mean.cpu()
            for first in range(0, PART, at_once)
        ]
        save_state(file, {"latents": torch.cat(chunks).half(), "tokens": torch.from_numpy(tokens), **mark})
        if workers.is_first:
            print(f"part {number} of {count // PART}, {time.monotonic() - start:.0f} s", flush=True)


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


def encode(
    vae_from: Path,
    out: Path,
    count: int,
    seed: int,
    workers: int,
    device: torch.device = CPU.device,
    folder: Path | None = None,
) -> CachedLatents:
    """Encodes samples 0 ... count-1 (whole parts only) and writes them to `out`, at the U-Net's scale.

    They are those of `folder`, if one is given, whose seed must be this one. Raises ValueError when its
    captions are in another vocabulary than today's.
    """
    parts = out.with_suffix(".parts")
    save_tokenizer(parts / "tokenizer")
    vocabulary = vocabulary_checksum(parts / "tokenizer")
    if folder is not None and vocabulary_checksum(folder / "tokenizer") != vocabulary:
        raise ValueError(f"{folder} has captions in another vocabulary: run python -m training.world_pictures anew")
    run_workers(workers, encode_parts, vae_from, parts, seed, count, device, folder)
    latents_of_parts = [torch.load(parts / f"{number:04}.pt", weights_only=True) for number in range(count // PART)]
    latents, tokens = (torch.cat([part[key] for part in latents_of_parts]) for key in ("latents", "tokens"))
    # A checkpoint's U-Net knows the factor it was trained with; only a new autoencoder is measured.
    is_complete = (vae_from / "vae" / "config.json").exists()
    factor = float(load_vae(vae_from).config.scaling_factor) if is_complete else measure_scaling_factor(latents)
    cached = CachedLatents((latents.float() * factor).half(), seed, factor, tokens, vocabulary)
    save_state(out, dataclasses.asdict(cached))
    return cached


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vae", type=Path, default=RUNS / "autoencoder", help="a run's folder or a checkpoint's")
    parser.add_argument("--count", type=int, default=24_000)
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument(
        "--drawn", type=Path, help="a folder of training.world_pictures; it decides about --count and --seed"
    )
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--workers", type=int, help="single-threaded processes; 2 on a CPU, 1 on a GPU")
    parser.add_argument("--out", type=Path, default=RUNS / "latents.pt")
    options = parser.parse_args()
    device = choose_hardware(options.device).device
    workers = options.workers or (2 if device.type == "cpu" else 1)
    count, seed = options.count, options.seed
    if options.drawn is not None:
        pictures = PictureFolder(options.drawn)
        count, seed = pictures.count, pictures.seed
    cached = encode(options.vae, options.out, count, seed, workers, device, options.drawn)
    print(f"{len(cached.latents)} latents, scaling factor {cached.scaling_factor:.5f}")


if __name__ == "__main__":
    main()
