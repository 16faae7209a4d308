"""The network of the built-in upscaler: Real-ESRGAN's compact one, with its names and order of layers.

SRVGGNetCompact of Wang et al. 2021 (Real-ESRGAN): convolutions with PReLU at the small size, pixel shuffle, and the
input, enlarged to nearest pixels, added to the result.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SCALE = 4


class Compact(nn.Module):
    """RGB in [0, 1], (B, 3, H, W) => (B, 3, 4 H, 4 W). `depth`: convolutions between the first and the last."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1), nn.PReLU(width)]
        for _ in range(depth):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.PReLU(width)]
        layers.append(nn.Conv2d(width, 3 * SCALE * SCALE, 3, padding=1))
        self.body = nn.ModuleList(layers)
        self._begin()

    @torch.no_grad()
    def _begin(self) -> None:
        """First weights that hand the picture on through all layers, and add nothing to the nearest pixels.

        With torch's own 18 layers shrink it to nothing, and only the last bias learns.
        """
        first, *middle, last = [layer for layer in self.body if isinstance(layer, nn.Conv2d)]
        nn.init.kaiming_normal_(first.weight, a=0.25)  # PReLU's first slope
        half = len(first.weight) // 2
        first.weight[half : 2 * half] = -first.weight[:half]  # each value with both signs: PReLU keeps one of them
        for layer in middle:
            nn.init.kaiming_normal_(layer.weight, a=0.25)
            layer.weight.mul_(0.1)
            diagonal = torch.arange(len(layer.weight))
            layer.weight[diagonal, diagonal, 1, 1] += 1.0
        nn.init.zeros_(last.weight)
        for layer in (first, *middle, last):
            nn.init.zeros_(layer.bias)

    def forward(self, pictures: Tensor) -> Tensor:
        values = pictures
        for layer in self.body:
            values = layer(values)
        return F.pixel_shuffle(values, SCALE) + F.interpolate(pictures, scale_factor=SCALE, mode="nearest")
