"""An upscaler's file => its network (studio.diffusion.upscaler_networks): safetensors only, every name and shape
compared before anything is read. Other architectures are read by the package `spandrel` where the user has it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from studio.asked.messages import Message
from studio.checkpoints.inspect import BadCheckpoint, TensorEntry, read_header
from studio.checkpoints.reader import WeightsFile, finite
from studio.checkpoints.upscaler_header import (
    COLOURS,
    SPANDREL,
    UpscalerLayout,
    has_spandrel,
    layout_of,
    needs_spandrel,
    other_architecture,
    weights_of,
)
from studio.diffusion.upscaler_networks import Compact, Rrdb, Span, joined_convolution

Read = Callable[[str], torch.Tensor]  # a tensor by its key in the file
ATTENTION_REACH = 32  # pixels: what the windows of other architectures see well


def load_upscaler(path: Path, device: torch.device) -> torch.nn.Module:
    """Read an upscaler, in float32, whatever its file's precision: SPAN's values leave the range of half precision.
    The module has `scale` and `reach`. Raises BadCheckpoint, naming the file, for what is none."""
    header = read_header(path)
    try:
        layout = layout_of(header)
    except BadCheckpoint as error:
        raise BadCheckpoint(Message("{file}: {reason}", file=path.name, reason=str(error))) from None
    with WeightsFile(path) as file:

        def read(key: str) -> torch.Tensor:
            return finite(path, file.read(header[key], device=device, dtype=torch.float32))

        if layout is None:
            return _by_spandrel(path, header, read)
        network = _empty(layout)
        if layout.network == "span":
            _fill_span(path, network, layout, header, read)
        else:
            _fill(path, network, layout.names, header, read)
    return network.eval().requires_grad_(False)


def _empty(layout: UpscalerLayout) -> torch.nn.Module:
    with torch.device("meta"):
        if layout.network == "compact":
            return Compact(scale=layout.scale, width=layout.width, blocks=layout.blocks)
        if layout.network == "span":
            return Span(scale=layout.scale, width=layout.width, normalized=layout.normalized)
        return Rrdb(
            width=layout.width,
            blocks=layout.blocks,
            growth=layout.growth,
            doublings=layout.doublings,
            unshuffle=layout.unshuffle,
            plus=layout.plus,
        )


def _fill(
    path: Path, network: torch.nn.Module, names: Mapping[str, str], header: Mapping[str, TensorEntry], read: Read
) -> None:
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    _check(path, shapes, {name: header[key].shape for name, key in names.items()})
    for name, key in names.items():
        _put(network, name, read(key))


def _fill_span(
    path: Path, network: torch.nn.Module, layout: UpscalerLayout, header: Mapping[str, TensorEntry], read: Read
) -> None:
    """SPAN's convolutions are kept as the parts that they were trained as, with what they add up to beside them, which
    training programs do not always keep up to date: so the sum is made here."""
    keys = layout.names
    makers = {
        name: part
        for name in network.state_dict()
        if f"{(part := name.rpartition('.')[0])}.weight" not in keys and name.endswith(".weight")
    }
    plain = {name: keys[name] for name in network.state_dict() if name in keys}
    tensors: dict[str, torch.Tensor] = {}
    for part in makers.values():
        weight, bias = _joined(path, part, keys, header, read)
        tensors |= {f"{part}.weight": weight, f"{part}.bias": bias}
    sizes = {name: header[key].shape for name, key in plain.items()}
    _check(
        path,
        {name: tuple(value.shape) for name, value in network.state_dict().items()},
        sizes | {name: tuple(value.shape) for name, value in tensors.items()},
    )
    for name, tensor in tensors.items():
        _put(network, name, tensor)
    for name, key in plain.items():
        _put(network, name, read(key))


def _joined(
    path: Path, part: str, keys: Mapping[str, str], header: Mapping[str, TensorEntry], read: Read
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias of one of SPAN's convolutions, of its parts, or as the file has it where they are left out."""
    pairs = [f"{part}.conv.0", f"{part}.conv.1", f"{part}.conv.2", f"{part}.sk"]
    wanted = [(f"{pair}.weight", f"{pair}.bias") for pair in pairs]
    if all(name in keys for pair in wanted for name in pair):
        weights = [header[keys[weight]].shape for weight, _ in wanted]
        chained = all(len(shape) == 4 for shape in weights) and (
            weights[0][0] == weights[1][1]
            and weights[1][0] == weights[2][1]
            and weights[2][0] == weights[3][0]
            and weights[0][1] == weights[3][1]
            and (weights[0][2:], weights[1][2:], weights[2][2:], weights[3][2:]) == ((1, 1), (3, 3), (1, 1), (1, 1))
            and all(header[keys[bias]].shape == shape[:1] for (_, bias), shape in zip(wanted, weights))
        )
        if not chained:
            raise _strange(path)
        first, middle, last, skip = ((read(keys[weight]), read(keys[bias])) for weight, bias in wanted)
        return joined_convolution(first, middle, last, skip)
    whole = f"{part}.eval_conv.weight", f"{part}.eval_conv.bias"
    if not all(name in keys for name in whole):
        raise _strange(path)
    return read(keys[whole[0]]), read(keys[whole[1]])


def _check(path: Path, ours: Mapping[str, tuple[int, ...]], theirs: Mapping[str, tuple[int, ...]]) -> None:
    if ours != theirs:
        raise _strange(path)


def _strange(path: Path) -> BadCheckpoint:
    return BadCheckpoint(
        Message("{file} is no upscaler that is read here: its tensors have other names or shapes.", file=path.name)
    )


def _put(network: torch.nn.Module, name: str, tensor: torch.Tensor) -> None:
    owner, _, leaf = name.rpartition(".")
    network.get_submodule(owner)._parameters[leaf] = torch.nn.Parameter(tensor, requires_grad=False)


class OtherArchitecture(torch.nn.Module):
    """An upscaler that `spandrel` has built, as the others here: `scale`, `reach`, pictures to pictures."""

    def __init__(self, descriptor: Any) -> None:
        super().__init__()
        self.scale = int(descriptor.scale)
        self.reach = ATTENTION_REACH
        self.model = descriptor.model
        self._call = descriptor  # pads to the sizes that the model can have, and cuts them off again

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self._call(pictures)


def _by_spandrel(path: Path, header: Mapping[str, TensorEntry], read: Read) -> torch.nn.Module:
    """What the other package builds of the tensors that were read here. Raises BadCheckpoint."""
    architecture = other_architecture(header)
    if not has_spandrel():
        raise BadCheckpoint(needs_spandrel(architecture)) if architecture is not None else _strange(path)
    loader = importlib.import_module(SPANDREL).ModelLoader()
    tensors = {name: read(key) for name, key in weights_of(header).items()}
    try:
        descriptor = loader.load_from_state_dict(tensors)
    except Exception as error:  # of many kinds, one for each architecture
        raise BadCheckpoint(
            Message("{file} cannot be read by {package}: {error}.", file=path.name, package=SPANDREL, error=str(error))
        ) from error
    channels = getattr(descriptor, "input_channels", COLOURS), getattr(descriptor, "output_channels", COLOURS)
    if channels != (COLOURS, COLOURS):
        raise BadCheckpoint(
            Message(
                "{file} makes {outputs} channels of {inputs}; the studio's pictures have {colours}.",
                file=path.name,
                inputs=channels[0],
                outputs=channels[1],
                colours=COLOURS,
            )
        )
    device = next(iter(tensors.values())).device
    descriptor.to(device).eval()
    return OtherArchitecture(descriptor).eval().requires_grad_(False)
