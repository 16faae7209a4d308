"""A picture through an upscaler, tile by tile, so that it needs little memory and others get their turn in between.

Tiles overlap: each is given a margin of the picture around it that is cut off again, and next to that a strip in which
one passes into the other. So there is no seam, and within what the network sees the result is the whole picture's.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image

from studio.diffusion.upscaler_networks import weights_per_pixel

# Pixels that are cut off a tile again: all that the network sees where that is little, so that nothing differs. What
# ESRGAN sees beyond FAR counts for nothing: Real-ESRGAN's own program cuts off 10.
NEAR, FAR = 22, 12
RAMP = 6  # pixels in which a tile passes into the next
GRID = 4  # tiles begin on it: networks that make channels of pixels do so four by four at most
OPERATIONS = {"cpu": 3e11, "other": 1e13}  # multiplications of a tile, so that nobody waits longer than for its end
SIDES = (96, 768)  # pixels of a tile, the least and the most


class Upscaler(Protocol):
    """A network of `studio.diffusion.upscaler_networks`."""

    scale: int
    reach: int

    def __call__(self, pictures: torch.Tensor) -> torch.Tensor: ...


@dataclass(frozen=True)
class Span:
    """A tile's place along one side, in pixels of the picture, and the part that each of its pixels has in the result,
    (scale * (stop - start),). The parts of all tiles at one place add up to 1."""

    start: int
    stop: int
    parts: torch.Tensor


def spans(length: int, side: int, margin: int, scale: int) -> list[Span]:
    """The tiles of `side` pixels along `length`; one where it is no longer. `side` is more than what two tiles share,
    two margins and RAMP."""
    overlap = 2 * margin + RAMP
    if length <= side:
        return [Span(0, length, torch.ones(scale * length))]
    count = -(-(length - overlap) // (side - overlap))
    starts = [k * (length - side) // (count - 1) // GRID * GRID for k in range(count)]
    stops = [start + side for start in starts[:-1]] + [length]
    result = []
    for k, (start, stop) in enumerate(zip(starts, stops)):
        places = (torch.arange(scale * start, scale * stop) + 0.5) / scale
        parts = torch.ones(len(places))
        if k > 0:
            parts = parts * _passing(places, start, stops[k - 1])
        if k < count - 1:
            parts = parts * (1 - _passing(places, starts[k + 1], stop))
        result.append(Span(start, stop, parts))
    return result


def _passing(places: torch.Tensor, begin: int, end: int) -> torch.Tensor:
    """0 to 1 in the middle of the strip that two tiles share: where they stand close, a third one begins beside it."""
    return ((places - (begin + end) / 2) / RAMP + 0.5).clamp(0, 1)


def tile_side(network: torch.nn.Module, device: torch.device) -> int:
    """Pixels of a tile for this network: as many as OPERATIONS allows."""
    most = OPERATIONS["cpu" if device.type == "cpu" else "other"] / weights_per_pixel(network)
    return int(min(max(most**0.5, SIDES[0]), SIDES[1])) // GRID * GRID


@torch.inference_mode()
def enlarged(
    network: Any, picture: Image.Image, device: torch.device, side: int | None = None
) -> Generator[float, None, Image.Image]:
    """The picture `network.scale` times as large. Yields after each tile which part of all is done. `side`: pixels of
    a tile, at least the first of SIDES; None: as many as suit the network."""
    margin = network.reach if network.reach <= NEAR else FAR
    side = tile_side(network, device) if side is None else side
    pixels = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)
    scale, (height, width) = network.scale, pixels.shape[1:]
    rows, columns = (spans(length, side, margin, scale) for length in (height, width))
    result = np.empty((scale * height, scale * width, 3), dtype=np.uint8)
    # Of the rows that a row of tiles shares with the next: what is there already.
    carried = torch.zeros(3, 0, scale * width)
    done = 0
    for k, row in enumerate(rows):
        band = torch.zeros(3, scale * (row.stop - row.start), scale * width)
        band[:, : carried.shape[1]] = carried
        for column in columns:
            tile = pixels[:, row.start : row.stop, column.start : column.stop].to(device, torch.float32)[None] / 255
            made = network(tile)[0].float().cpu() * row.parts[:, None] * column.parts
            band[:, :, scale * column.start : scale * column.stop] += made
            done += 1
            yield done / (len(rows) * len(columns))
        finished = scale * ((rows[k + 1].start if k + 1 < len(rows) else height) - row.start)
        result[scale * row.start : scale * row.start + finished] = _bytes(band[:, :finished])
        carried = band[:, finished:]
    return Image.fromarray(result)


def _bytes(values: torch.Tensor) -> np.ndarray[Any, Any]:
    return (values.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
