"""The networks of learned upscalers: ESRGAN's RRDB, Real-ESRGAN's compact one, SPAN.

Each takes an RGB picture in [0, 1], (B, 3, H, W), and gives one `scale` times as large, (B, 3, scale H, scale W), which
may leave [0, 1] a little. `reach`: how many pixels of the input around a place can change the result there. The names
of the weights are those of the newest published files.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

Layer = tuple[Tensor, Tensor]  # the weight and the bias of a convolution

RRDB_SLOPE = 0.2  # of the leaky ReLU
RESIDUAL = 0.2  # of a dense block's result, and of a group's, that is added to its input
SPAN_BLOCKS = 6
SPAN_MEAN = (0.4488, 0.4371, 0.4040)  # of the colours of DIV2K
SPAN_RANGE = 255.0


def _conv(inputs: int, outputs: int, *, size: int = 3, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=bias)


class Compact(nn.Module):
    """SRVGGNetCompact (Real-ESRGAN, Wang et al. 2021): `blocks` + 2 convolutions at the small size with PReLU, pixel
    shuffle, and the input, enlarged to nearest pixels, added. One network has 16 or 32 blocks of 64 channels."""

    def __init__(self, *, scale: int, width: int, blocks: int) -> None:
        super().__init__()
        self.scale = scale
        self.reach = blocks + 2
        layers: list[nn.Module] = [_conv(3, width), nn.PReLU(width)]
        for _ in range(blocks):
            layers += [_conv(width, width), nn.PReLU(width)]
        self.body = nn.ModuleList([*layers, _conv(width, 3 * scale**2)])

    def forward(self, pictures: Tensor) -> Tensor:
        values = pictures
        for layer in self.body:
            values = layer(values)
        return functional.pixel_shuffle(values, self.scale) + functional.interpolate(
            pictures, scale_factor=self.scale, mode="nearest"
        )


class DenseBlock(nn.Module):
    """Five convolutions, each of which sees the results of all before it. `plus`: as in ESRGAN+, where every second
    result is added to the one two before it."""

    def __init__(self, width: int, growth: int, plus: bool) -> None:
        super().__init__()
        self.conv1x1 = _conv(width, growth, size=1, bias=False) if plus else None
        self.conv1 = _conv(width, growth)
        self.conv2 = _conv(width + growth, growth)
        self.conv3 = _conv(width + 2 * growth, growth)
        self.conv4 = _conv(width + 3 * growth, growth)
        self.conv5 = _conv(width + 4 * growth, width)

    def forward(self, x: Tensor) -> Tensor:
        x1 = _leaky(self.conv1(x))
        x2 = _leaky(self.conv2(torch.cat((x, x1), 1)))
        if self.conv1x1 is not None:
            x2 = x2 + self.conv1x1(x)
        x3 = _leaky(self.conv3(torch.cat((x, x1, x2), 1)))
        x4 = _leaky(self.conv4(torch.cat((x, x1, x2, x3), 1)))
        if self.conv1x1 is not None:
            x4 = x4 + x2
        return self.conv5(torch.cat((x, x1, x2, x3, x4), 1)) * RESIDUAL + x


class DenseGroup(nn.Module):
    """Three dense blocks: a residual-in-residual dense block (RRDB)."""

    def __init__(self, width: int, growth: int, plus: bool) -> None:
        super().__init__()
        self.rdb1 = DenseBlock(width, growth, plus)
        self.rdb2 = DenseBlock(width, growth, plus)
        self.rdb3 = DenseBlock(width, growth, plus)

    def forward(self, x: Tensor) -> Tensor:
        return self.rdb3(self.rdb2(self.rdb1(x))) * RESIDUAL + x


class Rrdb(nn.Module):
    """ESRGAN's generator (Wang et al. 2018) and Real-ESRGAN's: `blocks` groups at the small size, then `doublings`
    times nearest pixels and a convolution. `unshuffle`: so many pixels a side become channels before, which is how the
    same network enlarges by less. ESRGAN has 23 blocks of 64 channels, two doublings and no unshuffling."""

    def __init__(
        self, *, width: int, blocks: int, growth: int, doublings: int, unshuffle: int = 1, plus: bool = False
    ) -> None:
        super().__init__()
        self.scale = 2**doublings // unshuffle
        # 15 convolutions a group, three more at this size; those after a doubling see half, a quarter, ... of a pixel.
        self.reach = (15 * blocks + 5) * unshuffle
        self._unshuffle = unshuffle
        self._doublings = doublings
        self.conv_first = _conv(3 * unshuffle**2, width)
        self.body = nn.ModuleList([DenseGroup(width, growth, plus) for _ in range(blocks)])
        self.conv_body = _conv(width, width)
        for number in range(1, doublings + 1):
            self.add_module(f"conv_up{number}", _conv(width, width))
        self.conv_hr = _conv(width, width)
        self.conv_last = _conv(width, 3)

    def forward(self, pictures: Tensor) -> Tensor:
        height, width = pictures.shape[-2:]
        right, below = -width % self._unshuffle, -height % self._unshuffle
        whole = functional.pad(pictures, (0, right, 0, below), mode="replicate") if right or below else pictures
        first = self.conv_first(functional.pixel_unshuffle(whole, self._unshuffle))
        values = first
        for group in self.body:
            values = group(values)
        values = first + self.conv_body(values)
        for number in range(1, self._doublings + 1):
            enlarged = functional.interpolate(values, scale_factor=2, mode="nearest")
            values = _leaky(self.get_submodule(f"conv_up{number}")(enlarged))
        return self.conv_last(_leaky(self.conv_hr(values)))[..., : height * self.scale, : width * self.scale]


class SpanBlock(nn.Module):
    """Three convolutions whose result, through an odd function of itself, is its own attention."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.c1_r = _conv(width, width)
        self.c2_r = _conv(width, width)
        self.c3_r = _conv(width, width)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The result, and the first convolution's, which the network takes of its last block: after its activation,
        since the published one overwrites it."""
        first = functional.silu(self.c1_r(x))
        third = self.c3_r(functional.silu(self.c2_r(first)))
        return (third + x) * (torch.sigmoid(third) - 0.5), first


class Span(nn.Module):
    """SPAN (Wan et al. 2024, "Swift Parameter-free Attention Network"). Its convolutions, trained as sums of several,
    are the ones they add up to. `normalized`: the mean of the colours is taken off, and they are in 0..255."""

    def __init__(self, *, scale: int, width: int, normalized: bool = True) -> None:
        super().__init__()
        self.scale = scale
        self.reach = 3 * SPAN_BLOCKS + 3
        self._normalized = normalized
        self.conv_1 = _conv(3, width)
        for number in range(1, SPAN_BLOCKS + 1):
            self.add_module(f"block_{number}", SpanBlock(width))
        self.conv_cat = _conv(4 * width, width, size=1)
        self.conv_2 = _conv(width, width)
        self.upsampler = nn.ModuleList([_conv(width, 3 * scale**2)])

    def forward(self, pictures: Tensor) -> Tensor:
        if self._normalized:
            mean = torch.tensor(SPAN_MEAN, dtype=pictures.dtype, device=pictures.device)[:, None, None]
            pictures = (pictures - mean) * SPAN_RANGE
        first = values = self.conv_1(pictures)
        after_one = within_last = first
        for number in range(1, SPAN_BLOCKS + 1):
            values, within_last = self.get_submodule(f"block_{number}")(values)
            after_one = values if number == 1 else after_one
        joined = self.conv_cat(torch.cat((first, self.conv_2(values), after_one, within_last), 1))
        return functional.pixel_shuffle(self.upsampler[0](joined), self.scale)


def joined_convolution(first: Layer, middle: Layer, last: Layer, skip: Layer) -> Layer:
    """Weight and bias of the 3 x 3 convolution that SPAN's sum of two paths is: 1 x 1, 3 x 3 and 1 x 1 in a row, and a
    1 x 1 beside them. Each argument is a weight (outputs, inputs, h, w) with its bias."""
    (w1, b1), (w2, b2), (w3, b3), (side, side_bias) = first, middle, last, skip
    inner = torch.einsum("omhw,mi->oihw", w2, w1[:, :, 0, 0])
    weight = torch.einsum("om,mihw->oihw", w3[:, :, 0, 0], inner)
    # The published one pads the picture, not what the first convolution gives: so the first bias reaches the edges too.
    bias = w3[:, :, 0, 0] @ (torch.einsum("omhw,m->o", w2, b1) + b2) + b3
    return weight + functional.pad(side, (1, 1, 1, 1)), bias + side_bias


def _leaky(values: Tensor) -> Tensor:
    return functional.leaky_relu(values, RRDB_SLOPE)


def weights_per_pixel(network: nn.Module) -> int:
    """About how many multiplications a pixel of the input takes."""
    return max(1, sum(math.prod(parameter.shape) for parameter in network.parameters()))
