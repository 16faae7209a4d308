"""The upscalers as they were published, written apart from the studio's for comparison: ESRGAN's sequence of 2018, with
its numbered names, and its later form (BasicSR), SRVGGNetCompact, and SPAN with the parts that its convolutions are
trained as."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as functional
from torch import nn


def conv_block(inputs: int, outputs: int, *, act: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, 3, 1, 1)]
    return nn.Sequential(*layers, nn.LeakyReLU(0.2)) if act else nn.Sequential(*layers)


class OldDense(nn.Module):
    def __init__(self, nc: int, gc: int, plus: bool) -> None:
        super().__init__()
        if plus:
            self.conv1x1 = nn.Conv2d(nc, gc, 1, bias=False)
        self.plus = plus
        for k in range(4):
            setattr(self, f"conv{k + 1}", conv_block(nc + k * gc, gc))
        self.conv5 = conv_block(nc + 4 * gc, nc, act=False)

    def forward(self, x: Any) -> Any:
        seen: list[Any] = [x]
        for k in range(4):
            value = getattr(self, f"conv{k + 1}")(torch.cat(seen, 1))
            if self.plus and k == 1:
                value = value + self.conv1x1(x)
            if self.plus and k == 3:
                value = value + seen[2]
            seen.append(value)
        return self.conv5(torch.cat(seen, 1)).mul(0.2) + x


class OldGroup(nn.Module):
    def __init__(self, nc: int, gc: int, plus: bool) -> None:
        super().__init__()
        self.RDB1, self.RDB2, self.RDB3 = (OldDense(nc, gc, plus) for _ in range(3))

    def forward(self, x: Any) -> Any:
        return self.RDB3(self.RDB2(self.RDB1(x))).mul(0.2) + x


class Shortcut(nn.Module):
    def __init__(self, sub: nn.Module) -> None:
        super().__init__()
        self.sub = sub

    def forward(self, x: Any) -> Any:
        return x + self.sub(x)


class OldEsrgan(nn.Module):
    """The sequence of 2018: "model.1.sub.0.RDB1.conv1.0.weight"."""

    def __init__(
        self, nf: int = 8, nb: int = 2, gc: int = 4, ups: int = 2, plus: bool = False, colours: int = 3
    ) -> None:
        super().__init__()
        trunk = [OldGroup(nf, gc, plus) for _ in range(nb)] + [nn.Conv2d(nf, nf, 3, 1, 1)]
        layers: list[nn.Module] = [nn.Conv2d(colours, nf, 3, 1, 1), Shortcut(nn.Sequential(*trunk))]
        for _ in range(ups):
            layers += [nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(nf, nf, 3, 1, 1), nn.LeakyReLU(0.2)]
        layers += [nn.Conv2d(nf, nf, 3, 1, 1), nn.LeakyReLU(0.2), nn.Conv2d(nf, colours, 3, 1, 1)]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Any) -> Any:
        return self.model(x)


class NewDense(nn.Module):
    def __init__(self, nf: int, gc: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(nf, gc, 3, 1, 1)
        self.conv2 = nn.Conv2d(nf + gc, gc, 3, 1, 1)
        self.conv3 = nn.Conv2d(nf + 2 * gc, gc, 3, 1, 1)
        self.conv4 = nn.Conv2d(nf + 3 * gc, gc, 3, 1, 1)
        self.conv5 = nn.Conv2d(nf + 4 * gc, nf, 3, 1, 1)
        self.lrelu = nn.LeakyReLU(0.2)

    def forward(self, x: Any) -> Any:
        x1 = self.lrelu(self.conv1(x))
        x2 = self.lrelu(self.conv2(torch.cat((x, x1), 1)))
        x3 = self.lrelu(self.conv3(torch.cat((x, x1, x2), 1)))
        x4 = self.lrelu(self.conv4(torch.cat((x, x1, x2, x3), 1)))
        x5 = self.conv5(torch.cat((x, x1, x2, x3, x4), 1))
        return x5 * 0.2 + x


class NewGroup(nn.Module):
    def __init__(self, nf: int, gc: int) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = NewDense(nf, gc), NewDense(nf, gc), NewDense(nf, gc)

    def forward(self, x: Any) -> Any:
        return self.rdb3(self.rdb2(self.rdb1(x))) * 0.2 + x


class NewEsrgan(nn.Module):
    """BasicSR's RRDBNet, of Real-ESRGAN: scale 4, and 2 and 1 by unshuffling first."""

    def __init__(self, scale: int = 4, nf: int = 8, nb: int = 2, gc: int = 4) -> None:
        super().__init__()
        self.scale = scale
        self.conv_first = nn.Conv2d(3 * {4: 1, 2: 4, 1: 16}[scale], nf, 3, 1, 1)
        self.body = nn.Sequential(*(NewGroup(nf, gc) for _ in range(nb)))
        self.conv_body = nn.Conv2d(nf, nf, 3, 1, 1)
        self.conv_up1 = nn.Conv2d(nf, nf, 3, 1, 1)
        self.conv_up2 = nn.Conv2d(nf, nf, 3, 1, 1)
        self.conv_hr = nn.Conv2d(nf, nf, 3, 1, 1)
        self.conv_last = nn.Conv2d(nf, 3, 3, 1, 1)
        self.lrelu = nn.LeakyReLU(0.2)

    def forward(self, x: Any) -> Any:
        feat = x if self.scale == 4 else functional.pixel_unshuffle(x, 4 // self.scale)
        feat = self.conv_first(feat)
        feat = feat + self.conv_body(self.body(feat))
        feat = self.lrelu(self.conv_up1(functional.interpolate(feat, scale_factor=2, mode="nearest")))
        feat = self.lrelu(self.conv_up2(functional.interpolate(feat, scale_factor=2, mode="nearest")))
        return self.conv_last(self.lrelu(self.conv_hr(feat)))


def middle_names(tensors: dict[str, Any]) -> dict[str, Any]:
    """The weights of `NewEsrgan` under the names of the years between: RRDB_trunk, upconv1, HRconv."""
    renamed = {}
    for key, value in tensors.items():
        key = key.replace("conv_body", "trunk_conv").replace("body.", "RRDB_trunk.").replace("rdb", "RDB")
        renamed[key.replace("conv_up", "upconv").replace("conv_hr", "HRconv")] = value
    return renamed


class PublishedCompact(nn.Module):
    def __init__(self, scale: int = 4, nf: int = 8, nc: int = 3, colours: int = 3) -> None:
        super().__init__()
        self.upscale = scale
        self.body = nn.ModuleList([nn.Conv2d(colours, nf, 3, 1, 1), nn.PReLU(num_parameters=nf)])
        for _ in range(nc):
            self.body.append(nn.Conv2d(nf, nf, 3, 1, 1))
            self.body.append(nn.PReLU(num_parameters=nf))
        self.body.append(nn.Conv2d(nf, colours * scale * scale, 3, 1, 1))
        self.upsampler = nn.PixelShuffle(scale)

    def forward(self, x: Any) -> Any:
        out = x
        for layer in self.body:
            out = layer(out)
        return self.upsampler(out) + functional.interpolate(x, scale_factor=self.upscale, mode="nearest")


class Conv3XC(nn.Module):
    """Computed here as it is trained: the padded picture through three convolutions, and one beside them."""

    def __init__(self, c_in: int, c_out: int, gain: int = 2) -> None:
        super().__init__()
        self.sk = nn.Conv2d(c_in, c_out, 1)
        self.conv = nn.Sequential(
            nn.Conv2d(c_in, c_in * gain, 1), nn.Conv2d(c_in * gain, c_out * gain, 3), nn.Conv2d(c_out * gain, c_out, 1)
        )
        self.eval_conv = nn.Conv2d(c_in, c_out, 3, padding=1)  # what a training program left in the file: out of date

    def forward(self, x: Any) -> Any:
        return self.conv(functional.pad(x, (1, 1, 1, 1), "constant", 0)) + self.sk(x)


class Spab(nn.Module):
    def __init__(self, nf: int) -> None:
        super().__init__()
        self.c1_r, self.c2_r, self.c3_r = Conv3XC(nf, nf), Conv3XC(nf, nf), Conv3XC(nf, nf)
        self.act1 = nn.SiLU(inplace=True)

    def forward(self, x: Any) -> Any:
        out1 = self.c1_r(x)
        out1_act = self.act1(out1)  # in place: what is returned as out1 below is this
        out2_act = self.act1(self.c2_r(out1_act))
        out3 = self.c3_r(out2_act)
        return (out3 + x) * (torch.sigmoid(out3) - 0.5), out1


class PublishedSpan(nn.Module):
    def __init__(self, scale: int = 4, nf: int = 8, norm: bool = True) -> None:
        super().__init__()
        self.norm = norm
        if not norm:
            self.register_buffer("no_norm", torch.zeros(1))
        self.conv_1 = Conv3XC(3, nf)
        for k in range(1, 7):
            setattr(self, f"block_{k}", Spab(nf))
        self.conv_cat = nn.Conv2d(nf * 4, nf, 1)
        self.conv_2 = Conv3XC(nf, nf)
        self.upsampler = nn.Sequential(nn.Conv2d(nf, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))

    def forward(self, x: Any) -> Any:
        if self.norm:
            x = (x - torch.tensor([0.4488, 0.4371, 0.4040]).view(1, 3, 1, 1)) * 255.0
        feature = self.conv_1(x)
        b1, _ = self.block_1(feature)
        b2, _ = self.block_2(b1)
        b3, _ = self.block_3(b2)
        b4, _ = self.block_4(b3)
        b5, _ = self.block_5(b4)
        b6, b5_2 = self.block_6(b5)
        return self.upsampler(self.conv_cat(torch.cat([feature, self.conv_2(b6), b1, b5_2], 1)))
