"""Edits that steer a lane by its attention to the text: word weights, another text, regions, image tokens."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as functional

from studio.diffusion.attention_edits import AttentionEdit, AttentionLayer, heads_of


@dataclass(frozen=True, eq=False)
class TokenWeights(AttentionEdit):
    """Scales how much of each token arrives: softmax(q k^T) diag(w) v, so that the weights of a place add up to one no
    more (attention re-weighting, Hertz et al. 2022, section 3.2). `weights` (tokens,)."""

    weights: torch.Tensor
    prompt_only: bool = True

    @property
    def shape(self) -> Hashable:
        """See `AttentionEdit.shape`."""
        return type(self).__name__, self.prompt_only

    def values(self, layer: AttentionLayer, values: torch.Tensor) -> torch.Tensor:
        """See `AttentionEdit.values`. Raises ValueError for another number of weights than there are tokens."""
        if len(self.weights) != values.shape[1]:
            raise ValueError(f"{len(self.weights)} weights are not those of {values.shape[1]} tokens")
        return values * self.weights.to(values)[:, None]


@dataclass(frozen=True, eq=False)
class TokenFactors(AttentionEdit):
    """Multiplies each token's part of the attention before a place's parts are brought to 1: softmax(q k^T / sqrt(d) +
    log m) v. `factors` (tokens,) are m, from 0; a token of factor 0 is not attended to, and of factors that are all 1
    nothing is changed. `evaluations`: those of the lane in which it acts; None: all."""

    factors: torch.Tensor
    evaluations: frozenset[int] | None = None
    prompt_only: bool = True

    def __post_init__(self) -> None:
        if not bool((self.factors >= 0).all()) or not bool((self.factors > 0).any()):
            raise ValueError("factors of tokens are from 0, and at least one is above 0")

    @property
    def shape(self) -> Hashable:
        """See `AttentionEdit.shape`."""
        return type(self).__name__, self.prompt_only

    def acts(self, evaluation: int) -> bool:
        """See `AttentionEdit.acts`."""
        return self.evaluations is None or evaluation in self.evaluations

    def mask(self, layer: AttentionLayer, places: int, tokens: int) -> torch.Tensor | None:
        """See `AttentionEdit.mask`. Raises ValueError for another number of factors than there are tokens."""
        if len(self.factors) != tokens:
            raise ValueError(f"{len(self.factors)} factors are not those of {tokens} tokens")
        if bool((self.factors == 1).all()):
            return None
        return self.factors.float().log().expand(1, places, tokens)


@dataclass(frozen=True, eq=False)
class OtherKeysValues(AttentionEdit):
    """Keys, values or both of another text or picture, in the layers that are named: (rows or 1, tokens, heads *
    head_dim) by layer name. A layer of cross-attention, or of self-attention."""

    other_keys: Mapping[str, torch.Tensor]
    other_values: Mapping[str, torch.Tensor]
    prompt_only: bool = True

    @property
    def shape(self) -> Hashable:
        """See `AttentionEdit.shape`."""
        tokens = tuple(sorted((name, tensor.shape[1]) for name, tensor in self._tensors()))
        return type(self).__name__, self.prompt_only, tokens

    def touches(self, layer: str) -> bool:
        """See `AttentionEdit.touches`."""
        return layer in self.other_keys or layer in self.other_values

    def keys(self, layer: AttentionLayer, keys: torch.Tensor) -> torch.Tensor:
        """See `AttentionEdit.keys`."""
        return _instead(keys, self.other_keys.get(layer.name))

    def values(self, layer: AttentionLayer, values: torch.Tensor) -> torch.Tensor:
        """See `AttentionEdit.values`."""
        return _instead(values, self.other_values.get(layer.name))

    def _tensors(self) -> list[tuple[str, torch.Tensor]]:
        return [*self.other_keys.items(), *self.other_values.items()]


@dataclass(frozen=True, eq=False)
class RegionMask(AttentionEdit):
    """Lets each place of the picture look at some tokens only. `token_places` (tokens, h, w): above 0 where a token may
    be looked at; it is brought to each layer's grid by the nearest place. A place without a token looks at them all."""

    token_places: torch.Tensor
    prompt_only: bool = True

    @property
    def shape(self) -> Hashable:
        """See `AttentionEdit.shape`."""
        return type(self).__name__, self.prompt_only

    def mask(self, layer: AttentionLayer, places: int, tokens: int) -> torch.Tensor:
        """See `AttentionEdit.mask`. Raises ValueError for a mask of another number of tokens."""
        if len(self.token_places) != tokens:
            raise ValueError(f"a mask of {len(self.token_places)} tokens is not one of {tokens}")
        grid = functional.interpolate(self.token_places[None].float(), size=layer.grid(places), mode="nearest-exact")[0]
        visibility = grid.flatten(1).T > 0  # (places, tokens)
        visibility |= ~visibility.any(1, keepdim=True)
        return torch.zeros(visibility.shape, device=visibility.device).masked_fill(~visibility, float("-inf"))[None]


@dataclass(frozen=True, eq=False)
class ImageTokens(AttentionEdit):
    """A picture beside the text: its tokens are attended to by themselves, and `scale` of that is added (IP-Adapter, Ye
    et al. 2023, equation 5). `image_keys`, `image_values` (rows or 1, image tokens, heads * head_dim) by layer name."""

    image_keys: Mapping[str, torch.Tensor]
    image_values: Mapping[str, torch.Tensor]
    scale: float = 1.0
    prompt_only: bool = False

    @property
    def shape(self) -> Hashable:
        """See `AttentionEdit.shape`."""
        tokens = tuple(sorted((name, keys.shape[1]) for name, keys in self.image_keys.items()))
        return type(self).__name__, self.prompt_only, tokens

    def touches(self, layer: str) -> bool:
        """See `AttentionEdit.touches`."""
        return layer in self.image_keys

    def answer(
        self, layer: AttentionLayer, queries: torch.Tensor, values: torch.Tensor, answer: torch.Tensor
    ) -> torch.Tensor:
        """See `AttentionEdit.answer`."""
        heads, name = layer.module.heads, layer.name
        keys, image_values = (
            heads_of(tensor[name].to(queries).expand(len(queries), -1, -1), heads)
            for tensor in (self.image_keys, self.image_values)
        )
        image_answer = functional.scaled_dot_product_attention(heads_of(queries, heads), keys, image_values)
        return answer + self.scale * image_answer.transpose(1, 2).flatten(2)


def _instead(own: torch.Tensor, other: torch.Tensor | None) -> torch.Tensor:
    return own if other is None else other.to(own).expand(len(own), -1, -1)
