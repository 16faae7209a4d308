"""Predicted x0 => small pictures while the lanes run: which decoder, decoding in one batch, JPEG.

Owns the measured costs and the choice `automatic`. Never touches a lane: it is given tensors and decodes copies.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from studio.answered.events import DecoderName, Preview
from studio.asked.fields import PreviewName
from studio.checkpoints.own_vae import OwnVae, with_vae
from studio.diffusion import vae
from studio.diffusion.components import Components
from studio.diffusion.preview import FastFrames

PREVIEW_SECONDS = 0.05  # between two live previews of one image
SHARE = 0.15  # of a step: what `automatic` may cost
QUICK_SHARE = 0.04  # the same of steps that come faster than the live view shows them: nobody sees each, all wait
JPEG_QUALITY = 78
FILMSTRIP_SIDE = 128  # pixels, the longer side
Learn = Callable[[Components, torch.Tensor, torch.Tensor], None]
BEST_FIRST: tuple[DecoderName, ...] = ("full", "tiny", "fast")
_MEMORY = 0.9  # of a running mean
_TRIES = 2  # measurements before `automatic` trusts a decoder's cost: the first pays for set-up


class PreviewDecoders:
    """What one checkpoint decodes previews with, what each has cost so far per frame of a size, and the choice among
    them."""

    def __init__(self, components: Components, learn: Learn = lambda components, latents, pixels: None) -> None:
        """`learn` is told what the whole VAE has made of which latents: a fitted preview grows better by it."""
        self._components = components
        self._learn = learn
        self._means: dict[Hashable, float] = {}  # by (decoder, size), and of a step by ("step", size)
        self._measurements: dict[Hashable, int] = {}
        self._savings: dict[Hashable, float] = {}
        self._frames: tuple[Any, FastFrames] | None = None  # of the fast preview beside it

    @property
    def available(self) -> tuple[DecoderName, ...]:
        """Those that there are now, best first: a fast preview may be fitted while lanes run."""
        parts = self._components
        has = {"full": True, "tiny": parts.tiny_vae is not None, "fast": parts.fast_preview is not None}
        return tuple(decoder for decoder in BEST_FIRST if has[decoder])

    def record(self, decoder: DecoderName, size: Hashable, seconds: float) -> None:
        """Take a measurement: seconds one frame of that size has cost, JPEG included."""
        self._keep((decoder, size), seconds)

    def record_step(self, size: Hashable, seconds: float) -> None:
        """Take a measurement: seconds one step of one image of that size has cost, its share of a shared call."""
        self._keep(("step", size), seconds)

    def seconds(self, decoder: DecoderName, size: Hashable) -> float | None:
        """Running mean of one frame's cost, None while unknown."""
        return self._means.get((decoder, size))

    def choose(self, choice: PreviewName, size: Hashable) -> DecoderName | None:
        """The decoder for the next frame of an image of that size; None: no frame this time.

        A decoder asked for by name is taken whatever it costs. `automatic`, and one that this checkpoint lacks, is the
        best one known to cost at most 15 % of the step (4 % where steps are shorter than PREVIEW_SECONDS), else the
        cheapest. A tiny decoder is tried for two frames of each size, since nothing else tells what it costs on this
        machine (the VAE is measured when a picture ends). Where the cheapest is the whole VAE, there is a frame
        whenever that share of the steps since the last one has paid for it.
        """
        if choice != "automatic" and choice in self.available:
            return choice
        most_seconds = allowed_seconds(self._means.get(("step", size), 0.0))
        available = self.available
        for decoder in available:
            cost, tries = self.seconds(decoder, size), self._measurements.get((decoder, size), 0)
            if cost is not None and cost <= most_seconds and tries >= _TRIES:
                return decoder
            if decoder == "tiny" and tries < _TRIES and most_seconds > 0:
                return decoder
        if available[-1] != "full":
            return available[-1]
        self._savings[size] = self._savings.get(size, 0.0) + most_seconds
        if self._savings[size] < (self.seconds("full", size) or 0.0):
            return None
        self._savings[size] = 0.0
        return "full"

    def _keep(self, what: Hashable, seconds: float) -> None:
        times = self._measurements.get(what, 0)
        # The first measurements are dropped, not averaged in: a mean would remember their set-up for dozens of frames.
        is_measured = times >= _TRIES
        self._means[what] = _MEMORY * self._means[what] + (1 - _MEMORY) * seconds if is_measured else seconds
        self._measurements[what] = times + 1

    def decode(
        self, decoder: DecoderName, denoised: torch.Tensor, own_vae: OwnVae | None = None
    ) -> np.ndarray[Any, Any]:
        """Predicted x0 (n, C, h, w) => uint8 pictures (n, H, W, 3) by one decoder, in one call. `own_vae`: of a run
        that has one; the quick decoders are near enough for every VAE of these latents."""
        if decoder == "fast":
            return self._fast_frames()(denoised)
        if decoder == "tiny":
            return vae.to_uint8(vae.decode_tiny(self._components, denoised))
        components = with_vae(self._components, own_vae)
        pixels = vae.decode(components, denoised)
        self._learn(components, denoised, pixels)
        return vae.to_uint8(pixels)

    def _fast_frames(self) -> FastFrames:
        fit = self._components.fast_preview
        assert fit is not None
        if self._frames is None or self._frames[0] is not fit:  # a fit grows better while lanes run
            weight, bias = fit
            device = self._components.device
            self._frames = fit, FastFrames(weight.to(device), bias.to(device))
        return self._frames[1]


def allowed_seconds(step: float) -> float:
    """What a frame may cost that `automatic` takes, where a step of one image takes so many seconds."""
    return step * (SHARE if step >= PREVIEW_SECONDS else QUICK_SHARE)


@dataclass(frozen=True)
class Frame:
    """One decoded predicted x0, not yet encoded."""

    pixels: np.ndarray[Any, Any]  # uint8 (H, W, 3)
    decoder: DecoderName

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.pixels.shape[1], self.pixels.shape[0]

    def preview(self) -> Preview:
        """At the picture's full size, for the live view."""
        width, height = self.size
        return Preview(jpeg=_jpeg(Image.fromarray(self.pixels)), width=width, height=height, decoder=self.decoder)

    def small(self) -> bytes:
        """A JPEG of at most FILMSTRIP_SIDE pixels a side, for the filmstrip."""
        picture = Image.fromarray(self.pixels)
        if not is_small(self.size):
            picture.thumbnail((FILMSTRIP_SIDE, FILMSTRIP_SIDE), Image.Resampling.BOX, reducing_gap=None)
        return _jpeg(picture)


def is_small(size: tuple[int, int]) -> bool:
    """Whether the live view's frame of that size can stand in the filmstrip as it is."""
    return max(size) <= FILMSTRIP_SIDE


def _jpeg(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()
