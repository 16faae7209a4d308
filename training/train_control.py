"""Trains a small ControlNet for the built-in model on its world's own segmentation maps; the U-Net stays as it is.

    python -m training.train_control --hours 1                # from models/small-world-128 and runs/latents.pt
    python -m training.export --control training/runs/control

Zhang, Rao & Agrawala 2023, "Adding Conditional Control to Text-to-Image Diffusion Models": for a frozen block
F(x; Theta) of the U-Net, a trainable copy of it, and Z a 1x1 convolution that begins as zero,

    y_c = F(x; Theta) + Z(F(x + Z(c; Theta_z1); Theta_c); Theta_z2)           (their eq. 2)

so that the first step changes nothing, and the loss is L_LDM with the map c_f as one condition more (their eq. 5):

    L = E ||eps - eps_theta(z_t, t, c_t, c_f)||^2.

The class and the copying are diffusers' (`ControlNetModel.from_unet`). The map's own encoder is narrower than theirs:
at 128x128 pixels it would cost more than the U-Net. The same command goes on where a run was.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from training.budget import Budget
from training.control_samples import ControlSamples
from training.descent import Descent
from training.ema import Average
from training.encode_latents import load_latents
from training.feed import Feed
from training.losses import conditional_ldm_loss, draw_timesteps, high_noise_weights, min_snr_weights
from training.options import PLAIN, SAVE_EVERY, RunOptions, add_run_arguments, read_run_options
from training.pictures import Settings
from training.samples import Timer, sheet_path
from training.schedule import make_scheduler
from training.segmentation import Shape, segmentation_map
from training.state import generator_for
from training.workers import Workers, randn_rows, run_workers
from training.world import draw_scene, write_caption
from training.world_pictures import RUNS, tokenize

# How exactly a map is drawn, and how often: half of them as a hand paints, so that a painted one is understood.
SHAPES: tuple[tuple[Shape, float], ...] = (("silhouette", 0.5), ("blob", 0.25), ("ellipse", 0.15), ("box", 0.1))


@dataclass(frozen=True, kw_only=True)
class ControlConfig:
    """What is trained and how; saved beside the weights."""

    seed: int = 1
    map_channels: tuple[int, ...] = (8, 16, 32, 64)  # of the map's encoder at 128, 64, 32 and 16 pixels
    batch: int = 16
    learning_rate: float = 6e-4
    warmup: int = 100
    weight_decay: float = 0.0
    clip: float = 1.0
    caption_dropout: float = 0.3  # Zhang et al. drop half: the map must be read where no words help
    unsaid: float = 0.5  # share of captions that say neither place nor size: these are the map's to say
    unnamed: float = 0.25  # share of maps in white, where the words say what it is
    snr_gamma: float = 5.0
    ema: float = 0.995


def make_control(unet: UNet2DConditionModel, config: ControlConfig, earlier: Path | None = None) -> ControlNetModel:
    """A ControlNet whose blocks begin as the U-Net's own, and which answers zero; or the one in the folder
    `earlier`."""
    if earlier is not None:
        return ControlNetModel.from_pretrained(earlier, torch_dtype=torch.float32)
    torch.manual_seed(config.seed)
    return ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=config.map_channels)


def draw_conditions(config: ControlConfig, world: int, indices: list[int], step: int) -> tuple[list[str], np.ndarray]:
    """Captions and maps (N, H, W, 3), 8 bits, for pictures of a world; worded and drawn anew each time."""
    captions, maps = [], []
    for index in indices:
        rng = np.random.default_rng((config.seed, step, index))
        scene = draw_scene(world, index)
        objects, relation = scene.objects, scene.relation
        if rng.random() < config.unsaid:
            objects = tuple(replace(placed, size="normal", place="center") for placed in objects)
            relation = relation and "and"
        caption = write_caption(rng, objects, relation, scene.background, scene.style)
        captions.append("" if rng.random() < config.caption_dropout else caption)
        shape = SHAPES[int(rng.choice(len(SHAPES), p=[share for _, share in SHAPES]))][0]
        maps.append(np.asarray(segmentation_map(scene, shape=shape, with_names=rng.random() >= config.unnamed)))
    return captions, np.stack(maps)


def train(
    workers: Workers,
    config: ControlConfig,
    budget: Budget,
    folder: Path,
    latents_file: Path,
    start: Path,
    options: RunOptions = PLAIN,
    save_every: int = SAVE_EVERY,
    earlier: Path | None = None,
) -> None:
    """Runs until the budget is spent, from the state in `folder` if there is one.

    `start`: the checkpoint whose U-Net and text encoder it is for; neither is changed. `earlier`: the folder of a
    ControlNet that is to be trained on, of the same shape.
    """
    hardware = options.hardware
    cached = load_latents(latents_file)
    unet = UNet2DConditionModel.from_pretrained(start, subfolder="unet", torch_dtype=torch.float32)
    control = make_control(unet, config, earlier).to(hardware.device).train()
    unet = unet.to(hardware.device).eval().requires_grad_(False)
    tokenizer = CLIPTokenizer.from_pretrained(start / "tokenizer")
    text_encoder = CLIPTextModel.from_pretrained(start, subfolder="text_encoder", dtype=torch.float32)
    text_encoder = text_encoder.to(hardware.device).eval().requires_grad_(False)
    average = Average(control, config.ema)
    parts = {"weights": control, "average": average}
    descent = Descent(
        workers, config, budget, folder, control.parameters(), parts, save_every, weight_decay=config.weight_decay
    )
    alphas_cumprod = make_scheduler().alphas_cumprod
    weights = min_snr_weights(torch.arange(len(alphas_cumprod)), alphas_cumprod, config.snr_gamma)
    alphas_cumprod, weights = alphas_cumprod.to(hardware.device), weights.to(hardware.device)
    known_latents = cached.latents.to(hardware.device)

    def rows_of_step(number: int) -> tuple[ControlConfig, int, list[int], int]:
        """World and indices of a step's rows, for their captions and maps."""
        rows = workers.rows(config.batch)
        indices = cached.draw(config.batch, number, config.seed)[rows.start : rows.stop].tolist()
        return config, cached.seed, indices, number

    samples, timer = None, Timer(options.sheet_minutes)
    smooth = None
    with Feed(draw_conditions, rows_of_step, options.feeders) as feed:
        for step in descent.steps():
            rows = workers.rows(config.batch)
            generator = generator_for(config.seed, step, hardware.device)
            indices = cached.draw(config.batch, step, config.seed)[rows.start : rows.stop]
            latents = known_latents[torch.from_numpy(indices).to(hardware.device)].float()
            timesteps = draw_timesteps(config.batch, weights, generator)[rows.start : rows.stop]
            noise = randn_rows((config.batch, *latents.shape[1:]), rows, generator)
            captions, maps = feed.get(step)
            condition = torch.from_numpy(maps).to(hardware.device).permute(0, 3, 1, 2).float() / 255  # (B, 3, H, W)
            prompt_embeds = encode_captions(text_encoder, tokenizer, captions, hardware.device)

            def predict(
                noisy_latents: Tensor, timesteps: Tensor, prompt_embeds: Tensor, condition: Tensor = condition
            ) -> Tensor:
                down, mid = control(noisy_latents, timesteps, prompt_embeds, condition, return_dict=False)
                prediction: Tensor = unet(
                    noisy_latents,
                    timesteps,
                    prompt_embeds,
                    down_block_additional_residuals=down,
                    mid_block_additional_residual=mid,
                    return_dict=False,
                )[0]
                return prediction

            balance = high_noise_weights(timesteps, alphas_cumprod)
            with hardware.autocast():
                loss = conditional_ldm_loss(predict, latents, noise, timesteps, prompt_embeds, alphas_cumprod, balance)
            (value,) = descent.down(loss, loss.detach())
            average.update(control)
            smooth = value if smooth is None else 0.98 * smooth + 0.02 * value
            descent.log(loss=value, smooth=smooth)
            if descent.is_due_to_save:
                descent.tell(f"loss {float(smooth):.4f}")
            if workers.is_first and timer.is_due():
                samples = samples or ControlSamples(start, hardware)
                samples.save(sheet_path(folder, descent.step), control, average.weights, Settings())


@torch.inference_mode()
def _encode(text_encoder: CLIPTextModel, input_ids: Tensor) -> Tensor:
    embeds: Tensor = text_encoder(input_ids)[0]
    return embeds


def encode_captions(
    text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer, captions: list[str], device: torch.device
) -> Tensor:
    """tau_theta of the captions, (N, 77, dim), padded as the shipping pipeline pads; no gradient goes through it."""
    input_ids = tokenize(tokenizer, captions).to(device)
    return _encode(text_encoder, input_ids).clone()  # a clone may be kept for the backward pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_run_arguments(parser)
    parser.add_argument("--from", dest="start", type=Path, default=Path("models/small-world-128"))
    parser.add_argument("--begun", type=Path, help="folder of a ControlNet to train on, instead of a new one")
    parser.add_argument("--learning-rate", type=float, default=ControlConfig.learning_rate)
    parser.add_argument("--batch", type=int, default=ControlConfig.batch)
    parser.add_argument("--latents", type=Path, default=RUNS / "latents.pt")
    parser.add_argument("--run", type=Path, default=RUNS / "control", help="folder of the run's state and figures")
    options = parser.parse_args()
    config = ControlConfig(learning_rate=options.learning_rate, batch=options.batch)
    budget = Budget(learning_rate=config.learning_rate, warmup=config.warmup, steps=options.steps, hours=options.hours)
    run = read_run_options(parser, options)
    where = options.run, options.latents, options.start
    run_workers(run.workers, train, config, budget, *where, run, options.save_every, options.begun)


if __name__ == "__main__":
    main()
