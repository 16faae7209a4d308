"""A recording read back (docs/record.md): every quantity of every evaluation, and pictures of it. NumPy and Pillow."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from safetensors.numpy import load

from studio.asked.quantities import QUANTITIES, contrast
from studio.diffusion.quantities import noise_terms, x0_terms
from studio.export.colours import SIGNED, colour

Array = np.ndarray[Any, np.dtype[Any]]


_TILES = 3.0  # the channels of a state are shown from -3 to 3
_NOISE_HUE = (16, 18, 44), (240, 240, 255)  # darkest and lightest colour of predicted noise


class Replay:
    """One recorded image. `run` is the header, `evaluations` its list of numbers, `tensors` what the file holds."""

    def __init__(self, recording: bytes) -> None:
        """`recording` are the bytes of `/record/<job>` from the first evaluation on. Raises ValueError for others."""
        length = int.from_bytes(recording[:8], "little")
        self.run: dict[str, Any] = json.loads(json.loads(recording[8 : 8 + length])["__metadata__"]["run"])
        self.tensors: dict[str, Array] = load(recording)
        self.evaluations: list[dict[str, Any]] = self.run["evaluations"]
        self._scales: dict[str, float] = {}
        if self.run["since"] != 0 or not self.evaluations:
            raise ValueError("a replay needs a recording from its first evaluation on")

    def __len__(self) -> int:
        return len(self.evaluations)

    def of(self, index: int, quantity: str) -> Array | None:
        """A quantity of `studio.asked.quantities` of an evaluation, (C, h, w) float32 in model-input coordinates; None
        where it is undefined. `denoised` and `noise_pred` have guidance applied."""
        if quantity == "guidance":
            return _difference(self.of(index, "eps_cond"), self.of(index, "eps_uncond"))
        if quantity == "change_x_t":
            return _difference(self._following(index), self.of(index, "x_t"))
        if quantity == "change_x0":
            return _difference(self.of(index, "denoised"), self.of(index - 1, "denoised") if index else None)
        if quantity == "left_x0":
            return _difference(self.of(index, "denoised"), self.of(len(self) - 1, "denoised"))
        facts = self.evaluations[index]
        x_t: Array = self.tensors["x_t"][index].astype(np.float32)
        if quantity == "x_t":
            return x_t
        kind, _, branch = quantity.partition("_")
        output = self._guided_output(index) if quantity in ("denoised", "noise_pred") else self._branch(index, branch)
        of = x0_terms if kind in ("denoised", "x0") else noise_terms
        terms = of(facts["a"], facts["s"], self.run["prediction_type"])
        if terms is None or output is None:
            return None
        values: Array = np.float32(terms.of_input) * x_t + np.float32(terms.of_output) * output
        return values

    def _following(self, index: int) -> Array | None:
        """x_t of the next evaluation, after the last one the clean latents; None while those are not known."""
        if index + 1 < len(self):
            return self.of(index + 1, "x_t")
        clean = self.tensors.get("latents")
        return None if clean is None else clean.astype(np.float32)

    def _branch(self, index: int, branch: str) -> Array | None:
        """The model's answer for the prompt ("cond"), or for the negative one, which is not there without guidance."""
        answer: Array = self.tensors["model_cond"][index].astype(np.float32)
        if branch == "cond":
            return answer
        if "model_difference" not in self.tensors or self.evaluations[index]["guidance_scale"] == 1:
            return None
        without: Array = answer - self.tensors["model_difference"][index].astype(np.float32)
        return without

    def scale(self, quantity: str) -> float:
        """The greatest cell of a quantity in the whole run: one colour scale for all its evaluations."""
        if quantity not in self._scales:
            values = [self.of(index, quantity) for index in range(len(self))]
            self._scales[quantity] = max((float(cells(f).max()) for f in values if f is not None), default=0.0) or 1.0
        return self._scales[quantity]

    def quantity_picture(self, index: int, quantity: str, how: str = "fast") -> tuple[Image.Image | None, str]:
        """A quantity as a picture, and in words how it was drawn: by the fast decoder, as its channels, or as the size
        of each cell (changes always, by "fast"; channels without a decoder). No picture where it is undefined."""
        latents = self.of(index, quantity)
        if latents is None:
            return None, "undefined here"
        change = QUANTITIES[quantity].kind == "change"
        if how == "cells" or (change and how == "fast"):
            high = self.scale(quantity)
            return Image.fromarray(colour(cells(latents) / high)), f"RMS per cell, 0 .. {high:.2f}"
        if how == "channels" or "preview.weight" not in self.tensors:
            span = 2 * self.scale(quantity) if change else _TILES
            return tiles(latents, span), f"{len(latents)} channels, -{span:.2g} .. {span:.2g}"
        facts = self.evaluations[index]
        gain = contrast(quantity, facts["a"], facts["s"])
        picture = self.picture(np.float32(gain) * latents)
        if QUANTITIES[quantity].is_noise:  # in one hue, so that nobody takes it for x_t
            picture = ImageOps.colorize(picture.convert("L"), *_NOISE_HUE)
        return picture, "fast decoder" if gain > 0.995 else f"fast decoder, contrast x {gain:.2f}"

    @property
    def finished_picture(self) -> Image.Image | None:
        """What the run ended with, at its own size; None where it has not ended, or the recording was too large."""
        pixels = self.tensors.get("picture")
        return None if pixels is None else Image.fromarray(pixels)

    def scheduler(self, index: int) -> str:
        """The name of the scheduler that made an evaluation: in a branch another one may have taken over."""
        made_by = [one for one in self.run["schedulers"] if one["evaluation"] <= index]
        return str(made_by[-1]["scheduler_label"])

    def _guided_output(self, index: int) -> Array:
        if self.evaluations[index]["captured"]:
            place = sum(bool(e["captured"]) for e in self.evaluations[:index])
            output: Array = self.tensors["model_guided"][place].astype(np.float32)
            return output
        answer: Array = self.tensors["model_cond"][index].astype(np.float32)
        if "model_difference" in self.tensors:
            scale = np.float32(self.evaluations[index]["guidance_scale"] - 1)
            answer = answer + scale * self.tensors["model_difference"][index].astype(np.float32)
        return answer

    def picture(self, latents: Array | None) -> Image.Image:
        """Latents (C, h, w) at the picture's size, through the fast decoder, without one as tiles of their channels;
        grey where there are none."""
        size = self.run["width"], self.run["height"]
        if latents is None:
            return Image.new("RGB", size, (128, 128, 128))
        if "preview.weight" not in self.tensors:
            return tiles(latents, _TILES).resize(size, Image.Resampling.NEAREST)
        return decode_fast(latents, self.tensors["preview.weight"], self.tensors["preview.bias"])


def decode_fast(latents: Array, weight: Array, bias: Array) -> Image.Image:
    """The fast decoder (studio.diffusion.preview) in NumPy: a 3x3 convolution over repeated edges, a pixel shuffle."""
    channels, height, width = latents.shape
    padded = np.pad(latents, ((0, 0), (1, 1), (1, 1)), mode="edge")
    neighbours = [padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3)]
    near = np.stack(neighbours, axis=1).reshape(channels * 9, -1)  # (C * 9, h * w), as the weights lie
    pixels = weight.reshape(len(weight), -1) @ near + bias[:, None]
    scale = round((len(bias) / 3) ** 0.5)
    pixels = pixels.reshape(3, scale, scale, height, width).transpose(3, 1, 4, 2, 0)
    pixels = pixels.reshape(height * scale, width * scale, 3)
    return Image.fromarray((np.clip(pixels * 0.5 + 0.5, 0, 1) * 255).round().astype(np.uint8))


def cells(latents: Array) -> Array:
    """RMS over the channels of each cell, (h, w)."""
    magnitudes: Array = np.sqrt((latents.astype(np.float32) ** 2).mean(axis=0))
    return magnitudes


def _difference(one: Array | None, other: Array | None) -> Array | None:
    return None if one is None or other is None else one - other


def tiles(latents: Array, span: float) -> Image.Image:
    """Channels as tiles, two a row, -span .. span as blue .. amber."""
    channels, height, width = latents.shape
    rows = -(-channels // 2)
    sheet = np.zeros((rows * height, 2 * width, 3), np.uint8)
    for c, channel in enumerate(latents):
        y, x = divmod(c, 2)
        tile = colour((channel + span) / (2 * span), SIGNED)
        sheet[y * height : (y + 1) * height, x * width : (x + 1) * width] = tile
    return Image.fromarray(sheet)
