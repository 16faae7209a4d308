"""Stable Diffusion's safety checker: a picture is flagged where CLIP's image embedding is near one of 17 concepts.

CLIP ViT-L/14 sees the picture at 224 x 224; the cosines to the concepts are compared with a threshold each, which are
lower by 0.01 where one of three further concepts is near (diffusers' StableDiffusionSafetyChecker, whose verdicts these
are; Rando et al. 2022, arXiv 2210.04610, describe it).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

# CLIP's own, of the three colours (Radford et al. 2021).
MEAN = np.array([0.48145466, 0.4578275, 0.40821073], dtype=np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], dtype=np.float32)
STRICTER = 0.01  # once a concept of special care is near


@dataclass(frozen=True, eq=False)
class Concepts:
    """Embeddings (n, dim) and their thresholds (n,)."""

    embeds: torch.Tensor
    thresholds: torch.Tensor


class SafetyChecker(torch.nn.Module):
    """CLIP's picture encoder with the concepts. `vision` is a transformers CLIPVisionModel; `projection` is (dim,
    width)."""

    def __init__(self, vision: Any, projection: torch.Tensor, concepts: Concepts, special_care: Concepts) -> None:
        super().__init__()
        self.vision = vision
        self.projection = torch.nn.Parameter(projection, requires_grad=False)
        self._concepts = concepts
        self._special_care = special_care

    @torch.inference_mode()
    def flags(self, picture: Image.Image) -> bool:
        """Whether a picture is near one of the concepts."""
        side = int(self.vision.config.image_size)
        pixels = clip_pixels(picture, side).to(self.projection.device, self.projection.dtype)
        return self.flagged(pixels)[0]

    @torch.inference_mode()
    def flagged(self, pixels: torch.Tensor) -> list[bool]:
        """The same for pictures (B, 3, side, side) as CLIP is given them."""
        embeds = functional.linear(self.vision(pixels)[1], self.projection)
        special, near = (_cosines(embeds, one.embeds) for one in (self._special_care, self._concepts))
        return [self._verdict(special[k], near[k]) for k in range(len(embeds))]

    def _verdict(self, special: np.ndarray[Any, Any], near: np.ndarray[Any, Any]) -> bool:
        stricter = 0.0
        for cosine, threshold in zip(special, self._special_care.thresholds.tolist()):
            if round(cosine - threshold + stricter, 3) > 0:
                stricter = STRICTER
        pairs = zip(near, self._concepts.thresholds.tolist())
        return any(round(cosine - threshold + stricter, 3) > 0 for cosine, threshold in pairs)


def clip_pixels(picture: Image.Image, side: int) -> torch.Tensor:
    """A picture as CLIP is given it, (1, 3, side, side): the shorter side brought to `side`, the middle cut out."""
    width, height = picture.size
    short = min(width, height)
    size = (side, int(side * height / width)) if width == short else (int(side * width / height), side)
    resized = picture.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    values = np.asarray(resized.crop((left, top, left + side, top + side)), dtype=np.float32) / 255
    normalised = (values - MEAN) / STD
    return torch.from_numpy(normalised.transpose(2, 0, 1).copy())[None]


def _cosines(embeds: torch.Tensor, concepts: torch.Tensor) -> np.ndarray[Any, Any]:
    product = functional.normalize(embeds) @ functional.normalize(concepts).t()
    return np.asarray(product.cpu().float().numpy())
