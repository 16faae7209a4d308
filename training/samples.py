"""What a model in training can do by now: sample sheets in its run's folder, one each so many minutes.

The U-Net's are made by the studio's own lanes with the averaged weights, as the shipped model's pictures are.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import nn
from transformers import CLIPTokenizer

from studio.diffusion.components import Components, TextEncoder
from studio.families.sd1 import FAMILY as SD1
from training.hardware import Hardware
from training.pictures import Settings, make_pictures
from training.schedule import SCHEDULER
from training.sheets import Cell, save_sheet
from training.world import SIZE

PROMPTS = Path(__file__).parent / "prompts.txt"
SHEET_PROMPTS = 16  # prompts of prompts.txt on a sheet
SEED = 1
GAP = 4  # pixels between pictures


class Timer:
    """Tells when the next sheet is due."""

    def __init__(self, minutes: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = 60 * minutes
        self._clock = clock
        self._last = clock()

    def is_due(self) -> bool:
        """True once for every so many minutes; never for 0."""
        if not self._seconds or self._clock() - self._last < self._seconds:
            return False
        self._last = self._clock()
        return True


def sheet_path(folder: Path, step: int) -> Path:
    """Where the sheet of a step lies in a run's folder."""
    return folder / "samples" / f"step-{step:06}.png"


class UnetSamples:
    """Sheets of the first prompts of prompts.txt. The modules in training are left alone: copies make the pictures."""

    def __init__(
        self, vae: AutoencoderKL, tokenizer: CLIPTokenizer, hardware: Hardware, count: int = SHEET_PROMPTS
    ) -> None:
        self._vae = vae.to(hardware.device)
        self._tokenizer = tokenizer
        self._device = hardware.device
        self._prompts = [line for line in PROMPTS.read_text(encoding="utf-8").splitlines() if line][:count]

    def save(self, path: Path, both: nn.ModuleDict, weights: dict[str, torch.Tensor], settings: Settings) -> None:
        """One sheet with `weights` (the average's) in copies of `both` ("unet" and "text_encoder")."""
        average = copy.deepcopy(both)
        average.load_state_dict(weights)
        average.eval().requires_grad_(False)
        components = Components(
            name="in training",
            family=SD1,
            unet=average["unet"],
            vae=self._vae,
            text_encoders=(TextEncoder("text_encoder", self._tokenizer, average["text_encoder"]),),
            scheduler_config=dict(SCHEDULER),
            prediction_type="epsilon",
            device=self._device,
            dtype=torch.float32,
            native_width=SIZE,
            native_height=SIZE,
        )
        pictures = make_pictures(components, [(prompt, SEED) for prompt in self._prompts], settings)
        save_sheet(
            path, [Cell(one, prompt, "") for prompt, one in zip(self._prompts, pictures, strict=True)], columns=8
        )


def save_rows(path: Path, rows: list[list[Image.Image]]) -> None:
    """Rows of pictures of SIZE x SIZE, one below the other: what was shown, and what each decoder made of it."""
    columns = max(len(row) for row in rows)
    sheet = Image.new("RGB", (columns * (SIZE + GAP), len(rows) * (SIZE + GAP)), "white")
    for number, pictures in enumerate(rows):
        for column, picture in enumerate(pictures):
            sheet.paste(picture, (column * (SIZE + GAP), number * (SIZE + GAP)))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, optimize=True)
