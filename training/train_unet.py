"""Trains the U-Net and the text encoder together on cached latents: L_LDM, with and without condition.

    python -m training.encode_latents                         # pixels => latents, once
    python -m training.train_unet --hours 8                   # decays by the clock
    python -m training.train_unet --steps 30000               # the reproducible way

Run it again with the same arguments and it goes on where it was. `--from models/small-world-128` starts from the
committed fp16 weights instead: fresh optimiser, short warm-up, EMA restarted. The vocabulary is the run's own, in its
folder; when it differs from the checkpoint's, the text encoder is carried over to it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from training.budget import Budget
from training.compilation import compile_in_place
from training.coupling import load_coupling, save_coupling
from training.descent import Descent
from training.ema import Average
from training.encode_latents import CachedLatents, load_latents, load_vae
from training.losses import conditional_ldm_loss, decision_weights, high_noise_weights, min_snr_weights
from training.options import PLAIN, SAVE_EVERY, RunOptions, add_compile_argument, add_run_arguments, read_run_options
from training.pictures import Settings
from training.samples import Timer, UnetSamples, sheet_path
from training.schedule import make_scheduler
from training.tokenizer import MODEL_MAX_LENGTH, carry_over, ensure_tokenizer, load_tokenizer, vocabulary_checksum
from training.unet_batches import CAPTIONLESS_FROM, UnetBatches
from training.workers import Workers, run_workers
from training.world import SIZE
from training.world_pictures import RUNS, tokenize


@dataclass(frozen=True, kw_only=True)
class UnetConfig:
    """What is trained and how; saved beside the weights."""

    seed: int = 1
    # Text encoder: 3 layers are enough for captions of at most 20 tokens.
    text_width: int = 128
    text_layers: int = 3
    text_heads: int = 4
    text_inner: int = 256
    # U-Net: cross-attention at 8x8 and in the middle (4x4). At 16x16 it costs more than it teaches.
    block_out_channels: tuple[int, ...] = (64, 96, 192)
    down_block_types: tuple[str, ...] = ("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D")
    up_block_types: tuple[str, ...] = ("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")
    layers_per_block: int = 1
    attention_heads: int = 4
    norm_num_groups: int = 16
    batch: int = 32
    learning_rate: float = 8e-4
    warmup: int = 200
    weight_decay: float = 0.0
    clip: float = 1.0
    # Share of empty captions, which classifier-free guidance needs.
    caption_dropout: float = 0.15
    # Share of each batch that is pictures of one plain object without a caption, their noise coupled to the object:
    # what the empty prompt should draw. Drawn for this alone, so that no kind of picture loses more of its captions.
    unprompted: float = 0.0
    # The least timestep at which these are shown: below `CAPTIONLESS_FROM` they teach outlines and not what to draw.
    unprompted_from: int = CAPTIONLESS_FROM
    snr_gamma: float = 5.0
    ema: float = 0.998


def read_config(file: Path) -> UnetConfig:
    """What `save_config` wrote for a run or `export` for a checkpoint; numbers that it lacks are today's."""
    return UnetConfig(**json.loads(file.read_text(encoding="utf-8")))


def make_unet(config: UnetConfig) -> UNet2DConditionModel:
    """eps_theta with random weights."""
    torch.manual_seed(config.seed)
    return UNet2DConditionModel(
        sample_size=SIZE // 8,
        in_channels=4,
        out_channels=4,
        down_block_types=config.down_block_types,
        up_block_types=config.up_block_types,
        block_out_channels=config.block_out_channels,
        layers_per_block=config.layers_per_block,
        cross_attention_dim=config.text_width,
        attention_head_dim=config.attention_heads,  # diffusers' name for the number of heads
        norm_num_groups=config.norm_num_groups,
    )


def make_text_encoder(config: UnetConfig, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """tau_theta with random weights."""
    torch.manual_seed(config.seed)
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=config.text_width,
            intermediate_size=config.text_inner,
            projection_dim=config.text_width,
            num_hidden_layers=config.text_layers,
            num_attention_heads=config.text_heads,
            max_position_embeddings=MODEL_MAX_LENGTH,
            hidden_act="gelu",
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def load_all_latents(files: Sequence[Path], vocabulary: Path) -> list[CachedLatents]:
    """Raises ValueError for one without captions in this vocabulary, of another autoencoder, or given twice."""
    all_latents = [load_latents(file) for file in files]
    for file, cached in zip(files, all_latents, strict=True):
        if cached.tokens is None or cached.vocabulary != vocabulary_checksum(vocabulary):
            raise ValueError(f"{file} has no captions in this vocabulary: run python -m training.encode_latents anew")
        if cached.scaling_factor != all_latents[0].scaling_factor:
            raise ValueError(
                f"{file} is of another autoencoder than {files[0]}: its scaling factor is {cached.scaling_factor}, "
                f"not {all_latents[0].scaling_factor}"
            )
    seeds = [cached.seed for cached in all_latents]
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"--latents: the same pictures twice; the files' seeds are {seeds}, and must differ")
    return all_latents


def train(
    workers: Workers,
    config: UnetConfig,
    budget: Budget,
    folder: Path,
    latents_files: Sequence[Path],
    start: Path | None = None,
    options: RunOptions = PLAIN,
    vae_from: Path | None = None,
    save_every: int = SAVE_EVERY,
) -> None:
    """Runs until the budget is spent, from the state in `folder` if there is one, else from the checkpoint `start`.

    The vocabulary lies in `folder`/tokenizer (`ensure_tokenizer`). `vae_from` decodes the sample sheets. Raises
    ValueError for latents that `load_all_latents` refuses.
    """
    hardware = options.hardware
    cached = load_all_latents(latents_files, folder / "tokenizer")
    tokenizer = load_tokenizer(folder / "tokenizer")
    if start is not None:
        unet = UNet2DConditionModel.from_pretrained(start, subfolder="unet", torch_dtype=torch.float32)
        text_encoder = CLIPTextModel.from_pretrained(start, subfolder="text_encoder", dtype=torch.float32)
        text_encoder = carry_over(text_encoder, start / "tokenizer", folder / "tokenizer")
    else:
        unet, text_encoder = make_unet(config), make_text_encoder(config, tokenizer)
    both = nn.ModuleDict({"unet": unet, "text_encoder": text_encoder}).to(hardware.device).train()
    average = Average(both, config.ema)
    parts = {"weights": both, "average": average}
    descent = Descent(
        workers, config, budget, folder, both.parameters(), parts, save_every, weight_decay=config.weight_decay
    )
    alphas_cumprod = make_scheduler().alphas_cumprod
    weights = min_snr_weights(torch.arange(len(alphas_cumprod)), alphas_cumprod, config.snr_gamma)
    alphas_cumprod, weights = alphas_cumprod.to(hardware.device), weights.to(hardware.device)
    batches = UnetBatches(
        cached, tokenize(tokenizer, [""])[0], weights, config, hardware.device, load_coupling(folder, start)
    )
    if workers.is_first:
        save_coupling(batches.coupling, folder)
    if options.compile:
        compile_in_place(unet)
        compile_in_place(text_encoder)

    def denoiser(noisy_latents: Tensor, timesteps: Tensor, prompt_embeds: Tensor) -> Tensor:
        prediction: Tensor = unet(noisy_latents, timesteps, prompt_embeds, return_dict=False)[0]
        return prediction

    samples, timer = None, Timer(options.sheet_minutes if vae_from is not None else 0)
    smooth = None
    for step in descent.steps():
        rows = workers.rows(config.batch)
        latents, tokens, timesteps, noise, without_prompt = batches.draw(step, rows)
        balance = high_noise_weights(timesteps, alphas_cumprod)
        balance = balance * torch.where(without_prompt, decision_weights(timesteps, alphas_cumprod), 1.0)
        with hardware.autocast():
            prompt_embeds = text_encoder(tokens)[0]  # (B, 77, dim)
            loss = conditional_ldm_loss(denoiser, latents, noise, timesteps, prompt_embeds, alphas_cumprod, balance)
        (value,) = descent.down(loss, loss.detach())
        average.update(both)
        smooth = value if smooth is None else 0.98 * smooth + 0.02 * value
        descent.log(loss=value, smooth=smooth)
        if descent.is_due_to_save:
            descent.tell(f"loss {float(smooth):.4f}")
        if workers.is_first and timer.is_due():
            assert vae_from is not None
            if samples is None:
                vae = load_vae(vae_from)
                vae.register_to_config(scaling_factor=cached[0].scaling_factor)
                samples = UnetSamples(vae, tokenizer, hardware)
            samples.save(sheet_path(folder, descent.step), both, average.weights, Settings())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_run_arguments(parser)
    add_compile_argument(parser)
    parser.add_argument("--from", dest="start", type=Path, help="a checkpoint folder to start from")
    parser.add_argument("--learning-rate", type=float, default=UnetConfig.learning_rate)
    parser.add_argument("--batch", type=int, default=UnetConfig.batch)
    parser.add_argument("--warmup", type=int, default=UnetConfig.warmup, help="steps until the rate is whole")
    parser.add_argument(
        "--caption-dropout", type=float, default=UnetConfig.caption_dropout, help="share of captions left empty"
    )
    parser.add_argument(
        "--unprompted",
        type=float,
        default=UnetConfig.unprompted,
        help="share of each batch that is plain single objects without a caption, their noise coupled to the object",
    )
    parser.add_argument(
        "--unprompted-from",
        type=int,
        default=UnetConfig.unprompted_from,
        help="the least timestep, of 0 to 999, at which these are shown",
    )
    parser.add_argument("--ema", type=float, default=UnetConfig.ema, help="decay of the average that ships")
    parser.add_argument(
        "--latents", type=Path, nargs="+", default=[RUNS / "latents.pt"], help="one file or more, of different seeds"
    )
    parser.add_argument("--vae", type=Path, help="decodes the sample sheets; else that of --from, or of the run")
    parser.add_argument("--run", type=Path, default=RUNS / "unet", help="folder of the run's state and figures")
    options = parser.parse_args()
    if not 0 <= options.unprompted_from < len(make_scheduler()):
        parser.error(f"--unprompted-from {options.unprompted_from}: must be from 0 to {len(make_scheduler()) - 1}")
    # A checkpoint's shape is kept: only what `--from` does not decide is read from the command line.
    shape = read_config(options.start / "training_config.json") if options.start else UnetConfig()
    config = replace(
        shape,
        learning_rate=options.learning_rate,
        batch=options.batch,
        warmup=options.warmup,
        caption_dropout=options.caption_dropout,
        unprompted=options.unprompted,
        unprompted_from=options.unprompted_from,
        ema=options.ema,
    )
    budget = Budget(learning_rate=config.learning_rate, warmup=config.warmup, steps=options.steps, hours=options.hours)
    run = read_run_options(parser, options)
    vae_from = options.vae or options.start or RUNS / "autoencoder"
    if run.sheet_minutes and not vae_from.is_dir():
        parser.error(
            f"--vae {vae_from}: there is no such folder; sample sheets need it, --sheet-minutes 0 goes without"
        )
    ensure_tokenizer(options.run / "tokenizer")
    run_workers(
        run.workers,
        train,
        config,
        budget,
        options.run,
        options.latents,
        options.start,
        run,
        vae_from,
        options.save_every,
    )


if __name__ == "__main__":
    main()
