"""Sheets of what a ControlNet in training makes of maps: the first cases of `training.placement`, map above picture."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import nn

from training.hardware import Hardware
from training.pictures import Settings, load_checkpoint
from training.placement import draw_cases, pictures_of
from training.samples import SHEET_PROMPTS, save_rows

COLUMNS = 8


class ControlSamples:
    """The module in training is left alone: a copy makes the pictures, with the checkpoint that it is for."""

    def __init__(self, checkpoint: Path, hardware: Hardware, count: int = SHEET_PROMPTS) -> None:
        self._components = load_checkpoint(checkpoint)
        for module in self._components.parts.values():
            module.to(hardware.device)
        self._components.device = hardware.device
        self._cases = draw_cases(count)

    def save(self, path: Path, control: nn.Module, weights: dict[str, torch.Tensor], settings: Settings) -> None:
        """One sheet with `weights` (the average's) in a copy of `control`."""
        average = copy.deepcopy(control)
        average.load_state_dict(weights)
        average.eval().requires_grad_(False)
        pictures = pictures_of(self._components, self._cases, settings, average, 1.0)
        rows = []
        for start in range(0, len(pictures), COLUMNS):
            cases = self._cases[start : start + COLUMNS]
            rows += [[case.map() for case in cases], pictures[start : start + COLUMNS]]
        save_rows(path, rows)
