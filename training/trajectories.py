"""Runs of the teacher from noise to a picture, which the few-step student learns to take in one stride.

A run begins at pure noise, or where the student itself came to in some steps and had noise put over it again: that is
what it meets when it makes pictures. From there the teacher goes to the end by DPM-Solver++(2M) (Lu et al. 2022) with
guidance. Every state on the way is an example: these noisy latents, at this timestep, become that picture.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from training.schedule import make_scheduler
from training.state import generator_for, load_state, save_state
from training.world_pictures import tokenize, write_captions

# Where the LCM scheduler evaluates the U-Net in four steps. Two steps are the first and the third, one is the first.
LEVELS = (999, 749, 500, 250)
JITTER = 25  # timesteps that a level is moved by at most, so that other counts of steps fall between
EMPTY = 0.05  # share of empty captions

Denoiser = Callable[[Tensor, Tensor, Tensor], Tensor]  # (z_t, t, prompt_embeds) -> predicted noise


class Examples(NamedTuple):
    """noisy (B, S, C, H, W) at timesteps (B, S), of which `counts` (B,) states are real; what becomes of them, clean
    (B, C, H, W), when the words are tokens (B, 77). Of one file: float16 and int16."""

    noisy: Tensor
    timesteps: Tensor
    counts: Tensor
    clean: Tensor
    tokens: Tensor


def to_clean(noisy: Tensor, noise_pred: Tensor, abar: Tensor) -> Tensor:
    """Predicted x0 of noisy latents (B, C, H, W) at cumulative alphas (B,)."""
    abar = abar.view(-1, 1, 1, 1)
    return (noisy - (1 - abar).sqrt() * noise_pred) / abar.sqrt()


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """The checkpoint as it is, with guidance."""

    unet: UNet2DConditionModel
    text_encoder: CLIPTextModel
    empty: Tensor  # tokens of the empty prompt, (77,)
    guidance_scale: float
    steps: int  # of a whole run from pure noise

    @torch.no_grad()
    def embed(self, tokens: Tensor) -> Tensor:
        """Token ids (B, 77) => prompt embeddings (B, 77, dim)."""
        embeds: Tensor = self.text_encoder(tokens.long())[0]
        return embeds

    def count(self, start: float) -> int:
        """Steps of a run from this timestep: their share, and two, for the last ones draw the outlines."""
        return max(2, min(self.steps, round(self.steps * start / 1000) + 2))

    @torch.no_grad()
    def run(self, noisy: Tensor, start: int, embeds: Tensor, shift: float) -> tuple[Tensor, Tensor, Tensor]:
        """From `noisy` (B, C, H, W) at timestep `start` to the end: states (B, S, C, H, W), timesteps (S,), clean.

        `shift` in [0, 1) moves the timesteps between the first and the end, so that runs see different ones.
        """
        alphas_cumprod = make_scheduler().alphas_cumprod
        count = self.count(start)
        fractions = (torch.arange(count) - shift * (torch.arange(count) > 0) * 0.5) / count
        timesteps = (start * (1 - fractions)).round().long()
        both = torch.cat([embeds, self.embed(self.empty.expand(len(noisy), -1))])
        states, clean, before, last_step = [], noisy, noisy, 0.0
        log_snr = 0.5 * (alphas_cumprod / (1 - alphas_cumprod)).log()
        for index, timestep in enumerate(timesteps.tolist()):
            states.append(noisy)
            prompted, unprompted = self.unet(
                torch.cat([noisy, noisy]), torch.tensor(timestep), both, return_dict=False
            )[0].chunk(2)
            noise_pred = unprompted + self.guidance_scale * (prompted - unprompted)
            clean = to_clean(noisy, noise_pred, alphas_cumprod[timestep].expand(len(noisy)))
            if index + 1 == count:
                break
            following = int(timesteps[index + 1])
            step = float(log_snr[following] - log_snr[timestep])
            direction = clean
            if index:
                ratio = last_step / step
                direction = (1 + 0.5 / ratio) * clean - 0.5 / ratio * before
            abar, now = alphas_cumprod[following], alphas_cumprod[timestep]
            shrink = ((1 - abar) / (1 - now)).sqrt()
            noisy = shrink * noisy - abar.sqrt() * float(np.expm1(-step)) * direction
            before, last_step = clean, step
        return torch.stack(states, 1), timesteps, clean


def draw_tokens(tokenizer: CLIPTokenizer, seed: int, first: int, count: int) -> Tensor:
    """Captions of the world's samples `first` ... as token ids, int64 (count, 77), some of them empty."""
    rng = np.random.default_rng((seed, first))
    captions = [write_captions(seed, first + index)[0] for index in range(count)]
    return tokenize(tokenizer, ["" if rng.random() < EMPTY else caption for caption in captions])


def renoise(clean: Tensor, timestep: int, generator: torch.Generator) -> Tensor:
    """What the LCM scheduler goes on with after it has predicted `clean` (B, C, H, W)."""
    abar = make_scheduler().alphas_cumprod[timestep]
    return abar.sqrt() * clean + (1 - abar).sqrt() * torch.randn(clean.shape, generator=generator)


@torch.no_grad()
def student_start(
    student: Denoiser, embeds: Tensor, shape: tuple[int, ...], levels: list[int], generator: torch.Generator
) -> Tensor:
    """Where the student comes to at the last of `levels`, from pure noise at the first: (B, C, H, W)."""
    alphas_cumprod = make_scheduler().alphas_cumprod
    noisy = torch.randn(shape, generator=generator)
    for level, following in itertools.pairwise(levels):
        timesteps = torch.full((len(noisy),), level)
        clean = to_clean(noisy, student(noisy, timesteps, embeds), alphas_cumprod[timesteps])
        noisy = renoise(clean, following, generator)
    return noisy


def draw_levels(goal: int, rng: np.random.Generator) -> list[int]:
    """Timesteps that a picture of few steps goes through, down to `goal`, an index of LEVELS."""
    levels = [LEVELS[0]]
    levels += [level for level in LEVELS[1:goal] if rng.random() < 0.5]
    if goal:
        levels.append(LEVELS[goal])
    return [levels[0]] + [level + int(rng.integers(-JITTER, JITTER + 1)) for level in levels[1:]]


def draw_round(
    teacher: Teacher, student: Denoiser, tokenizer: CLIPTokenizer, seed: int, number: int, rows: int
) -> Examples:
    """`rows` runs for each of LEVELS. Its randomness depends on (seed, number) and the student alone."""
    generator, rng = generator_for(seed, number), np.random.default_rng((seed, number))
    channels, side = teacher.unet.config.in_channels, teacher.unet.config.sample_size
    longest = teacher.count(LEVELS[0])
    parts = []
    for goal in range(len(LEVELS)):
        tokens = draw_tokens(tokenizer, seed, (number * len(LEVELS) + goal) * rows, rows)
        embeds = teacher.embed(tokens)
        levels = draw_levels(goal, rng)
        noisy = student_start(student, embeds, (rows, channels, side, side), levels, generator)
        states, timesteps, clean = teacher.run(noisy, levels[-1], embeds, float(rng.random()))
        missing = longest - states.shape[1]
        states = torch.nn.functional.pad(states, (0, 0, 0, 0, 0, 0, 0, missing))
        times = torch.nn.functional.pad(timesteps, (0, missing)).expand(rows, -1)
        counts = torch.full((rows,), len(timesteps), dtype=torch.int16)
        parts.append(Examples(states.half(), times.short(), counts, clean.half(), tokens.short()))
    return Examples(*(torch.cat(column) for column in zip(*parts, strict=True)))


class Pool:
    """The newest rounds of examples, each a file of its own, so that a run goes on with them."""

    def __init__(self, folder: Path, size: int) -> None:
        self._folder, self._size = folder, size
        self._rounds: dict[int, Examples] = {}

    def load(self, before: int) -> None:
        """Takes up the rounds below number `before` that lie in the folder."""
        for number in range(max(0, before - self._size), before):
            state = load_state(self._folder / f"{number}.pt")
            if state is not None:
                self._rounds[number] = Examples(**state)

    def add(self, number: int, examples: Examples) -> None:
        """Puts a round on disk and drops the oldest one beyond the pool's size."""
        save_state(self._folder / f"{number}.pt", examples._asdict())
        self._rounds[number] = examples
        for old in [one for one in self._rounds if one <= number - self._size]:
            del self._rounds[old]
            (self._folder / f"{old}.pt").unlink(missing_ok=True)

    def draw(self, count: int, first_share: float, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Noisy latents (B, C, H, W), timesteps (B,), clean latents and tokens of examples drawn from all rounds.

        `first_share`: of states at which a run began, where the student will be asked; else any state of a run.
        """
        rounds = list(self._rounds.values())
        places = torch.randint(sum(len(one.clean) for one in rounds), (count,), generator=generator).tolist()
        chance = torch.rand((2, count), generator=generator)
        columns: list[tuple[Tensor, ...]] = []
        for row, place in enumerate(places):
            for examples in rounds:
                if place < len(examples.clean):
                    break
                place -= len(examples.clean)
            state = 0 if chance[0, row] < first_share else int(chance[1, row] * int(examples.counts[place]))
            columns.append(
                (
                    examples.noisy[place, state],
                    examples.timesteps[place, state],
                    examples.clean[place],
                    examples.tokens[place],
                )
            )
        noisy, timesteps, clean, tokens = (torch.stack(column) for column in zip(*columns, strict=True))
        return noisy.float(), timesteps.long(), clean.float(), tokens.long()
