"""The one seam for edits of a U-Net call: what a lane changes in the attention of its rows, or looks at, as a list of
edits, and what the whole call has from a cache.

`apply_edits` puts one processor before diffusers' own for the length of a U-Net call. The layer's own processor still
does the computation, on a layer whose keys, values, mask and answer are those of the edits. So with no edits, or edits
that change nothing, the answer is the same to the last bit, whatever processor the model runs with.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.attention_processor import Attention

CROSS, SELF = "attn2", "attn1"  # how diffusers calls the two in a transformer block
Projection = tuple[torch.nn.Module, str]  # a module, and the name of the layer in it that projects its input


@dataclass(frozen=True)
class AttentionLayer:
    """One attention layer as edits see it. `latent_size` is (h, w) of the latents of the call."""

    name: str
    module: Attention
    latent_size: tuple[int, int]

    def grid(self, places: int) -> tuple[int, int]:
        """(height, width) of its `places`. Raises ValueError as `grid_of`."""
        return grid_of(places, self.latent_size)


class AttentionEdit:
    """A change of the attention of some rows of a call, or a look at it. Tensors are those of these rows alone: queries
    (rows, places, heads * head_dim), keys and values (rows, tokens, heads * head_dim), before heads are split.

    A kind overrides what it needs. `prompt_only`: its rows are the prompt's, else those of the negative prompt too.
    """

    prompt_only = False

    @property
    def shape(self) -> Hashable:
        """Lanes whose edits have equal shapes can share a call."""
        return type(self).__name__

    def acts(self, evaluation: int) -> bool:
        """Whether it has something to do in this evaluation of its lane, counted from 0."""
        return True

    def touches(self, layer: str) -> bool:
        """Whether it has something to do in the layer of this name."""
        return layer.endswith(CROSS)

    def keys(self, layer: AttentionLayer, keys: torch.Tensor) -> torch.Tensor:
        """The keys instead of these; with another number of tokens only where every row of the call has so many."""
        return keys

    def values(self, layer: AttentionLayer, values: torch.Tensor) -> torch.Tensor:
        """The values instead of these."""
        return values

    def mask(self, layer: AttentionLayer, places: int, tokens: int) -> torch.Tensor | None:
        """What is added to the scores before the softmax, (rows or 1, places, tokens); None for nothing."""
        return None

    def row_maps(
        self, layer: AttentionLayer, queries: torch.Tensor, keys: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor | None:
        """What the last of its rows attend by instead of softmax(q k^T * scale + mask): (so many rows, heads, places,
        tokens), each place a probability over the tokens; None for nothing else. `mask` as in `look`."""
        return None

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
        """See what the layer attends with. `text` is what keys and values were projected from, `mask` (rows, places,
        tokens) what the edits together add to the scores, `weights` (heads, places, tokens) what the last of its rows
        attends by where an edit has said so."""

    def answer(
        self, layer: AttentionLayer, queries: torch.Tensor, values: torch.Tensor, answer: torch.Tensor
    ) -> torch.Tensor:
        """What was attended to (rows, places, heads * head_dim), before the layer's last projection, instead of
        `answer`."""
        return answer


class CallEdit:
    """An edit of a whole call: what some of its projections answer is computed elsewhere, or was before."""

    def project(self, projection: torch.nn.Module, *inputs: Any) -> torch.Tensor:
        """What a projection makes of its inputs; `projection(*inputs)` computes it."""
        raise NotImplementedError


class EditedProjection:
    """A projection during one call as its module sees it: an edit answers. Anything else is the projection's own."""

    __slots__ = ("_edit", "_projection")

    def __init__(self, edit: CallEdit, projection: torch.nn.Module) -> None:
        self._edit = edit
        self._projection = projection

    def __call__(self, *inputs: Any) -> torch.Tensor:
        return self._edit.project(self._projection, *inputs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._projection, name)


@dataclass(frozen=True)
class PlacedEdit:
    """An edit and the rows of the call that are its lane's."""

    edit: AttentionEdit
    rows: slice


def placed_edits(edits: Sequence[Sequence[AttentionEdit]], rows: Sequence[int]) -> list[PlacedEdit]:
    """The edits of several lanes, of which each has so many rows in a call, one after the other."""
    edits_in_place, begin = [], 0
    for own, count in zip(edits, rows):
        end = begin + count
        edits_in_place += [PlacedEdit(edit, slice(end - 1 if edit.prompt_only else begin, end)) for edit in own]
        begin = end
    return edits_in_place


@contextmanager
def apply_edits(
    layers: Sequence[tuple[str, Attention]],
    edits: Sequence[PlacedEdit],
    latent_size: tuple[int, int],
    call_edits: Sequence[tuple[CallEdit, Sequence[Projection]]] = (),
) -> Iterator[None]:
    """Inside, these attention layers of one U-Net attend with edits, and some of its projections are asked through
    edits of the whole call. All are as they were afterwards, also after an error."""
    processors: list[tuple[Attention, Any]] = []
    projections: list[tuple[dict[str, Any], str, torch.nn.Module]] = []
    try:
        for edit, places in call_edits:
            for owner, name in places:
                # Not by setattr, which takes several times as long: this is done at every call.
                children: dict[str, Any] = owner._modules
                projection = children[name]
                projections.append((children, name, projection))
                children[name] = EditedProjection(edit, projection)
        for name, module in layers if edits else ():
            own = [one for one in edits if one.edit.touches(name)]
            if own:
                processors.append((module, module.processor))
                module.set_processor(EditingProcessor(module.processor, AttentionLayer(name, module, latent_size), own))
        yield
    finally:
        for module, processor in processors:
            module.set_processor(processor)
        for children, name, projection in projections:
            children[name] = projection


def attentions(unet: torch.nn.Module) -> tuple[tuple[str, Attention], ...]:
    """Every attention layer by its name, in the order of the modules."""
    return tuple((name, module) for name, module in unet.named_modules() if isinstance(module, Attention))


class EditingProcessor:
    """The one attention processor: the layer's own one, on a layer with edits."""

    def __init__(self, own: Any, layer: AttentionLayer, edits: Sequence[PlacedEdit]) -> None:
        self._own = own
        self._layer = layer
        self._edits = edits

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        **more: Any,
    ) -> torch.Tensor:
        layer_view = _EditedLayer(self._layer, self._edits)
        if encoder_hidden_states is not None and not attn.norm_cross:
            # Of what is in its place the layer's own processor takes nothing but the number of tokens.
            encoder_hidden_states = layer_view.project(encoder_hidden_states)
        looked_at = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        attention_mask = layer_view.mask(attention_mask, hidden_states, looked_at.shape[1])
        answer: torch.Tensor = self._own(
            layer_view,
            hidden_states,
            encoder_hidden_states=encoder_hidden_states,
            attention_mask=attention_mask,
            **more,
        )
        return answer


class _EditedLayer:
    """A layer during one call as its processor sees it: an `Attention` whose projections are those of the edits."""

    def __init__(self, layer: AttentionLayer, edits: Sequence[PlacedEdit]) -> None:
        self._layer = layer
        self._edits = edits
        self._keys: torch.Tensor | None = None
        self._values: torch.Tensor | None = None
        self._mask: torch.Tensor | None = None
        self.to_q = self._to_q
        self.to_k = self._to_k
        self.to_v = self._to_v
        self.to_out = (self._to_out, layer.module.to_out[1])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._layer.module, name)

    def project(self, text: torch.Tensor) -> torch.Tensor:
        """Keys (rows, tokens, heads * head_dim) of the text, and values, with the edits; before its mask is made."""
        keys, self._values = self._to_k(text), self._to_v(text)
        return keys

    def mask(self, layer_mask: torch.Tensor | None, hidden_states: torch.Tensor, tokens: int) -> torch.Tensor | None:
        """The edits' masks together (rows, places, tokens), added to what was given; None for none."""
        rows, places = hidden_states.shape[:2]
        whole: torch.Tensor | None = None
        for one in self._edits:
            own = one.edit.mask(self._layer, places, tokens)
            if own is not None:
                whole = hidden_states.new_zeros((rows, places, tokens)) if whole is None else whole
                whole[one.rows] += own.to(whole)
        self._mask = whole
        return layer_mask if whole is None else whole if layer_mask is None else whole + layer_mask

    def _to_q(self, hidden_states: torch.Tensor) -> torch.Tensor:
        self._queries: torch.Tensor = self._layer.module.to_q(hidden_states)
        return self._queries

    def _to_k(self, text: torch.Tensor) -> torch.Tensor:
        if self._keys is None:
            self._text = text
            keys = self._layer.module.to_k(text)
            self._keys = self._by_row(keys, lambda edit, rows: edit.keys(self._layer, rows))
        return self._keys

    def _to_v(self, text: torch.Tensor) -> torch.Tensor:
        if self._values is None:
            values = self._layer.module.to_v(text)
            self._values = self._by_row(values, lambda edit, rows: edit.values(self._layer, rows))
        return self._values

    def _by_row(
        self, whole: torch.Tensor, change: Callable[[AttentionEdit, torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """A tensor with the rows of each edit changed; the same one where nothing changes. Raises ValueError where its
        rows would have different numbers of tokens."""
        rows = list(whole.split(1))
        any_change = False
        for one in self._edits:
            before = torch.cat(rows[one.rows]) if any_change else whole[one.rows]
            after = change(one.edit, before)
            if after is not before:
                rows[one.rows] = after.split(1)
                any_change = True
        tokens = {row.shape[1] for row in rows}
        if len(tokens) > 1:
            raise ValueError(f"{self._layer.name}: rows of {sorted(tokens)} tokens cannot share a call")
        return torch.cat(rows) if any_change else whole

    def _to_out(self, answer: torch.Tensor) -> torch.Tensor:
        """The layer's last projection, after the edits have seen and changed what was attended to."""
        assert self._keys is not None
        assert self._values is not None
        queries, keys, values, text, mask = self._queries, self._keys, self._values, self._text, self._mask
        weights = self._weights_by_row(queries, keys, mask)
        if weights:
            answer, heads = answer.clone(), self._layer.module.heads
            for row, maps in weights.items():
                attended = maps.to(answer) @ heads_of(values[row : row + 1], heads)[0]  # (heads, places, head_dim)
                answer[row] = attended.transpose(0, 1).flatten(1)
        for one in self._edits:
            rows = one.rows
            own_mask = None if mask is None else mask[rows]
            last_weights = weights.get(rows.stop - 1)
            one.edit.look(self._layer, queries[rows], keys[rows], values[rows], text[rows], own_mask, last_weights)
            before = answer[rows]
            after = one.edit.answer(self._layer, queries[rows], values[rows], before)
            if after is not before:
                answer = answer.clone()
                answer[rows] = after
        return self._layer.module.to_out[0](answer)

    def _weights_by_row(
        self, queries: torch.Tensor, keys: torch.Tensor, mask: torch.Tensor | None
    ) -> dict[int, torch.Tensor]:
        """What rows attend by (heads, places, tokens) where an edit says so."""
        weights: dict[int, torch.Tensor] = {}
        for one in self._edits:
            rows = one.rows
            own = one.edit.row_maps(self._layer, queries[rows], keys[rows], None if mask is None else mask[rows])
            if own is not None:
                weights |= {rows.stop - len(own) + k: maps for k, maps in enumerate(own)}
        return weights


def grid_of(queries: int, latent_size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of a layer with so many queries: the latents' size halved, rounding up, until it fits."""
    height, width = latent_size
    while height * width > queries:
        height, width = -(-height // 2), -(-width // 2)
    if height * width != queries:
        raise ValueError(f"no level of latents {latent_size[0]}x{latent_size[1]} has {queries} pixels")
    return height, width


def heads_of(tensor: torch.Tensor, heads: int) -> torch.Tensor:
    """(rows, N, heads * head_dim) => (rows, heads, N, head_dim)."""
    return tensor.unflatten(-1, (heads, -1)).transpose(1, 2)
