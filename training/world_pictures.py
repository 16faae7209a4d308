"""Pictures of the world and their captions, as the trainers read them; drawn when asked, or beforehand to a folder.

    python -m training.world_pictures --count 200000 --seed 9 --processes 15 --out training/runs/drawn

A CPU learns more slowly than it draws and needs no folder. A GPU learns faster than one process draws: with `--drawn
FOLDER` the autoencoder's trainer and `encode_latents` read what many processes write there. They may be started at the
same time, for a reader waits for the part that it needs. Run it again and it goes on after the parts that are whole.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import CLIPTokenizer

from training.state import save_config
from training.tokenizer import MODEL_MAX_LENGTH, ensure_tokenizer, load_tokenizer
from training.world import SIZE, draw_scene, render, write_caption

RUNS = Path(__file__).parent / "runs"
HELD_OUT_SEED = 990_000  # pictures that no training run draws
CONFIG = "drawn.json"
PART = 500  # pictures of one file
WORDINGS = 4  # captions of one picture
PATIENCE = 120.0  # seconds that a reader waits for a part before it takes the writers for dead


def draw_pictures(seed: int, indices: Sequence[int], crop: int | None = None) -> np.ndarray:
    """Samples of world `seed` as uint8 (B, H, W, 3); random crops when `crop` is given."""
    return np.stack([crop_picture(np.asarray(render(draw_scene(seed, index))), seed, index, crop) for index in indices])


def crop_picture(picture: np.ndarray, seed: int, index: int, crop: int | None) -> np.ndarray:
    """The picture, or a square of `crop` pixels at a place that depends on (seed, index) alone."""
    if crop is None:
        return picture
    top, left = np.random.default_rng((seed, index, 7)).integers(0, SIZE - crop + 1, 2)
    return picture[top : top + crop, left : left + crop]


def to_pixels(pictures: Tensor, device: torch.device | None = None) -> Tensor:
    """uint8 pictures (B, H, W, 3) => pixels (B, 3, H, W) in [-1, 1], float32."""
    if device is not None and device.type == "cuda":
        pictures = pictures.pin_memory()  # a copy that nothing waits for
    return pictures.to(device, non_blocking=True).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


def picture_batch(seed: int, indices: Sequence[int], crop: int | None = None) -> Tensor:
    """`draw_pictures` as pixels."""
    return to_pixels(torch.from_numpy(draw_pictures(seed, indices, crop)))


def write_captions(seed: int, index: int) -> list[str]:
    """WORDINGS captions of one picture, each worded anew; none is empty."""
    scene = draw_scene(seed, index)
    rngs = (np.random.default_rng((seed, index, wording)) for wording in range(WORDINGS))
    return [write_caption(rng, scene.objects, scene.relation, scene.background, scene.style) for rng in rngs]


def tokenize(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """Token ids, int64 (B, 77), padded as the shipping pipeline pads: the model learns to read the padding too."""
    tokens = tokenizer(
        captions, padding="max_length", max_length=MODEL_MAX_LENGTH, truncation=True, return_tensors="pt"
    )
    ids: Tensor = tokens.input_ids
    return ids


def caption_tokens(tokenizer: CLIPTokenizer, seed: int, indices: Sequence[int]) -> np.ndarray:
    """Token ids of `write_captions`, int16 (N, WORDINGS, 77)."""
    ids = tokenize(tokenizer, [caption for index in indices for caption in write_captions(seed, index)])
    return ids.numpy().astype(np.int16).reshape(len(indices), WORDINGS, MODEL_MAX_LENGTH)


@lru_cache(maxsize=1)
def _tokenizer(folder: Path) -> CLIPTokenizer:
    return load_tokenizer(folder)


@dataclass(frozen=True, kw_only=True)
class FolderConfig:
    """Which pictures lie in a folder; saved in it."""

    seed: int
    count: int


class PictureFolder:
    """A folder of parts: pictures uint8 (PART, H, W, 3) and tokens int16 (PART, WORDINGS, 77), as npy."""

    def __init__(self, folder: Path) -> None:
        """Raises FileNotFoundError when nothing was begun there."""
        config = _read_config(self.wait_for(folder / CONFIG))
        self.folder, self.seed, self.count = folder, config.seed, config.count
        self._open: dict[int, np.ndarray] = {}

    @staticmethod
    def wait_for(file: Path, patience: float = PATIENCE) -> Path:
        """The file, as soon as it is there. Raises FileNotFoundError when it does not come."""
        until = time.monotonic() + patience
        while not file.exists():
            if time.monotonic() > until:
                raise FileNotFoundError(
                    f"{file} did not come within {patience:.0f} s: is training.world_pictures running?"
                )
            time.sleep(0.05)
        return file

    def part(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Pictures and tokens of one part; waits for them."""
        tokens = np.load(self.wait_for(self.folder / f"{number:04}.tokens.npy"))
        return self._pictures(number), tokens

    def _pictures(self, number: int) -> np.ndarray:
        if number not in self._open:
            self._open[number] = np.load(self.wait_for(self.folder / f"{number:04}.pictures.npy"), mmap_mode="c")
        return self._open[number]

    def pictures(self, indices: Sequence[int], crop: int | None = None) -> np.ndarray:
        """As `draw_pictures` of this world; after the last picture comes the first again."""
        places = [index % self.count for index in indices]
        return np.stack(
            [crop_picture(self._pictures(place // PART)[place % PART], self.seed, place, crop) for place in places]
        )


def _read_config(file: Path) -> FolderConfig:
    return FolderConfig(**json.loads(file.read_text(encoding="utf-8")))


def write_part(folder: Path, seed: int, number: int) -> int:
    """Draws one part unless it is there; its number."""
    indices = range(number * PART, (number + 1) * PART)
    tokens_file = folder / f"{number:04}.tokens.npy"
    if not tokens_file.exists():
        _save(folder / f"{number:04}.pictures.npy", draw_pictures(seed, indices))
        _save(tokens_file, caption_tokens(_tokenizer(folder / "tokenizer"), seed, indices))
    return number


def _be_single() -> None:
    """One thread for one process: there are as many of them as cores."""
    torch.set_num_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


def _save(file: Path, values: np.ndarray) -> None:
    partial = file.with_suffix(f".{os.getpid()}.partial")
    with partial.open("wb") as out:
        np.save(out, values)
    os.replace(partial, file)


def draw(folder: Path, seed: int, count: int, processes: int) -> None:
    """Writes samples 0 ... count-1 of world `seed` (whole parts only). Raises ValueError where others lie."""
    config = FolderConfig(seed=seed, count=count // PART * PART)
    if (folder / CONFIG).exists() and _read_config(folder / CONFIG).seed != seed:
        raise ValueError(f"{folder} has pictures of another world than --seed {seed}: give another --out")
    ensure_tokenizer(folder / "tokenizer")
    save_config(folder / CONFIG, config)
    start = time.monotonic()
    parts = config.count // PART
    with ProcessPoolExecutor(processes, initializer=_be_single) as pool:
        for number in pool.map(write_part, [folder] * parts, [seed] * parts, range(parts)):
            if (number + 1) % 20 == 0:
                print(f"part {number + 1} of {parts}, {time.monotonic() - start:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=RUNS / "drawn")
    options = parser.parse_args()
    if options.processes < 1 or options.count < PART:
        parser.error(
            f"--processes {options.processes} --count {options.count}: allowed are at least 1 and at least {PART}"
        )
    draw(options.out, options.seed, options.count, options.processes)


if __name__ == "__main__":
    main()
