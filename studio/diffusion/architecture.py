"""The loaded model as a list of its blocks: their kind and parameters, and their shapes and times in one pass.

Hooks exist only inside a `watch_blocks` block.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D

from studio.diffusion.components import Components


@dataclass
class Block:
    """One block. `input` and `output` are shapes without the batch, `milliseconds` is the time of its pass; all are
    None until it has run.

    `part` is a text encoder's, "unet", "encoder" or "decoder"; `place` "in", "time", "down", "mid",
    "up", "out" or "whole".
    """

    name: str
    part: str
    place: str
    kind: str
    parameters: int
    resnets: int = 0
    self_attentions: int = 0
    cross_attentions: int = 0
    input: list[int] | None = None
    output: list[int] | None = None
    milliseconds: float | None = None
    _start: float = field(default=0.0, repr=False)


_PLACES = {
    "conv_in": "in",
    "post_quant_conv": "in",
    "time_embedding": "time",
    "down_blocks": "down",
    "mid_block": "mid",
    "up_blocks": "up",
    "conv_out": "out",
    "quant_conv": "out",
}


def blocks_of(components: Components) -> dict[str, tuple[Block, torch.nn.Module]]:
    """Every block of the checkpoint with its module, by name. Within a part they follow the data flow."""
    vae = components.vae
    modules: list[tuple[str, str, str, Any]] = [
        (one.part, one.part, "whole", one.module) for one in components.text_encoders
    ]
    parents = [("unet", components.unet), ("encoder", vae.encoder), ("decoder", vae.decoder)]
    for part, parent in ((part, parent) for part, parent in parents if parent is not None):
        before = [("post_quant_conv", vae)] if part == "decoder" else []
        after = [("quant_conv", vae)] if part == "encoder" else []
        names = ["conv_in", "time_embedding", "down_blocks", "mid_block", "up_blocks", "conv_out"]
        if part == "unet":
            names = ["time_embedding", "conv_in", "down_blocks", "mid_block", "up_blocks", "conv_out"]
        for name, owner in [*before, *((n, parent) for n in names), *after]:
            blocks: Any = getattr(owner, name, None)
            if isinstance(blocks, torch.nn.ModuleList):
                modules += [(f"{part}.{name}.{i}", part, _PLACES[name], module) for i, module in enumerate(blocks)]
            elif blocks is not None:
                modules.append((f"{part}.{name}", part, _PLACES[name], blocks))
    return {name: (_block(name, part, place, module), module) for name, part, place, module in modules}


def _block(name: str, part: str, place: str, module: torch.nn.Module) -> Block:
    inside = list(module.named_modules())
    attentions = [path.rpartition(".")[2] for path, m in inside if isinstance(m, Attention)]
    return Block(
        name=name,
        part=part,
        place=place,
        kind=type(module).__name__,
        parameters=parameters(module),
        resnets=sum(isinstance(m, ResnetBlock2D) for _, m in inside),
        self_attentions=sum(own != "attn2" for own in attentions),
        cross_attentions=sum(own == "attn2" for own in attentions),
    )


def parameters(module: torch.nn.Module) -> int:
    """The number of its parameters."""
    return sum(p.numel() for p in module.parameters())


@contextmanager
def watch_blocks(
    blocks: Mapping[str, tuple[Block, torch.nn.Module]], synchronize: Callable[[], None]
) -> Iterator[None]:
    """Fill in shapes and times of the blocks that run inside; `synchronize` waits for the device."""
    handles: list[Any] = []

    def begin(block: Block) -> Any:
        def hook(_: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
            synchronize()
            block.input = _shape([*arguments, *keywords.values()])
            block._start = time.perf_counter()

        return hook

    def end(block: Block) -> Any:
        def hook(_: Any, __: Any, output: Any) -> None:
            synchronize()
            block.milliseconds = round((time.perf_counter() - block._start) * 1000, 4)
            block.output = _shape(output if isinstance(output, (tuple, list)) else [output])

        return hook

    try:
        for block, module in blocks.values():
            handles.append(module.register_forward_pre_hook(begin(block), with_kwargs=True))
            handles.append(module.register_forward_hook(end(block)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _shape(values: list[Any] | tuple[Any, ...]) -> list[int] | None:
    """Of the first tensor; transformers and diffusers also answer dictionaries and dataclasses of tensors."""
    for value in values:
        if isinstance(value, dict):
            value = next(iter(value.values()), None)
        if isinstance(value, torch.Tensor):
            return list(value.shape[1:])
    return None
