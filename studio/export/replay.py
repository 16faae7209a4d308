"""A recording read back (docs/record.md): every quantity of every evaluation, and pictures of it. NumPy and Pillow."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from PIL import Image
from safetensors.numpy import load

from studio.diffusion.quantities import Terms, noise_terms, x0_terms

Array = np.ndarray[Any, np.dtype[Any]]

QUANTITIES = {"x_t": "x_t", "denoised": "predicted x0", "noise_pred": "predicted noise"}


class Replay:
    """One recorded image. `run` is the header, `evaluations` its list of numbers, `tensors` what the file holds."""

    def __init__(self, recording: bytes) -> None:
        """`recording` are the bytes of `/record/<job>` from the first evaluation on. Raises ValueError for others."""
        length = int.from_bytes(recording[:8], "little")
        self.run: dict[str, Any] = json.loads(json.loads(recording[8 : 8 + length])["__metadata__"]["run"])
        self.tensors: dict[str, Array] = load(recording)
        self.evaluations: list[dict[str, Any]] = self.run["evaluations"]
        if self.run["since"] != 0 or not self.evaluations:
            raise ValueError("a replay needs a recording from its first evaluation on")

    def __len__(self) -> int:
        return len(self.evaluations)

    def of(self, index: int, quantity: str) -> Array | None:
        """x_t, denoised (predicted x0) or noise_pred (predicted noise) of an evaluation, guidance applied: (C, h, w)
        float32; None where it is undefined."""
        facts = self.evaluations[index]
        x_t: Array = self.tensors["x_t"][index].astype(np.float32)
        if quantity == "x_t":
            return x_t
        terms: Terms | None = (x0_terms if quantity == "denoised" else noise_terms)(
            facts["a"], facts["s"], self.run["prediction_type"]
        )
        if terms is None:
            return None
        found: Array = np.float32(terms.of_input) * x_t + np.float32(terms.of_output) * self._guided(index)
        return found

    def scheduler(self, index: int) -> str:
        """The name of the scheduler that made an evaluation: in a branch another one may have taken over."""
        made_by = [one for one in self.run["schedulers"] if one["evaluation"] <= index]
        return str(made_by[-1]["scheduler_label"])

    def _guided(self, index: int) -> Array:
        if self.evaluations[index]["captured"]:
            place = sum(bool(e["captured"]) for e in self.evaluations[:index])
            captured: Array = self.tensors["model_guided"][place].astype(np.float32)
            return captured
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
            return _tiles(latents).resize(size, Image.Resampling.NEAREST)
        return decoded(latents, self.tensors["preview.weight"], self.tensors["preview.bias"])


def decoded(latents: Array, weight: Array, bias: Array) -> Image.Image:
    """The fast decoder (studio.diffusion.preview) in NumPy: a 3x3 convolution over repeated edges, a pixel shuffle."""
    channels, height, width = latents.shape
    padded = np.pad(latents, ((0, 0), (1, 1), (1, 1)), mode="edge")
    shifted = [padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3)]
    near = np.stack(shifted, axis=1).reshape(channels * 9, -1)  # (C * 9, h * w), as the weights lie
    pixels = weight.reshape(len(weight), -1) @ near + bias[:, None]
    scale = round((len(bias) / 3) ** 0.5)
    pixels = pixels.reshape(3, scale, scale, height, width).transpose(3, 1, 4, 2, 0)
    pixels = pixels.reshape(height * scale, width * scale, 3)
    return Image.fromarray((np.clip(pixels * 0.5 + 0.5, 0, 1) * 255).round().astype(np.uint8))


def _tiles(latents: Array) -> Image.Image:
    """Channels as grey tiles, two a row, -3 .. 3 as black .. white."""
    channels, height, width = latents.shape
    rows = -(-channels // 2)
    sheet = np.zeros((rows * height, 2 * width), np.uint8)
    for c, channel in enumerate(latents):
        y, x = divmod(c, 2)
        grey = np.clip((channel + 3) / 6, 0, 1) * 255
        sheet[y * height : (y + 1) * height, x * width : (x + 1) * width] = grey.round()
    return Image.fromarray(sheet).convert("RGB")
