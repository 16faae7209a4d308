"""Distils a checkpoint to few steps without a guidance row: a LoRA for its U-Net, sampled by the LCM scheduler.

    python -m training.distil --steps 12000            # --from models/small-world-128
    python -m training.distil --steps 12000 --export models/small-world-128/fast.safetensors

The student predicts at once what the teacher comes to in many guided steps, from the teacher's own states and from
those that the student meets itself (`trajectories`): a consistency model (Song et al. 2023) with the teacher's solution
for its target in place of its own next prediction. The guidance is in the target, as in LCM (Luo et al. 2023).

Run it again with the same arguments and it goes on where it was; with other --steps, with another decay.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel

from training.budget import Budget
from training.descent import Descent
from training.ema import Average
from training.evaluation_prompts import Prompt, steering_singles
from training.judge import judge
from training.lora_weights import LoraWeights
from training.options import SAVE_EVERY
from training.pictures import Settings, load_checkpoint, make_pictures
from training.schedule import make_scheduler
from training.state import FigureLog, generator_for, load_state
from training.tokenizer import load_tokenizer
from training.trajectories import Pool, Teacher, draw_round, to_clean
from training.workers import Workers
from training.world_pictures import RUNS, tokenize

JUDGED_STEPS = (4, 2, 1)


@dataclass(frozen=True, kw_only=True)
class DistilConfig:
    """What is trained and how; saved beside the weights."""

    seed: int = 31
    rank: int = 30  # of every layer that is wide enough: 3.8 MB in float16
    guidance_scale: float = 3.0  # of the teacher
    teacher_steps: int = 10
    round_rows: int = 16  # runs of one round for each level; a round is four times as many
    steps_per_round: int = 12
    pool: int = 64  # rounds that are drawn from
    first_share: float = 0.6  # of each batch that is states at which a run begins
    batch: int = 64
    learning_rate: float = 1e-3
    warmup: int = 50
    clip: float = 1.0
    softness: float = 0.1  # of the loss, in latent units: errors below it count squared, above it as they are
    ema: float = 0.995


def distillation_loss(predicted: Tensor, clean: Tensor, abar: Tensor, softness: float) -> Tensor:
    """Pseudo-Huber distance of predicted x0 (B, C, H, W) to the teacher's, times sqrt(SNR), at most 4.

    An error of the predicted noise is one of x0 times SNR^-1/2, so this way no timestep's gradients outweigh the rest.
    """
    distance = ((predicted - clean).square() + softness**2).sqrt() - softness
    weights = (abar / (1 - abar)).sqrt().clamp(max=4.0)
    return (distance.mean(dim=(1, 2, 3)) * weights).mean()


def accuracy(checkpoint: Path, weights: dict[str, Tensor], prompts: list[Prompt], steps: int) -> dict[str, float]:
    """Shares in percent: the object and the background, as the judge sees them, of pictures of so many steps."""
    components = load_checkpoint(checkpoint)
    components.unet.load_state_dict(weights, strict=False)
    settings = Settings(steps=steps, guidance_scale=1.0, scheduler="lcm")
    pictures = []
    for start in range(0, len(prompts), 16):
        part = [(prompt.prompt, prompt.seed) for prompt in prompts[start : start + 16]]
        pictures += make_pictures(components, part, settings)
    verdicts = [judge(picture) for picture in pictures]
    pairs = list(zip(prompts, verdicts, strict=True))
    return {
        f"object_{steps}": 100 * sum(v.objects == p.objects for p, v in pairs) / len(pairs),
        f"background_{steps}": 100 * sum(v.background == p.background for p, v in pairs) / len(pairs),
        f"seen_{steps}": 100 * sum(tuple(o.name for o in v.objects_seen) == p.objects for p, v in pairs) / len(pairs),
    }


def load_teacher(checkpoint: Path, config: DistilConfig) -> Teacher:
    """The checkpoint's U-Net and text encoder in float32, not to be trained."""
    tokenizer = load_tokenizer(checkpoint / "tokenizer")
    unet = UNet2DConditionModel.from_pretrained(checkpoint, subfolder="unet", torch_dtype=torch.float32)
    text_encoder = CLIPTextModel.from_pretrained(checkpoint, subfolder="text_encoder", dtype=torch.float32)
    return Teacher(
        unet=unet.requires_grad_(False).eval(),
        text_encoder=text_encoder.requires_grad_(False).eval(),
        empty=tokenize(tokenizer, [""])[0],
        guidance_scale=config.guidance_scale,
        steps=config.teacher_steps,
    )


def averaged(student: LoraWeights, average: Average) -> dict[str, Tensor]:
    """The U-Net's changed weights by the average of the factors."""
    current = {name: value.detach().clone() for name, value in student.state_dict().items()}
    student.load_state_dict(average.weights)
    with torch.no_grad():
        weights = {name: value.clone() for name, value in student.merged().items()}
    student.load_state_dict(current)
    return weights


def train(
    workers: Workers,
    config: DistilConfig,
    budget: Budget,
    folder: Path,
    checkpoint: Path,
    save_every: int = SAVE_EVERY,
    judge_every: int = 0,
    judge_count: int = 48,
) -> None:
    """Runs until the budget is spent, from the state in `folder` if there is one. `judge_every`: steps between two
    looks of the judge at `judge_count` pictures for each of JUDGED_STEPS; 0: none.
    """
    teacher = load_teacher(checkpoint, config)
    tokenizer = load_tokenizer(checkpoint / "tokenizer")
    student = LoraWeights(teacher.unet, config.rank, config.seed)
    average = Average(student, config.ema)
    parts = {"weights": student, "average": average}
    descent = Descent(workers, config, budget, folder, student.parameters(), parts, save_every)
    judged = FigureLog(folder / "judged.jsonl", descent.step + 1)
    pool = Pool(folder / "pool", config.pool)
    pool.load(-(-descent.step // config.steps_per_round))
    alphas_cumprod = make_scheduler().alphas_cumprod
    prompts = steering_singles(judge_count)
    smooth = None
    for step in descent.steps():
        if step % config.steps_per_round == 0:
            number = step // config.steps_per_round
            pool.add(number, draw_round(teacher, student, tokenizer, config.seed, number, config.round_rows))
        generator = generator_for(config.seed + 1, step)
        noisy, timesteps, clean, tokens = pool.draw(config.batch, config.first_share, generator)
        abar = alphas_cumprod[timesteps]
        predicted = to_clean(noisy, student(noisy, timesteps, teacher.embed(tokens)), abar)
        loss = distillation_loss(predicted, clean, abar, config.softness)
        (value,) = descent.down(loss, loss.detach())
        average.update(student)
        smooth = value if smooth is None else 0.98 * smooth + 0.02 * value
        errors = {
            f"rmse_{low}": float((predicted - clean).detach()[chosen].square().mean().sqrt())
            for low in (0, 125, 375, 625, 900)
            if (chosen := (timesteps >= low) & (timesteps < low + 250)).any()
        }
        descent.log(loss=value, smooth=smooth, **errors)
        if descent.is_due_to_save:
            descent.tell(f"loss {float(smooth):.4f}")
        if judge_every and descent.step % judge_every == 0:
            weights = averaged(student, average)
            figures: dict[str, float] = {}
            for count in JUDGED_STEPS:
                figures |= accuracy(checkpoint, weights, prompts, count)
            judged.write(descent.step, **figures)
            print(f"step {descent.step}  {json.dumps(figures)}", flush=True)


def export(config: DistilConfig, folder: Path, checkpoint: Path, out: Path) -> None:
    """The run's average as a LoRA file. Raises FileNotFoundError where there is no state."""
    state = load_state(folder / "state.pt")
    if state is None:
        raise FileNotFoundError(f"{folder / 'state.pt'}: there is no such run")
    student = LoraWeights(load_teacher(checkpoint, config).unet, config.rank, config.seed)
    student.to_file(
        out,
        state["average"]["weights"],
        {"ss_network_module": "networks.lora", "modelspec.title": "Fast", "ss_steps": str(state["step"])},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="checkpoint", type=Path, default=Path("models/small-world-128"))
    parser.add_argument("--steps", type=int, default=12000, help="length of the run; the rate decays over it")
    parser.add_argument("--learning-rate", type=float, default=DistilConfig.learning_rate)
    parser.add_argument("--rank", type=int, default=DistilConfig.rank)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--save-every", type=int, default=60)
    parser.add_argument("--judge-every", type=int, default=600, help="steps; 0: never")
    parser.add_argument("--judge-count", type=int, default=48, help="pictures of each look")
    parser.add_argument("--run", type=Path, default=RUNS / "distil", help="folder of the run's state and figures")
    parser.add_argument("--export", type=Path, help="writes the LoRA of the run's state there instead of training")
    options = parser.parse_args()
    for name in ("steps", "rank", "threads", "save_every", "judge_count"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} {getattr(options, name)}: allowed is at least 1")
    torch.set_num_threads(options.threads)
    config = DistilConfig(rank=options.rank, learning_rate=options.learning_rate)
    if options.export is not None:
        export(config, options.run, options.checkpoint, options.export)
        return
    budget = Budget(learning_rate=config.learning_rate, warmup=config.warmup, steps=options.steps)
    train(
        Workers(),
        config,
        budget,
        options.run,
        options.checkpoint,
        options.save_every,
        options.judge_every,
        options.judge_count,
    )


if __name__ == "__main__":
    main()
