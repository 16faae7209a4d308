"""Where the U-Net looks: attention weights of one call, observed from beside. Cross-attention (the places of the
picture at the tokens of the prompt), or self-attention (at each other).

Hooks keep what `to_q` and `to_k` gave and compute softmax(q k^T * scale) a second time; the model's own way to its
answer stays as it is, so the answer is the same to the last bit, whatever attention processor is set. There are no
hooks outside of an `observed` block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers.models.attention_processor import Attention

_PLACES = {"down_blocks": "down", "mid_block": "mid", "up_blocks": "up"}


CROSS, SELF = "attn2", "attn1"  # how diffusers calls the two in a transformer block
FINE_PLACES = 32 * 32  # layers of more places take most of the time, and self-attention of them most of the memory


@dataclass(frozen=True)
class LayerShape:
    """One attention layer: queries (height * width, heads * head_dim), keys and values (tokens, the same). In
    self-attention the tokens are the places themselves."""

    name: str
    place: str  # "down", "mid" or "up"
    height: int
    width: int
    tokens: int
    heads: int
    head_dim: int
    text_width: int  # of a token's embedding, before `to_k` and `to_v`


@dataclass
class AttentionMaps:
    """What an `observed` block has seen: the mean over heads and layers of each group, and every layer's shape.

    `groups` maps (place, height, width) to weights (tokens, height, width) float32: for each pixel a probability over
    all tokens. One image: that of the `row` which was observed.
    """

    groups: dict[tuple[str, int, int], torch.Tensor] = field(default_factory=dict)
    layers: list[LayerShape] = field(default_factory=list)
    _layers_of: dict[tuple[str, int, int], int] = field(default_factory=dict)

    def add(self, layer: LayerShape, weights: torch.Tensor) -> None:
        """Take one layer's weights (height * width, tokens), mean over heads, into its group."""
        group = layer.place, layer.height, layer.width
        maps = weights.T.reshape(-1, layer.height, layer.width)
        seen = self._layers_of.get(group, 0)
        self.groups[group] = maps if not seen else self.groups[group] + (maps - self.groups[group]) / (seen + 1)
        self._layers_of[group] = seen + 1
        self.layers.append(layer)


@dataclass
class HeadMaps:
    """What one layer's heads have seen: `weights` (heads, tokens, height, width) float32; None before its call. `rms`
    is that of the layer's Q, K and V, `scale` what q k is multiplied by before the softmax."""

    weights: torch.Tensor | None = None
    layer: LayerShape | None = None
    rms: dict[str, float] = field(default_factory=dict)
    scale: float = 1.0


Take = Callable[[LayerShape, torch.Tensor], None]  # a layer and its weights (heads, height * width, tokens) float32


@contextmanager
def observed(
    unet: torch.nn.Module,
    row: int,
    latent_size: tuple[int, int],
    *,
    which: str = CROSS,
    most_places: int | None = None,
) -> Iterator[AttentionMaps]:
    """Observe the attention of the U-Net calls inside, for one row of the call.

    `row` is that of the prompt (with guidance the negative prompt's row comes first). `latent_size` is (h, w) of the
    latents: a layer's own height and width follow from it and its number of queries, never from a square root. Layers
    of more than `most_places` places are left alone.
    """
    maps = AttentionMaps()

    def take(layer: LayerShape, weights: torch.Tensor) -> None:
        maps.add(layer, weights.mean(0))

    watched = {name: module for name, module in attentions(unet) if name.endswith(which)}
    with _watching(watched, row, latent_size, most_places, take):
        yield maps


@contextmanager
def observed_heads(unet: torch.nn.Module, name: str, row: int, latent_size: tuple[int, int]) -> Iterator[HeadMaps]:
    """Observe one layer head by head, in the U-Net call inside. Raises KeyError for a layer that is not there."""
    module = dict(attentions(unet))[name]
    maps = HeadMaps(scale=float(module.scale))

    def measure(which: str) -> Any:
        def hook(_: Any, inputs: Any, output: torch.Tensor) -> None:
            maps.rms[which] = float(output[row].detach().float().square().mean().sqrt())

        return hook

    def take(layer: LayerShape, weights: torch.Tensor) -> None:
        maps.layer = layer
        maps.weights = weights.transpose(1, 2).unflatten(2, (layer.height, layer.width))

    hooks = [getattr(module, f"to_{which}").register_forward_hook(measure(which)) for which in "qkv"]
    try:
        with _watching({name: module}, row, latent_size, None, take):
            yield maps
    finally:
        for hook in hooks:
            hook.remove()


def attentions(unet: torch.nn.Module) -> Iterator[tuple[str, Attention]]:
    """Every attention layer by its name, in the order of the modules."""
    return ((name, module) for name, module in unet.named_modules() if isinstance(module, Attention))


@contextmanager
def _watching(
    modules: Mapping[str, Attention], row: int, latent_size: tuple[int, int], most_places: int | None, take: Take
) -> Iterator[None]:
    handles: list[Any] = []
    try:
        for name, module in modules.items():
            handles += _watch(name, module, row, latent_size, most_places, take)
        yield
    finally:
        for handle in handles:
            handle.remove()


def _watch(
    name: str, module: Attention, row: int, latent_size: tuple[int, int], most_places: int | None, take: Take
) -> Sequence[Any]:
    kept: dict[str, torch.Tensor] = {}

    def keep(which: str) -> Any:
        def hook(_: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            kept[which] = output[row].detach()
            if which == "k":
                kept["text"] = inputs[0]

        return hook

    def finish(*_: Any) -> None:
        queries, keys, text = kept.pop("q"), kept.pop("k"), kept.pop("text")
        if most_places is not None and len(queries) > most_places:
            return
        height, width = grid_of(queries.shape[0], latent_size)
        layer = LayerShape(
            name=name,
            place=_PLACES.get(name.partition(".")[0], "other"),
            height=height,
            width=width,
            tokens=keys.shape[0],
            heads=module.heads,
            head_dim=queries.shape[1] // module.heads,
            text_width=text.shape[-1],
        )
        take(layer, attention_weights(queries, keys, module.heads, module.scale))

    return (
        module.to_q.register_forward_hook(keep("q")),
        module.to_k.register_forward_hook(keep("k")),
        module.register_forward_hook(finish),
    )


def attention_weights(queries: torch.Tensor, keys: torch.Tensor, heads: int, scale: float) -> torch.Tensor:
    """softmax(q k^T * scale), float32 (heads, N, tokens); `queries` (N, inner), `keys` (tokens, inner)."""
    q = queries.float().unflatten(1, (heads, -1)).transpose(0, 1)  # (heads, N, head_dim)
    k = keys.float().unflatten(1, (heads, -1)).transpose(0, 1)
    return torch.baddbmm(torch.zeros((), device=q.device), q, k.transpose(1, 2), beta=0, alpha=scale).softmax(-1)


def grid_of(queries: int, latent_size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of a layer with so many queries: the latents' size halved, rounding up, until it fits."""
    height, width = latent_size
    while height * width > queries:
        height, width = -(-height // 2), -(-width // 2)
    if height * width != queries:
        raise ValueError(f"no level of latents {latent_size[0]}x{latent_size[1]} has {queries} pixels")
    return height, width


# ----------------------------------------------------------------------------------------------- tokens to rows


@dataclass(frozen=True)
class TokenRow:
    """What one row of merged maps stands for: a token, or all padding of a chunk together (`position` None)."""

    chunk: int
    position: int | None  # 0..76 within the chunk


def token_rows(content_tokens: Sequence[int], chunks: int) -> list[TokenRow]:
    """The rows of a prompt whose chunk c has `content_tokens[c]` tokens between begin and end, of `chunks`."""
    rows: list[TokenRow] = []
    for chunk in range(chunks):
        content = content_tokens[chunk] if chunk < len(content_tokens) else 0
        rows += [TokenRow(chunk, position) for position in range(content + 2)]
        if content + 2 < 77:
            rows.append(TokenRow(chunk, None))
    return rows


def merged(maps: torch.Tensor, rows: Sequence[TokenRow]) -> torch.Tensor:
    """Maps (tokens, h, w) => (rows, h, w): the padding of each chunk summed, so that each pixel still adds up to 1."""
    spans: list[torch.Tensor] = []
    previous = 0
    for row in rows:
        start = row.chunk * 77
        if row.position is not None:
            spans.append(maps[start + row.position])
            previous = row.position
        else:
            spans.append(maps[start + previous + 1 : start + 77].sum(0))
    return torch.stack(spans)
