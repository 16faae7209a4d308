"""Trains the transformer of `models/small-world-flow` on the U-Net's cached latents and captions: rectified flow.

    python -m training.encode_latents --vae models/small-world-128
    python -m training.train_flow --steps 60000               # --from models/small-world-128
    python -m training.train_flow --export models/small-world-flow/transformer

Autoencoder, tokenizer and text encoder are those of the checkpoint that `--from` names, and stay as they are. Run it
again with the same arguments and it goes on where it was.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from diffusers import SD3Transformer2DModel
from torch import Tensor

from studio.diffusion.vae import to_pictures
from training.budget import Budget
from training.descent import Descent
from training.ema import Average
from training.encode_latents import CachedLatents, draw_indices, load_vae
from training.evaluation_prompts import Prompt, steering_singles
from training.flow import (
    TransformerShape,
    draw_times,
    embed,
    guided,
    load_text_encoder,
    make_transformer,
    on_path,
    sample,
    velocity,
)
from training.judge import judge
from training.options import SAVE_EVERY
from training.sheets import Cell, save_sheet
from training.state import FigureLog, generator_for, load_state
from training.tokenizer import load_tokenizer
from training.train_unet import load_all_latents
from training.unet_batches import choose_tokens
from training.workers import Workers
from training.world import SIZE
from training.world_pictures import RUNS, tokenize

JUDGED_TOGETHER = 16  # pictures of one call


@dataclass(frozen=True, kw_only=True)
class FlowConfig:
    """What is trained and how; saved beside the weights."""

    seed: int = 61
    shape: TransformerShape = field(default_factory=TransformerShape)
    caption_dropout: float = 0.15
    batch: int = 64
    learning_rate: float = 1e-3
    warmup: int = 400
    weight_decay: float = 0.0
    clip: float = 1.0
    ema: float = 0.999
    guidance_scale: float = 3.0  # of the pictures that are judged on the way
    judged_steps: int = 25


class FlowBatches:
    """Draws every batch of a run anew from its seed and the number of the step."""

    def __init__(self, cached: Sequence[CachedLatents], empty: Tensor, config: FlowConfig) -> None:
        """empty: tokens of the empty caption, (77,)."""
        self._latents = torch.cat([one.latents for one in cached])
        self._tokens = torch.cat([one.tokens for one in cached if one.tokens is not None])
        self._empty = empty.to(self._tokens.dtype)
        self._config = config

    def draw(self, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Latents and noise (B, 4, 16, 16), tokens (B, 77), t (B,)."""
        config = self._config
        generator = generator_for(config.seed, step)
        indices = torch.from_numpy(draw_indices(len(self._latents), config.batch, step, config.seed))
        shares = torch.full((config.batch,), config.caption_dropout)
        tokens = choose_tokens(self._tokens[indices], self._empty, shares, generator)
        latents = self._latents[indices].float()
        noise = torch.randn(latents.shape, generator=generator)
        return latents, noise, tokens, draw_times(config.batch, generator)


def flow_loss(predicted: Tensor, clean: Tensor, noise: Tensor) -> Tensor:
    """Mean square of the velocity's error, (B,)."""
    return (predicted - (noise - clean)).square().mean(dim=(1, 2, 3))


class Judged:
    """Pictures of the run's average on the way, as the judge sees them, and a sheet of the first."""

    def __init__(self, checkpoint: Path, config: FlowConfig, folder: Path, count: int) -> None:
        self._config = config
        self._folder = folder
        self._vae = load_vae(checkpoint)
        self._prompts: list[Prompt] = steering_singles(count)
        tokenizer, encoder = load_tokenizer(checkpoint / "tokenizer"), load_text_encoder(checkpoint)
        self._words = embed(encoder, tokenize(tokenizer, [prompt.prompt for prompt in self._prompts]).long())
        self._empty = embed(encoder, tokenize(tokenizer, [""]).long())

    @torch.inference_mode()
    def look(self, transformer: SD3Transformer2DModel, step: int) -> dict[str, float]:
        """Shares in percent: object, background, and both."""
        config, pictures = self._config, []
        side = SIZE // 8
        for start in range(0, len(self._prompts), JUDGED_TOGETHER):
            part = self._prompts[start : start + JUDGED_TOGETHER]
            words = self._words.rows(torch.arange(start, start + len(part)))
            noise = torch.stack([torch.randn(4, side, side, generator=generator_for(one.seed, 0)) for one in part])
            velocity_at = guided(transformer, words, self._empty, config.guidance_scale)
            latents = sample(velocity_at, noise, config.judged_steps)
            pictures += to_pictures(self._vae.decode(latents / self._vae.config.scaling_factor).sample)
        verdicts = [judge(picture) for picture in pictures]
        cells = [Cell(one, prompt.prompt, "") for one, prompt in zip(pictures, self._prompts, strict=True)][:32]
        save_sheet(self._folder / "samples" / f"step-{step:06}.png", cells, columns=8)
        objects = [v.objects == p.objects for v, p in zip(verdicts, self._prompts, strict=True)]
        grounds = [v.background == p.background for v, p in zip(verdicts, self._prompts, strict=True)]
        return {
            "object": 100 * sum(objects) / len(objects),
            "background": 100 * sum(grounds) / len(grounds),
            "both": 100 * sum(a and b for a, b in zip(objects, grounds)) / len(objects),
        }


def averaged(transformer: SD3Transformer2DModel, average: Average) -> SD3Transformer2DModel:
    """A copy of the network with the average's weights."""
    copied = copy.deepcopy(transformer)
    copied.load_state_dict(average.weights)
    return copied.eval().requires_grad_(False)


def train(
    workers: Workers,
    config: FlowConfig,
    budget: Budget,
    folder: Path,
    latents_files: Sequence[Path],
    checkpoint: Path,
    save_every: int = SAVE_EVERY,
    judge_every: int = 0,
    judge_count: int = 64,
) -> None:
    """Runs until the budget is spent, from the state in `folder` if there is one. `judge_every`: steps between two
    looks of the judge at `judge_count` pictures; 0: none. Raises ValueError for latents of another vocabulary."""
    encoder = load_text_encoder(checkpoint)
    cached = load_all_latents(latents_files, checkpoint / "tokenizer")
    empty = tokenize(load_tokenizer(checkpoint / "tokenizer"), [""])[0]
    transformer = make_transformer(config.shape, encoder.config.hidden_size, config.seed, SIZE // 8).train()
    average = Average(transformer, config.ema)
    parts = {"weights": transformer, "average": average}
    descent = Descent(workers, config, budget, folder, transformer.parameters(), parts, save_every, config.weight_decay)
    batches = FlowBatches(cached, empty, config)
    judged = Judged(checkpoint, config, folder, judge_count) if judge_every else None
    log = FigureLog(folder / "judged.jsonl", descent.step + 1)
    smooth = None
    for step in descent.steps():
        clean, noise, tokens, times = batches.draw(step)
        predicted = velocity(transformer, on_path(clean, noise, times), times, embed(encoder, tokens))
        losses = flow_loss(predicted, clean, noise)
        loss = losses.mean()
        (value,) = descent.down(loss, loss.detach())
        average.update(transformer)
        smooth = value if smooth is None else 0.98 * smooth + 0.02 * value
        quarters = {
            f"loss_{low:g}": float(losses.detach()[chosen].mean())
            for low in (0, 0.25, 0.5, 0.75)
            if (chosen := (times >= low) & (times < low + 0.25)).any()
        }
        descent.log(loss=value, smooth=smooth, **quarters)
        if descent.is_due_to_save:
            descent.tell(f"loss {float(smooth):.4f}")
        if judged is not None and descent.step % judge_every == 0:
            figures = judged.look(averaged(transformer, average), descent.step)
            log.write(descent.step, **figures)
            print(f"step {descent.step}  {json.dumps(figures)}", flush=True)


def export(config: FlowConfig, folder: Path, checkpoint: Path, out: Path) -> None:
    """The run's average as a diffusers folder in float16. Raises FileNotFoundError where there is no state."""
    state = load_state(folder / "state.pt")
    if state is None:
        raise FileNotFoundError(f"{folder / 'state.pt'}: there is no such run")
    text_width = load_text_encoder(checkpoint).config.hidden_size
    transformer = make_transformer(config.shape, text_width, config.seed, SIZE // 8)
    transformer.load_state_dict(state["average"]["weights"])
    transformer.half().save_pretrained(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="checkpoint", type=Path, default=Path("models/small-world-128"))
    parser.add_argument("--latents", type=Path, nargs="+", default=[RUNS / "latents.pt"])
    parser.add_argument("--steps", type=int, default=60_000, help="length of the run; the rate decays over it")
    parser.add_argument("--learning-rate", type=float, default=FlowConfig.learning_rate)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--save-every", type=int, default=SAVE_EVERY)
    parser.add_argument("--judge-every", type=int, default=2000, help="steps; 0: never")
    parser.add_argument("--judge-count", type=int, default=64, help="pictures of each look")
    parser.add_argument("--run", type=Path, default=RUNS / "flow", help="folder of the run's state and figures")
    parser.add_argument("--export", type=Path, help="writes the transformer of the run's state there instead")
    options = parser.parse_args()
    for name in ("steps", "threads", "save_every", "judge_count"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} {getattr(options, name)}: allowed is at least 1")
    torch.set_num_threads(options.threads)
    config = replace(FlowConfig(), learning_rate=options.learning_rate)
    if options.export is not None:
        export(config, options.run, options.checkpoint, options.export)
        return
    budget = Budget(learning_rate=config.learning_rate, warmup=config.warmup, steps=options.steps)
    train(
        Workers(),
        config,
        budget,
        options.run,
        options.latents,
        options.checkpoint,
        options.save_every,
        options.judge_every,
        options.judge_count,
    )


if __name__ == "__main__":
    main()
