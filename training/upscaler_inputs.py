"""What the upscaler is given in training: the world's pictures of 128 as the studio makes them.

A picture goes through the autoencoder there and back. A part of each round also has noise put over its latents, at a
level where its things are settled and their details are not, and the U-Net draws it to the end by its caption: a
picture of the U-Net's own, of which the large original is known all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor
from transformers import CLIPTokenizer

from studio.diffusion.vae import to_pictures
from training.large_pictures import LargeWorld
from training.state import generator_for, load_state, save_state
from training.trajectories import Teacher, renoise
from training.vector_sprites import SCALE
from training.world import SIZE, Scene, draw_scene
from training.world_pictures import draw_pictures, to_pixels, tokenize, write_captions

NOISE = (100, 350)  # timesteps between which the U-Net begins
INDICES_PER_ROUND = 100_000  # samples of the world that a round chooses from


@dataclass(frozen=True)
class Round:
    """Samples of a world and their pictures as the studio makes them, uint8 (N, 128, 128, 3)."""

    indices: list[int]
    pictures: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Studio:
    """The built-in model: `vae` in float32, and the U-Net with its words. `drawn_share`: of a round by the U-Net."""

    vae: AutoencoderKL
    teacher: Teacher
    tokenizer: CLIPTokenizer
    world: LargeWorld
    drawn_share: float

    @torch.no_grad()
    def draw_round(self, seed: int, number: int, rows: int) -> Round:
        """Round `number` of world `seed`; the first of its rows are the U-Net's own."""
        indices = self.world.indices(seed, number * INDICES_PER_ROUND, rows)
        scale = self.vae.config.scaling_factor
        pixels = to_pixels(torch.from_numpy(draw_pictures(seed, indices)))
        latents = torch.cat([self.vae.encode(part).latent_dist.mean for part in pixels.split(8)]) * scale
        drawn = round(rows * self.drawn_share)
        if drawn:
            latents = torch.cat([self._draw(latents[:drawn], seed, number, indices[:drawn]), latents[drawn:]])
        pictures = [to_pictures(self.vae.decode(part / scale).sample) for part in latents.split(8)]
        return Round(indices, np.stack([np.asarray(picture) for part in pictures for picture in part]))

    def _draw(self, latents: Tensor, seed: int, number: int, indices: list[int]) -> Tensor:
        generator = generator_for(seed, number)
        start = int(torch.randint(*NOISE, (), generator=generator))
        tokens = tokenize(self.tokenizer, [write_captions(seed, index)[0] for index in indices])
        noisy = renoise(latents, start, generator)
        return self.teacher.run(noisy, start, self.teacher.embed(tokens), shift=0.0)[2]


class Rounds:
    """The newest `size` rounds, in `folder` and in memory. A missing one is drawn again, and is the same."""

    def __init__(self, folder: Path, studio: Studio, seed: int, rows: int, size: int) -> None:
        self._folder, self._studio = folder, studio
        self._seed, self._rows, self._size = seed, rows, size
        self._rounds: dict[int, Round] = {}

    def advance(self, newest: int) -> None:
        """From now on the newest round is number `newest`."""
        first = max(0, newest - self._size + 1)
        self._rounds = {number: self._rounds.get(number) or self._load(number) for number in range(first, newest + 1)}
        for file in self._folder.glob("*.pt"):
            if int(file.stem) < first:
                file.unlink()

    def _load(self, number: int) -> Round:
        file = self._folder / f"{number}.pt"
        state = load_state(file)
        if state is not None:
            return Round(state["indices"], state["pictures"].numpy())
        drawn = self._studio.draw_round(self._seed, number, self._rows)
        save_state(file, {"indices": drawn.indices, "pictures": torch.from_numpy(drawn.pictures)})
        return drawn

    def draw(self, scenes: int, crops: int, side: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """`crops` squares of `side` pixels from each of `scenes` pictures, and the large ones they are to become:
        (B, 3, side, side) and (B, 3, 4 side, 4 side), float32 in [0, 1].
        """
        small, large = [], []
        numbers = sorted(self._rounds)
        for _ in range(scenes):
            chosen = self._rounds[numbers[int(rng.integers(len(numbers)))]]
            row = int(rng.integers(len(chosen.indices)))
            scene = draw_scene(self._seed, chosen.indices[row])
            picture = np.asarray(self._studio.world.render(scene))
            for _ in range(crops):
                left, top = choose_crop(scene, side, rng)
                small.append(chosen.pictures[row, top : top + side, left : left + side])
                x, y, length = SCALE * left, SCALE * top, SCALE * side
                large.append(picture[y : y + length, x : x + length])
        return to_unit(np.stack(small)), to_unit(np.stack(large))


def choose_crop(scene: Scene, side: int, rng: np.random.Generator) -> tuple[int, int]:
    """Left and top of a crop: three times in four in the middle of it lies a pixel of an object's box."""
    if scene.objects and rng.random() < 0.75:
        placed = scene.objects[int(rng.integers(len(scene.objects)))]
        center = placed.left + placed.side * rng.random(), placed.top + placed.side * rng.random()
        left, top = (int(np.clip(round(place - side / 2), 0, SIZE - side)) for place in center)
        return left, top
    left, top = (int(place) for place in rng.integers(0, SIZE - side + 1, 2))
    return left, top


def to_unit(pictures: np.ndarray) -> Tensor:
    """uint8 pictures (B, H, W, 3) => float32 (B, 3, H, W) in [0, 1]."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div_(255).contiguous()


def from_unit(values: Tensor) -> list[Image.Image]:
    """(B, 3, H, W), of which [0, 1] is shown => pictures."""
    rows = values.detach().clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
    return [Image.fromarray(row) for row in rows]
