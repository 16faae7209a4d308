"""Where the U-Net looks: attention weights of one call, recorded or replayed.

In cross-attention the places of the picture look at the tokens of the prompt, in self-attention at each other.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from studio.diffusion.attention_edits import CROSS, AttentionEdit, AttentionLayer

_PLACES = {"down_blocks": "down", "mid_block": "mid", "up_blocks": "up"}
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
    """What `RecordMaps` has seen: the mean over heads and layers of each group, and every layer's shape.

    `groups` maps (place, height, width) to weights (tokens, height, width) float32: for each pixel a probability over
    all tokens. One image: the prompt's row of one lane.
    """

    groups: dict[tuple[str, int, int], torch.Tensor] = field(default_factory=dict)
    layers: list[LayerShape] = field(default_factory=list)
    _layers_of: dict[tuple[str, int, int], int] = field(default_factory=dict)

    def add(self, layer: LayerShape, weights: torch.Tensor) -> None:
        """Add one layer's weights (height * width, tokens), the mean over its heads, to its group."""
        group = layer.place, layer.height, layer.width
        maps = weights.T.reshape(-1, layer.height, layer.width)
        layers_so_far = self._layers_of.get(group, 0)
        self.groups[group] = (
            maps if not layers_so_far else self.groups[group] + (maps - self.groups[group]) / (layers_so_far + 1)
        )
        self._layers_of[group] = layers_so_far + 1
        self.layers.append(layer)


@dataclass
class HeadMaps:
    """What one layer's heads have seen: `weights` (heads, tokens, height, width) float32; None before its call. `rms`
    is that of the layer's Q, K and V, `scale` what q k is multiplied by before the softmax."""

    weights: torch.Tensor | None = None
    layer: LayerShape | None = None
    rms: dict[str, float] = field(default_factory=dict)
    scale: float = 1.0


class RecordMaps(AttentionEdit):
    """Records where the prompt's row of a lane attends, in the layers of one kind with at most `most_places` places.

    The weights are computed a second time, softmax(q k^T * scale), beside the model's own computation, whose answer
    stays bit-identical.
    """

    prompt_only = True

    def __init__(self, which: str = CROSS, most_places: int | None = None) -> None:
        self.maps = AttentionMaps()
        self._which = which
        self._most_places = most_places

    @property
    def shape(self) -> Hashable:
        """See `AttentionEdit.shape`."""
        return type(self).__name__, self._which, self._most_places

    def touches(self, layer: str) -> bool:
        """See `AttentionEdit.touches`."""
        return layer.endswith(self._which)

    def take(self) -> AttentionMaps:
        """What was recorded since the last call of this."""
        maps, self.maps = self.maps, AttentionMaps()
        return maps

    def look(
        self,
        layer: AttentionLayer,
        queries: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        text: torch.Tensor,
        mask: torch.Tensor | None,
        weights: torch.Tensor | None,
    ) -> None:
        """See `AttentionEdit.look`."""
        if self._most_places is None or queries.shape[1] <= self._most_places:
            maps = weights if weights is not None else _own_weights(layer, queries, keys, mask)
            self.maps.add(shape_of(layer, queries, keys, text), maps.float().mean(0))


class RecordHeads(AttentionEdit):
    """Records one layer head by head, for the prompt's row of a lane."""

    prompt_only = True

    def __init__(self, name: str) -> None:
        self.maps = HeadMaps()
        self._name = name

    @property
    def shape(self) -> Hashable:
        """See `AttentionEdit.shape`."""
        return type(self).__name__, self._name

    def touches(self, layer: str) -> bool:
        """See `AttentionEdit.touches`."""
        return layer == self._name

    def look(
        self,
        layer: AttentionLayer,
        queries: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        text: torch.Tensor,
        mask: torch.Tensor | None,
        weights: torch.Tensor | None,
    ) -> None:
        """See `AttentionEdit.look`."""
        layer_maps = self.maps.layer = shape_of(layer, queries, keys, text)
        maps = (weights if weights is not None else _own_weights(layer, queries, keys, mask)).float()
        self.maps.weights = maps.transpose(1, 2).unflatten(2, (layer_maps.height, layer_maps.width))
        self.maps.scale = float(layer.module.scale)
        for which, tensor in zip("qkv", (queries, keys, values)):
            self.maps.rms[which] = float(tensor[0].float().square().mean().sqrt())


class ReplayMaps(AttentionEdit):
    """Attends by given weights instead of its own: `maps` (rows or 1, heads, places, tokens) by layer name, each place
    a probability over the tokens (Hertz et al. 2022, section 3.2). It acts on all rows of its lane, or on the prompt's
    alone."""

    def __init__(self, maps: Mapping[str, torch.Tensor], *, prompt_only: bool = True) -> None:
        self.prompt_only = prompt_only
        self._maps = maps

    @property
    def shape(self) -> Hashable:
        """See `AttentionEdit.shape`."""
        return type(self).__name__, self.prompt_only, tuple(sorted(self._maps))

    def touches(self, layer: str) -> bool:
        """See `AttentionEdit.touches`."""
        return layer in self._maps

    def row_maps(
        self, layer: AttentionLayer, queries: torch.Tensor, keys: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """See `AttentionEdit.row_maps`. Raises ValueError for maps of another shape than the layer's."""
        maps = self._maps[layer.name].to(queries)
        shape = (layer.module.heads, queries.shape[1], keys.shape[1])
        if tuple(maps.shape[1:]) != shape:
            raise ValueError(f"{layer.name}: maps of shape {tuple(maps.shape[1:])} are not of its own, {shape}")
        return maps.expand(len(queries), -1, -1, -1)


def shape_of(layer: AttentionLayer, queries: torch.Tensor, keys: torch.Tensor, text: torch.Tensor) -> LayerShape:
    """The shape of a layer by what it attends with, each (rows, N, width)."""
    height, width = layer.grid(queries.shape[1])
    return LayerShape(
        name=layer.name,
        place=_PLACES.get(layer.name.partition(".")[0], "other"),
        height=height,
        width=width,
        tokens=keys.shape[1],
        heads=layer.module.heads,
        head_dim=queries.shape[2] // layer.module.heads,
        text_width=text.shape[-1],
    )


def attention_weights(
    queries: torch.Tensor, keys: torch.Tensor, heads: int, scale: float, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """softmax(q k^T * scale + mask), float32 (heads, N, tokens); `queries` (N, inner), `keys` (tokens, inner), `mask`
    (N, tokens)."""
    q = queries.float().unflatten(1, (heads, -1)).transpose(0, 1)  # (heads, N, head_dim)
    k = keys.float().unflatten(1, (heads, -1)).transpose(0, 1)
    scores = torch.baddbmm(torch.zeros((), device=q.device), q, k.transpose(1, 2), beta=0, alpha=scale)
    return (scores if mask is None else scores + mask.float()).softmax(-1)


def _own_weights(
    layer: AttentionLayer, queries: torch.Tensor, keys: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """What the prompt's row, the only one, attends by where no edit says otherwise."""
    row_mask = None if mask is None else mask[0]
    return attention_weights(queries[0], keys[0], layer.module.heads, layer.module.scale, row_mask)


# ----------------------------------------------------------------------------------------------- tokens to rows


@dataclass(frozen=True)
class TokenRow:
    """What one row of merged maps stands for: a token, or all padding of a chunk together (`position` None)."""

    chunk: int
    position: int | None  # within the chunk, from 0


def token_rows(content_tokens: Sequence[int], chunks: int, positions: int) -> list[TokenRow]:
    """The rows of a prompt whose chunk c has `content_tokens[c]` tokens between begin and end, of `chunks` that have so
    many positions each."""
    rows: list[TokenRow] = []
    for chunk in range(chunks):
        content = content_tokens[chunk] if chunk < len(content_tokens) else 0
        rows += [TokenRow(chunk, position) for position in range(content + 2)]
        if content + 2 < positions:
            rows.append(TokenRow(chunk, None))
    return rows


def merge_chunks(maps: torch.Tensor, rows: Sequence[TokenRow], positions: int) -> torch.Tensor:
    """Maps (chunks * positions, h, w) => (rows, h, w): the padding of each chunk summed, so that each pixel still
    adds up to 1."""
    spans: list[torch.Tensor] = []
    previous = 0
    for row in rows:
        start = row.chunk * positions
        if row.position is not None:
            spans.append(maps[start + row.position])
            previous = row.position
        else:
            spans.append(maps[start + previous + 1 : start + positions].sum(0))
    return torch.stack(spans)
