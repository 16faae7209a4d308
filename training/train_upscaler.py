"""Trains the built-in upscaler: pictures of 128 as the studio makes them => the same drawn at 512.

    python -m training.vector_sprites --icons .../package               # once: the large sprites, see there
    python -m training.train_upscaler --steps 15000                     # --from models/small-world-128
    python -m training.train_upscaler --export models/small-world-128/upscaler.safetensors

Run it again with the same arguments and it goes on where it was, after kill -9 too.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from training.budget import Budget
from training.compact import SCALE, Compact
from training.descent import Descent
from training.distil import DistilConfig, load_teacher
from training.ema import Average
from training.large_pictures import LargeWorld
from training.options import SAVE_EVERY
from training.samples import sheet_path
from training.state import FigureLog, load_state
from training.tokenizer import load_tokenizer
from training.upscaler_inputs import Round, Rounds, Studio, from_unit, to_unit
from training.workers import Workers
from training.world import draw_scene
from training.world_pictures import HELD_OUT_SEED, RUNS

SOBEL = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 4
SHEET_COLUMNS = 6


@dataclass(frozen=True, kw_only=True)
class UpscalerConfig:
    """What is trained and how; saved beside the weights."""

    seed: int = 41
    width: int = 64
    depth: int = 16  # with this width the size of realesr-animevideov3: 1.24 MB in float16
    drawn_share: float = 0.4  # of the pictures that are the U-Net's own; the others were only encoded and decoded
    round_rows: int = 32  # pictures of a round
    steps_per_round: int = 50
    pool: int = 64  # rounds that are drawn from
    scenes: int = 8  # pictures of a batch
    crops: int = 2  # of each
    crop: int = 32  # pixels of the small picture
    edge_weight: float = 0.5
    learning_rate: float = 5e-4
    warmup: int = 200
    clip: float = 1.0
    ema: float = 0.998


def edges(pictures: Tensor) -> Tensor:
    """Sobel's derivatives of (B, C, H, W) in x and y, (B, 2 C, H - 2, W - 2)."""
    kernels = torch.stack([SOBEL, SOBEL.T])[:, None].to(pictures)
    flat = pictures.reshape(-1, 1, *pictures.shape[-2:])
    found = F.conv2d(flat, kernels)
    return found.reshape(len(pictures), -1, *found.shape[-2:])


def upscaling_loss(predicted: Tensor, wanted: Tensor, edge_weight: float) -> Tensor:
    """L1 of pictures in [0, 1], and `edge_weight` times that of their Sobel derivatives: a soft edge is a wrong one."""
    # Derivatives are linear: those of the error are the error of the derivatives.
    error = predicted - wanted
    return error.abs().mean() + edge_weight * edges(error).abs().mean()


def compare(result: Tensor, wanted: Tensor) -> dict[str, float]:
    """Figures of pictures (B, 3, H, W) in [0, 1] against the large originals.

    psnr: dB, the mean of all. edge_error: L1 of the derivatives' error over L1 of the originals' derivatives, 0 when
    all edges are right, 1 for pictures without any.
    """
    psnr = -10 * (result - wanted).square().mean(dim=(1, 2, 3)).clamp_min(1e-9).log10()
    error = edges(result - wanted).abs().mean() / edges(wanted).abs().mean().clamp_min(1e-9)
    return {"psnr": float(psnr.mean()), "edge_error": float(error)}


def lanczos(pictures: np.ndarray) -> Tensor:
    """uint8 pictures (B, H, W, 3) four times as large by Lanczos, (B, 3, 4 H, 4 W) in [0, 1]."""
    size = pictures.shape[2] * SCALE, pictures.shape[1] * SCALE
    return to_unit(
        np.stack([np.asarray(Image.fromarray(one).resize(size, Image.Resampling.LANCZOS)) for one in pictures])
    )


class Examiner:
    """Held-out pictures, the first of them the U-Net's own, and what comes of them."""

    def __init__(self, studio: Studio, count: int) -> None:
        self._held_out: Round = studio.draw_round(HELD_OUT_SEED, 0, count)
        self._drawn = round(count * studio.drawn_share)
        renders = [studio.world.render(draw_scene(HELD_OUT_SEED, index)) for index in self._held_out.indices]
        self._wanted = np.stack([np.asarray(render) for render in renders])

    def figures(self, network: Compact | None) -> dict[str, float]:
        """PSNR and edge error of the network, or of Lanczos for None, of both kinds of pictures."""
        figures = {}
        parts = {"drawn": slice(0, self._drawn), "decoded": slice(self._drawn, None)}
        for name, part in parts.items():
            small = self._held_out.pictures[part]
            if len(small):
                compared = compare(self._enlarge(network, small), to_unit(self._wanted[part]))
                figures |= {f"{name}_{figure}": value for figure, value in compared.items()}
        return figures

    @torch.inference_mode()
    def _enlarge(self, network: Compact | None, pictures: np.ndarray) -> Tensor:
        if network is None:
            return lanczos(pictures)
        small = to_unit(pictures).split(1)
        return torch.cat([network(one).clamp(0, 1) for one in small])

    def save_sheet(self, path: Path, network: Compact) -> None:
        """Rows: Lanczos, the network, the original; columns: the first and the last held-out pictures."""
        chosen = np.unique(np.linspace(0, len(self._wanted) - 1, SHEET_COLUMNS).round().astype(int))
        small = self._held_out.pictures[chosen]
        rows = [lanczos(small), self._enlarge(network, small), to_unit(self._wanted[chosen])]
        side = rows[0].shape[-1]
        sheet = Image.new("RGB", (side * len(chosen), side * len(rows)))
        for number, row in enumerate(rows):
            for column, picture in enumerate(from_unit(row)):
                sheet.paste(picture, (column * side, number * side))
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path)


def averaged(config: UpscalerConfig, weights: dict[str, Tensor]) -> Compact:
    """A network with these weights, for looking at."""
    network = Compact(config.width, config.depth).requires_grad_(False).eval()
    network.load_state_dict(weights)
    return network


def load_studio(checkpoint: Path, sprites: Path, config: UpscalerConfig) -> Studio:
    """The built-in model, to make the inputs with. Raises FileNotFoundError where there are no large sprites."""
    world = LargeWorld(sprites)
    vae = AutoencoderKL.from_pretrained(checkpoint, subfolder="vae", torch_dtype=torch.float32)
    return Studio(
        vae=vae.requires_grad_(False).eval(),
        teacher=load_teacher(checkpoint, DistilConfig()),
        tokenizer=load_tokenizer(checkpoint / "tokenizer"),
        world=world,
        drawn_share=config.drawn_share,
    )


def train(
    workers: Workers,
    config: UpscalerConfig,
    budget: Budget,
    folder: Path,
    checkpoint: Path,
    sprites: Path,
    save_every: int = SAVE_EVERY,
    judge_every: int = 0,
    judge_count: int = 40,
) -> None:
    """Runs until the budget is spent, from the state in `folder` if there is one. `judge_every`: steps between two
    comparisons with Lanczos on `judge_count` held-out pictures, and two sheets; 0: none.
    """
    studio = load_studio(checkpoint, sprites, config)
    torch.manual_seed(config.seed)
    network = Compact(config.width, config.depth)
    average = Average(network, config.ema)
    parts = {"weights": network, "average": average}
    descent = Descent(workers, config, budget, folder, network.parameters(), parts, save_every)
    judged = FigureLog(folder / "judged.jsonl", descent.step + 1)
    rounds = Rounds(folder / "rounds", studio, config.seed, config.round_rows, config.pool)
    examiner = Examiner(studio, judge_count) if judge_every else None
    if examiner is not None:
        print(f"Lanczos  {json.dumps(examiner.figures(None))}", flush=True)
    smooth, newest = None, -1
    for step in descent.steps():
        if step // config.steps_per_round != newest:
            newest = step // config.steps_per_round
            rounds.advance(newest)
        rng = np.random.default_rng((config.seed, 1, step))
        small, wanted = rounds.draw(config.scenes, config.crops, config.crop, rng)
        predicted = network(small)
        loss = upscaling_loss(predicted, wanted, config.edge_weight)
        (value,) = descent.down(loss, loss.detach())
        average.update(network)
        smooth = float(value) if smooth is None else 0.98 * smooth + 0.02 * float(value)
        descent.log(loss=value, smooth=smooth)
        if descent.is_due_to_save:
            descent.tell(f"loss {smooth:.5f}")
        if examiner is not None and descent.step % judge_every == 0:
            shown = averaged(config, average.weights)
            figures = examiner.figures(shown)
            judged.write(descent.step, **figures)
            print(f"step {descent.step}  {json.dumps(figures)}", flush=True)
            examiner.save_sheet(sheet_path(folder, descent.step), shown)


def export(folder: Path, out: Path) -> None:
    """The run's average as float16, with the published names. Raises FileNotFoundError where there is no state."""
    state = load_state(folder / "state.pt")
    if state is None:
        raise FileNotFoundError(f"{folder / 'state.pt'}: there is no such run")
    tensors = {name: value.half().contiguous() for name, value in state["average"]["weights"].items()}
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, out, {"modelspec.title": "Small world 4x", "scale": str(SCALE), "ss_steps": str(state["step"])})
    out.chmod(0o644)  # safetensors lets nobody else read it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="checkpoint", type=Path, default=Path("models/small-world-128"))
    parser.add_argument("--sprites", type=Path, default=RUNS / "vector-sprites", help="what vector_sprites drew")
    parser.add_argument("--steps", type=int, default=15000, help="length of the run; the rate decays over it")
    parser.add_argument("--learning-rate", type=float, default=UpscalerConfig.learning_rate)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--save-every", type=int, default=50)
    parser.add_argument("--judge-every", type=int, default=500, help="steps; 0: never")
    parser.add_argument("--judge-count", type=int, default=40, help="held-out pictures of each comparison")
    parser.add_argument("--run", type=Path, default=RUNS / "upscaler", help="folder of the run's state and figures")
    parser.add_argument("--export", type=Path, help="writes the weights of the run's state there instead of training")
    options = parser.parse_args()
    for name in ("steps", "threads", "save_every", "judge_count"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} {getattr(options, name)}: allowed is at least 1")
    torch.set_num_threads(options.threads)
    if options.export is not None:
        export(options.run, options.export)
        return
    config = UpscalerConfig(learning_rate=options.learning_rate)
    budget = Budget(learning_rate=config.learning_rate, warmup=config.warmup, steps=options.steps)
    train(
        Workers(),
        config,
        budget,
        options.run,
        options.checkpoint,
        options.sprites,
        options.save_every,
        options.judge_every,
        options.judge_count,
    )


if __name__ == "__main__":
    main()
