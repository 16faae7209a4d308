"""Trains the autoencoder: pixels => latents => pixels, on pictures drawn as it goes.

    python -m training.train_autoencoder --hours 2            # decays by the clock
    python -m training.train_autoencoder --steps 12000        # the reproducible way

Run it again with the same arguments and it goes on where it was. `--from models/small-world-128` starts from the
committed weights instead of from nothing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from safetensors.torch import load_file
from torch import Tensor, nn

from studio.diffusion.vae import to_pictures
from training.budget import Budget
from training.compilation import compile_in_place
from training.descent import Descent
from training.feed import Feed
from training.losses import gradient_loss, kl_loss, linear_decodability_loss, reconstruction_loss
from training.options import PLAIN, SAVE_EVERY, RunOptions, add_compile_argument, add_run_arguments, read_run_options
from training.samples import Timer, save_rows, sheet_path
from training.state import generator_for
from training.workers import Workers, randn_rows, run_workers
from training.world import GRID, SIZE
from training.world_pictures import HELD_OUT_SEED, RUNS, PictureFolder, draw_pictures, picture_batch, to_pixels


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig:
    """What is trained and how; saved beside the weights."""

    seed: int = 1
    block_out_channels: tuple[int, ...] = (16, 32, 64, 128)
    layers_per_block: int = 1
    latent_channels: int = 4
    norm_num_groups: int = 8
    # Attention sees 8x8 positions in the crops and 16x16 in whole pictures; without it there is no such gap.
    mid_block_add_attention: bool = False
    crop: int = 64  # pixels; a crop costs a quarter of a picture
    batch: int = 16  # crops per step; of whole pictures a quarter as many, which are the same pixels
    whole_share: float = 0.3  # last share of the run on whole pictures
    learning_rate: float = 8e-4  # 2e-3 was unstable
    warmup: int = 100
    l2_weight: float = 1.0  # of L2 against L1 in the reconstruction
    gradient_weight: float = 0.5
    kl_weight: float = 1e-4
    head_weight: float = 0.2
    clip: float = 1.0
    # Once a U-Net knows the latents, only the decoder may go on learning.
    decoder_only: bool = False
    # Standard deviation added to the latents: the posterior's own and this; for the decoder alone only this, since the
    # latents that a U-Net makes are like the posterior's means.
    latent_noise: float = 0.0


def make_autoencoder(config: AutoencoderConfig) -> AutoencoderKL:
    """An AutoencoderKL with 8x per side and random weights."""
    torch.manual_seed(config.seed)
    depth = len(config.block_out_channels)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * depth,
        up_block_types=("UpDecoderBlock2D",) * depth,
        block_out_channels=config.block_out_channels,
        layers_per_block=config.layers_per_block,
        latent_channels=config.latent_channels,
        norm_num_groups=config.norm_num_groups,
        sample_size=SIZE,
        mid_block_add_attention=config.mid_block_add_attention,
    )


def make_head(config: AutoencoderConfig, start: Path | None = None) -> nn.Conv2d:
    """The 3x3 convolution of `linear_decodability_loss`: latents (B, 4, h, w) -> 8x8 pixel patches (B, 192, h, w).

    Random, or what the checkpoint `start` has as its fast preview, whose latents are at the U-Net's scale.
    """
    head = nn.Conv2d(config.latent_channels, 3 * GRID * GRID, 3, padding=1, padding_mode="replicate")
    if start is not None:
        preview = load_file(start / "vae" / "fast_preview.safetensors")
        settings = json.loads((start / "vae" / "config.json").read_text(encoding="utf-8"))
        weight = preview["weight"].float() * settings["scaling_factor"]
        head.load_state_dict({"weight": weight, "bias": preview["bias"].float()})
    return head


def autoencoder_loss(
    vae: AutoencoderKL, head: nn.Conv2d, pixels: Tensor, noise: Tensor, config: AutoencoderConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """The whole loss and its terms, detached. `noise`, like the latents: the reparametrisation's epsilon."""
    with torch.set_grad_enabled(not config.decoder_only):
        posterior = vae.encode(pixels).latent_dist  # pixels => latents (unscaled)
    spread = 0.0 if config.decoder_only else posterior.var
    latents = posterior.mean + (posterior.mean.new_tensor(config.latent_noise**2) + spread).sqrt() * noise
    decoded = vae.decode(latents).sample  # latents => pixels
    terms = {
        "reconstruction": reconstruction_loss(decoded, pixels, config.l2_weight),
        "gradient": config.gradient_weight * gradient_loss(decoded, pixels),
    }
    if not config.decoder_only:
        linear = F.pixel_shuffle(head(latents), GRID)
        terms["kl"] = config.kl_weight * kl_loss(posterior.mean, posterior.logvar)
        terms["head"] = config.head_weight * linear_decodability_loss(linear, pixels)
    total = torch.stack(list(terms.values())).sum()
    return total, {name: term.detach() for name, term in terms.items()}


def psnr(decoded: Tensor, pixels: Tensor) -> float:
    """Peak signal-to-noise ratio in dB over 8-bit values, mean over pictures; pixels in [-1, 1]."""
    error = (decoded.clamp(-1, 1) - pixels).div(2).square().mean(dim=(1, 2, 3)).clamp_min(1e-10)
    return float((-10 * error.log10()).mean())


@torch.compiler.set_stance("force_eager")  # another batch would be compiled anew
@torch.no_grad()
def round_trip_psnr(vae: AutoencoderKL, head: nn.Conv2d, count: int = 32) -> dict[str, float]:
    """PSNR on held-out whole pictures: by the decoder, and by the linear head alone."""
    pixels = picture_batch(HELD_OUT_SEED, range(count)).to(vae.device)
    latents = torch.cat([vae.encode(part).latent_dist.mean for part in pixels.split(8)])
    decoded = torch.cat([vae.decode(part).sample for part in latents.split(8)])
    linear = F.pixel_shuffle(head(latents), GRID)
    return {
        "psnr": psnr(decoded, pixels),
        "head_psnr": psnr(linear, pixels),
        "latent_std": float(latents.std()),
    }


def _picture_feed(
    rows_of_step: Callable[[int], tuple[int, range, int | None]], feeders: int, folder: Path | None
) -> Feed[np.ndarray]:
    """Pictures for one step after the other: drawn ahead by `feeders` processes, or read from a folder."""
    if folder is None:
        return Feed(draw_pictures, rows_of_step, feeders)
    pictures = PictureFolder(folder)
    return Feed(lambda seed, indices, crop: pictures.pictures(indices, crop), rows_of_step)


def train(
    workers: Workers,
    config: AutoencoderConfig,
    budget: Budget,
    folder: Path,
    start: Path | None = None,
    options: RunOptions = PLAIN,
    save_every: int = SAVE_EVERY,
    drawn_in: Path | None = None,
) -> None:
    """Runs until the budget is spent, from the state in `folder` if there is one, else from the checkpoint `start`.

    Pictures come from `folder`, if one is given, else they are drawn for each step.
    """
    hardware = options.hardware
    vae = make_autoencoder(config)
    if start is not None:
        vae = AutoencoderKL.from_pretrained(start, subfolder="vae", torch_dtype=torch.float32)
    head = make_head(config, start)
    # Channels last is what oneDNN's convolutions are fastest in: two thirds of the decoder's time.
    vae.to(hardware.device, memory_format=torch.channels_last).train()
    head.to(hardware.device)
    if options.compile:
        compile_in_place(vae.encoder)
        compile_in_place(vae.decoder)
    if config.decoder_only:
        parameters = [*vae.post_quant_conv.parameters(), *vae.decoder.parameters()]
    else:
        parameters = [*vae.parameters(), *head.parameters()]
    descent = Descent(workers, config, budget, folder, parameters, {"vae": vae, "head": head}, save_every)

    def rows_of_step(number: int) -> tuple[int, range, int | None]:
        """World, indices and crop of a step's rows. The last part of a run is on whole pictures."""
        whole = budget.fraction(number, descent.seconds) >= 1 - config.whole_share
        rows = workers.rows(config.batch * config.crop**2 // SIZE**2 if whole else config.batch)
        first = number * (rows.stop - rows.start) * workers.size
        return config.seed, range(first + rows.start, first + rows.stop), None if whole else config.crop

    timer = Timer(options.sheet_minutes)
    with _picture_feed(rows_of_step, options.feeders, drawn_in) as feed:
        for step in descent.steps():
            pixels = to_pixels(torch.from_numpy(feed.get(step)), hardware.device)
            rows = workers.rows(len(pixels) * workers.size)
            side = pixels.shape[-1] // GRID
            shape = (len(pixels) * workers.size, config.latent_channels, side, side)
            noise = randn_rows(shape, rows, generator_for(config.seed, step, hardware.device))
            with hardware.autocast():
                loss, terms = autoencoder_loss(vae, head, pixels, noise, config)
            values = descent.down(loss, *terms.values())
            descent.log(loss=sum(values), **dict(zip(terms, values, strict=True)))
            if descent.is_due_to_save:
                figures = round_trip_psnr(vae, head)
                descent.log(every=1, **figures)
                descent.tell(
                    f"loss {float(sum(values)):.4f}  PSNR {figures['psnr']:.2f} dB "
                    f"(head {figures['head_psnr']:.2f})  latent std {figures['latent_std']:.2f}"
                )
            if workers.is_first and timer.is_due():
                save_round_trip(sheet_path(folder, descent.step), vae)


@torch.compiler.set_stance("force_eager")
@torch.no_grad()
def save_round_trip(path: Path, vae: AutoencoderKL, count: int = 8) -> None:
    """Held-out pictures, and below them what the autoencoder makes of them."""
    pixels = picture_batch(HELD_OUT_SEED, range(count))
    decoded = vae.decode(vae.encode(pixels.to(vae.device)).latent_dist.mean).sample.float().cpu()
    save_rows(path, [to_pictures(pixels), to_pictures(decoded)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_run_arguments(parser)
    add_compile_argument(parser)
    parser.add_argument("--from", dest="start", type=Path, help="a checkpoint folder to start from")
    parser.add_argument("--learning-rate", type=float, default=AutoencoderConfig.learning_rate)
    parser.add_argument("--decoder-only", action="store_true", help="leave the latents as a trained U-Net knows them")
    parser.add_argument("--latent-noise", type=float, default=0.0)
    parser.add_argument("--whole-share", type=float, default=AutoencoderConfig.whole_share)
    parser.add_argument("--batch", type=int, default=AutoencoderConfig.batch, help="crops per step")
    parser.add_argument("--l2-weight", type=float, default=AutoencoderConfig.l2_weight)
    parser.add_argument(
        "--drawn", type=Path, help="a folder of training.world_pictures, instead of drawing for each step"
    )
    parser.add_argument("--run", type=Path, default=RUNS / "autoencoder", help="folder of the run's state and figures")
    options = parser.parse_args()
    config = AutoencoderConfig(
        batch=options.batch,
        l2_weight=options.l2_weight,
        learning_rate=options.learning_rate,
        decoder_only=options.decoder_only,
        latent_noise=options.latent_noise,
        whole_share=options.whole_share,
    )
    budget = Budget(learning_rate=config.learning_rate, warmup=config.warmup, steps=options.steps, hours=options.hours)
    run = read_run_options(parser, options)
    run_workers(run.workers, train, config, budget, options.run, options.start, run, options.save_every, options.drawn)


if __name__ == "__main__":
    main()
