"""Distils the tiny decoder, latents => pixels, from the autoencoder's own: the preview decoder *tiny*.

    python -m training.train_tiny --hours 0.5                 # from the cached latents and the committed autoencoder
    python -m training.train_tiny --steps 4000 --vae training/runs/autoencoder
    python -m training.export --tiny training/runs/tiny       # => models/small-world-128/vae_tiny

TAESD's idea (Ollin Boer Bohan, 2023): a preview needs no exact decoder, but a quick one. The form is diffusers'
`AutoencoderTiny`, without its encoder. Half of what it learns from are encodings of pictures, the other half mixtures
and noisy ones, as predicted x0 is in the first steps of a run. Run it again and it goes on where it was.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from torch import Tensor

from studio.checkpoints.loader import TINY_VAE
from studio.checkpoints.tiny_vae import load_tiny_vae
from studio.diffusion.vae import to_pictures
from training.budget import Budget
from training.descent import Descent
from training.encode_latents import CachedLatents, load_latents, load_vae
from training.losses import gradient_loss, reconstruction_loss
from training.options import PLAIN, SAVE_EVERY, RunOptions, add_run_arguments, read_run_options
from training.samples import Timer, save_rows, sheet_path
from training.train_autoencoder import psnr
from training.workers import Workers, run_workers
from training.world_pictures import HELD_OUT_SEED, RUNS, draw_pictures, to_pixels

CHECKPOINT = Path("models/small-world-128")


@dataclass(frozen=True, kw_only=True)
class TinyConfig:
    """What is trained and how; saved beside the weights."""

    seed: int = 1
    # All levels have one width, which the form demands. Blocks stand where a pixel is cheap: one at 128x128 would cost
    # as much as all others. 24 channels and more are too dear for a preview of a U-Net this small.
    width: int = 16
    blocks: tuple[int, int, int, int] = (3, 1, 1, 0)  # at 16x16, 32x32, 64x64, 128x128
    pictures: int = 2_000  # the first of the cached latents; what the autoencoder makes of them is kept in memory
    batch: int = 16
    learning_rate: float = 3e-3
    warmup: int = 100
    gradient_weight: float = 0.5
    truth_weight: float = 0.25  # of the true picture, against the autoencoder's own decoding
    clip: float = 1.0


def make_tiny(config: TinyConfig) -> AutoencoderTiny:
    """An AutoencoderTiny's decoder with random weights: `decode` takes latents at the U-Net's scale."""
    torch.manual_seed(config.seed)
    tiny = AutoencoderTiny(
        decoder_block_out_channels=(config.width,) * 4,
        num_decoder_blocks=config.blocks,
        # The form has an encoder, which is not trained and not saved: as small as can be.
        encoder_block_out_channels=(1,) * 4,
        num_encoder_blocks=(0,) * 4,
    )
    del tiny.encoder
    return tiny


def soften(latents: Tensor, index: int, seed: int) -> Tensor:
    """Mixture number `index` of latents (N, C, h, w), with noise, (C, h, w): what predicted x0 is like early in a run.

    There the denoiser's best answer is the mean of all pictures that may come of it.
    """
    rng = np.random.default_rng((seed, index))
    count = int(rng.integers(1, 5))
    shares = torch.from_numpy(rng.dirichlet(np.ones(count))).float()
    others = latents[torch.from_numpy(rng.integers(0, len(latents), count))].float()
    noise = torch.from_numpy(rng.standard_normal(others.shape[1:])).float()
    return (shares.view(-1, 1, 1, 1) * others).sum(dim=0) + 0.2 * float(rng.random()) * noise


class Teacher:
    """Latents with what the autoencoder makes of them, decoded once and kept as bytes, and the true pictures."""

    def __init__(self, vae: AutoencoderKL, cached: CachedLatents, config: TinyConfig, device: torch.device) -> None:
        self._vae = vae.to(device)
        self._factor = cached.scaling_factor
        self._seed = config.seed
        self._device = device
        size = min(config.pictures, len(cached.latents))
        self._cached = CachedLatents(cached.latents[:size], cached.seed, cached.scaling_factor)
        self._teachings: dict[int, tuple[Tensor, Tensor, Tensor | None]] = {}

    def batch(self, config: TinyConfig, step: int, rows: range) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Rows of batch number `step`: latents, decoded pixels, true pixels, and which rows have true ones, (B,)."""
        indices = self._cached.draw(config.batch, step, config.seed)[rows.start : rows.stop].tolist()
        self._learn([index for index in indices if index not in self._teachings])
        latents, decoded, truths = zip(*(self._teachings[index] for index in indices), strict=True)
        pixels = [to_pixels(one, self._device) for one in (torch.stack(decoded), _fill(truths, decoded))]
        has_truth = torch.tensor([truth is not None for truth in truths], device=self._device)
        return torch.stack(latents).float().to(self._device), pixels[0], pixels[1], has_truth

    @torch.no_grad()
    def _learn(self, indices: list[int]) -> None:
        if not indices:
            return
        # Every second one is soft: it has no true picture.
        latents = torch.stack(
            [
                soften(self._cached.latents, index, self._seed) if index % 2 else self._cached.latents[index].float()
                for index in indices
            ]
        )
        decoded = self._vae.decode(latents.to(self._device) / self._factor).sample
        pictures = (decoded.clamp(-1, 1).add(1).mul(127.5).round().byte().permute(0, 2, 3, 1)).cpu()
        for index, latent, picture in zip(indices, latents, pictures, strict=True):
            truth = None if index % 2 else torch.from_numpy(draw_pictures(self._cached.seed, [index])[0])
            self._teachings[index] = (latent.half(), picture, truth)


def _fill(truths: tuple[Tensor | None, ...], decoded: tuple[Tensor, ...]) -> Tensor:
    return torch.stack([other if truth is None else truth for truth, other in zip(truths, decoded, strict=True)])


def tiny_loss(
    pixels: Tensor, decoded: Tensor, truth: Tensor, has_truth: Tensor, config: TinyConfig
) -> tuple[Tensor, dict[str, float]]:
    """L1 + L2 and gradients against the autoencoder's decoding, and against the true picture where there is one.

    All pictures (B, 3, H, W) in [-1, 1]; has_truth: (B,).
    """

    def apart(answer: Tensor, target: Tensor) -> Tensor:
        return reconstruction_loss(answer, target) + config.gradient_weight * gradient_loss(answer, target)

    terms = {"distillation": apart(pixels, decoded)}
    share = float(has_truth.float().mean())
    if share:
        terms["truth"] = config.truth_weight * share * apart(pixels[has_truth], truth[has_truth])
    total = torch.stack(list(terms.values())).sum()
    return total, {name: term.item() for name, term in terms.items()}


class HeldOut:
    """Pictures that no run draws, their latents, and what the autoencoder makes of them."""

    @torch.no_grad()
    def __init__(self, vae: AutoencoderKL, scaling_factor: float, count: int = 32) -> None:
        self.pixels = to_pixels(torch.from_numpy(draw_pictures(HELD_OUT_SEED, range(count))))
        means = [vae.encode(part).latent_dist.mean for part in self.pixels.split(8)]
        self.decoded = torch.cat([vae.decode(mean).sample for mean in means]).clamp(-1, 1)
        self.latents = torch.cat(means) * scaling_factor

    @torch.no_grad()
    def figures(self, tiny: AutoencoderTiny) -> dict[str, float]:
        """PSNR in dB of the tiny decoder against the autoencoder's decoding, and against the true pictures."""
        device = next(tiny.parameters()).device
        answers = torch.cat([tiny.decode(part.to(device)).sample.float().cpu() for part in self.latents.split(8)])
        return {"psnr": psnr(answers, self.decoded), "truth_psnr": psnr(answers, self.pixels)}

    @torch.no_grad()
    def save_sheet(self, path: Path, tiny: AutoencoderTiny, count: int = 8) -> None:
        """The pictures, the autoencoder's decoding of them, and the tiny decoder's."""
        latents = self.latents[:count].to(next(tiny.parameters()).device)
        rows = (self.pixels[:count], self.decoded[:count], tiny.decode(latents).sample.float().cpu())
        save_rows(path, [to_pictures(one) for one in rows])


def load_tiny(folder: Path) -> AutoencoderTiny:
    """The tiny decoder of a checkpoint folder, float32, on the CPU, by the studio's loader."""
    return load_tiny_vae(folder / TINY_VAE, device=torch.device("cpu"), dtype=torch.float32)


def train(
    workers: Workers,
    config: TinyConfig,
    budget: Budget,
    folder: Path,
    vae_from: Path,
    latents_file: Path,
    start: Path | None = None,
    options: RunOptions = PLAIN,
    save_every: int = SAVE_EVERY,
) -> None:
    """Runs until the budget is spent, from the state in `folder` if there is one, else from the checkpoint `start`."""
    hardware = options.hardware
    cached, vae = load_latents(latents_file), load_vae(vae_from)
    held_out = HeldOut(vae, cached.scaling_factor) if workers.is_first else None
    teacher = Teacher(vae, cached, config, hardware.device)
    tiny = make_tiny(config)
    if start is not None:
        tiny.load_state_dict(load_tiny(start).state_dict())
    tiny.to(hardware.device, memory_format=torch.channels_last).train()  # a quarter quicker at a width of 16
    descent = Descent(workers, config, budget, folder, tiny.parameters(), {"tiny": tiny}, save_every)
    timer = Timer(options.sheet_minutes)
    for step in descent.steps():
        latents, decoded, truth, has_truth = teacher.batch(config, step, workers.rows(config.batch))
        with hardware.autocast():
            loss, terms = tiny_loss(tiny.decode(latents).sample, decoded, truth, has_truth, config)
        (value,) = descent.down(loss, sum(terms.values()))
        descent.log(loss=value, **terms)
        if held_out is not None and descent.is_due_to_save:
            figures = held_out.figures(tiny)
            descent.log(every=1, **figures)
            descent.tell(
                f"loss {float(value):.4f}  PSNR {figures['psnr']:.2f} dB to the autoencoder, "
                f"{figures['truth_psnr']:.2f} to the picture"
            )
        if held_out is not None and timer.is_due():
            held_out.save_sheet(sheet_path(folder, descent.step), tiny)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_run_arguments(parser)
    parser.add_argument("--vae", type=Path, default=CHECKPOINT, help="a run's folder or a checkpoint's")
    parser.add_argument("--from", dest="start", type=Path, help="a checkpoint folder to start from")
    parser.add_argument("--latents", type=Path, default=RUNS / "latents.pt", help="of the same autoencoder")
    parser.add_argument("--learning-rate", type=float, default=TinyConfig.learning_rate)
    parser.add_argument("--batch", type=int, default=TinyConfig.batch)
    parser.add_argument("--pictures", type=int, default=TinyConfig.pictures, help="of the cached latents")
    parser.add_argument("--run", type=Path, default=RUNS / "tiny", help="folder of the run's state and figures")
    options = parser.parse_args()
    config = TinyConfig(learning_rate=options.learning_rate, batch=options.batch, pictures=options.pictures)
    budget = Budget(learning_rate=config.learning_rate, warmup=config.warmup, steps=options.steps, hours=options.hours)
    run = read_run_options(parser, options)
    folders = (options.run, options.vae, options.latents, options.start)
    run_workers(run.workers, train, config, budget, *folders, run, options.save_every)


if __name__ == "__main__":
    main()
