"""T6: the observer's weights are the model's own, rows sum to 1, and the model's answer does not change by one bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import Attention, AttnProcessor

from studio.diffusion.attention import AttentionMaps, HeadMaps, RecordHeads, RecordMaps, merge_chunks, token_rows
from studio.diffusion.attention_edits import CROSS, SELF, AttentionEdit, PlacedEdit, apply_edits, grid_of
from studio.diffusion.components import Components


def ask(components: Components, latents: tuple[int, int], tokens: int = 77) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    sample = torch.randn((2, 4, *latents), generator=generator)
    embeds = torch.randn((2, tokens, 8), generator=generator)
    with torch.inference_mode():
        answer: torch.Tensor = components.unet(sample, torch.tensor([500.0, 500.0]), embeds, return_dict=False)[0]
    return answer


@contextmanager
def editing(components: Components, edit: AttentionEdit, latents: tuple[int, int]) -> Iterator[None]:
    """An edit of the second row of what is asked inside."""
    with apply_edits(components.attention_layers, [PlacedEdit(edit, slice(1, 2))], latents):
        yield


@contextmanager
def observed(
    components: Components, latents: tuple[int, int], which: str = CROSS, most_places: int | None = None
) -> Iterator[AttentionMaps]:
    record = RecordMaps(which, most_places)
    with editing(components, record, latents):
        yield record.maps


@contextmanager
def observed_heads(components: Components, name: str, latents: tuple[int, int]) -> Iterator[HeadMaps]:
    record = RecordHeads(name)
    with editing(components, record, latents):
        yield record.maps


def untouched(components: Components) -> bool:
    """Whether no hook and no processor of ours is left."""
    processors = {type(p).__name__ for p in components.unet.attn_processors.values()}
    hooks = any(m._forward_hooks for m in components.unet.modules())
    return processors == {"AttnProcessor2_0"} and not hooks


class Explicit(AttnProcessor):  # type: ignore[misc]
    """diffusers' own explicit softmax; keeps the probabilities of row 1."""

    kept: list[torch.Tensor]

    def __call__(self, attn: Attention, *arguments: Any, **named: Any) -> torch.Tensor:
        scores = attn.get_attention_scores

        def keeping(*given: Any, **by_name: Any) -> torch.Tensor:
            found: torch.Tensor = scores(*given, **by_name)
            self.kept.append(found.unflatten(0, (2, -1))[1].mean(0))
            return found

        attn.get_attention_scores = keeping
        try:
            answer: torch.Tensor = super().__call__(attn, *arguments, **named)
        finally:
            del attn.get_attention_scores
        return answer


SIZES = [((8, 8), 77), ((6, 10), 77), ((7, 5), 154), ((8, 16), 231)]


@pytest.mark.parametrize(("latents", "tokens"), SIZES)
def test_the_answer_is_the_same_to_the_last_bit_and_no_hook_stays(
    components: Components, latents: tuple[int, int], tokens: int
) -> None:
    plain = ask(components, latents, tokens)
    with observed(components, latents) as maps:
        watched = ask(components, latents, tokens)
    assert torch.equal(plain, watched)
    assert untouched(components)
    for (_, height, width), weights in maps.groups.items():
        assert weights.shape == (tokens, height, width)
        assert float((weights.sum(0) - 1).abs().max()) < 1e-6


@pytest.mark.parametrize(("latents", "tokens"), SIZES)
def test_the_weights_are_those_of_the_explicit_softmax(
    components: Components, latents: tuple[int, int], tokens: int
) -> None:
    with observed(components, latents) as maps:
        ask(components, latents, tokens)
    before = components.unet.attn_processors
    explicit = {name: Explicit() for name in before}
    for processor in explicit.values():
        processor.kept = []
    components.unet.set_attn_processor(dict(explicit))
    try:
        ask(components, latents, tokens)
    finally:
        components.unet.set_attn_processor(before)
    expected = AttentionMaps()
    for layer in maps.layers:
        [weights] = explicit[f"{layer.name}.processor"].kept
        assert weights.shape == (layer.height * layer.width, layer.tokens)
        expected.add(layer, weights)
    assert expected.groups.keys() == maps.groups.keys()
    for group, weights in expected.groups.items():
        assert float((weights - maps.groups[group]).abs().max()) < 1e-6


def test_self_attention_is_that_of_the_explicit_softmax_and_too_fine_layers_are_left_alone(
    components: Components,
) -> None:
    plain = ask(components, (6, 10))
    with observed(components, (6, 10), which=SELF) as maps:
        watched = ask(components, (6, 10))
    assert torch.equal(plain, watched)
    assert all(layer.name.endswith("attn1") for layer in maps.layers)
    before = components.unet.attn_processors
    explicit = {name: Explicit() for name in before}
    for processor in explicit.values():
        processor.kept = []
    components.unet.set_attn_processor(dict(explicit))
    try:
        ask(components, (6, 10))
    finally:
        components.unet.set_attn_processor(before)
    for layer in maps.layers:
        [weights] = explicit[f"{layer.name}.processor"].kept
        assert weights.shape == (layer.height * layer.width, layer.height * layer.width)
        with observed_heads(components, layer.name, (6, 10)) as heads:
            ask(components, (6, 10))
        assert heads.weights is not None
        assert heads.weights.shape == (layer.heads, layer.tokens, layer.height, layer.width)
        assert float((heads.weights.mean(0).flatten(1).T - weights).abs().max()) < 1e-6
    places = maps.layers[0].height * maps.layers[0].width
    with observed(components, (6, 10), most_places=places - 1) as none:
        ask(components, (6, 10))
    assert not none.groups


def test_layers_say_their_shapes(components: Components) -> None:
    with observed(components, (6, 10)) as maps:
        ask(components, (6, 10), 154)
    assert {layer.place for layer in maps.layers} == {"down", "mid", "up"}
    assert {(layer.height, layer.width) for layer in maps.layers} == {(3, 5)}
    assert {(layer.tokens, layer.heads, layer.text_width) for layer in maps.layers} == {(154, 2, 8)}


def test_hooks_go_when_the_call_fails(components: Components) -> None:
    with pytest.raises(RuntimeError), observed(components, (8, 8)):
        components.unet(torch.zeros(2, 4, 8, 8), torch.tensor([1.0, 1.0]), torch.zeros(2, 77, 3))
    assert untouched(components)


def test_a_grid_comes_from_the_latents_and_not_from_a_root() -> None:
    assert grid_of(16 * 4, (16, 4)) == (16, 4)
    assert grid_of(8 * 2, (16, 4)) == (8, 2)
    assert grid_of(4 * 3, (7, 5)) == (4, 3)
    with pytest.raises(ValueError, match="no level"):
        grid_of(15, (8, 8))


def test_padding_is_one_row_and_every_pixel_still_adds_up() -> None:
    rows = token_rows([3, 75], 3, 77)
    assert [r.position for r in rows[:6]] == [0, 1, 2, 3, 4, None]
    assert len([r for r in rows if r.chunk == 1]) == 77
    assert [r.position for r in rows if r.chunk == 2] == [0, 1, None]
    weights = torch.rand((231, 2, 3))
    weights /= weights.sum(0)
    found = merge_chunks(weights, rows, 77)
    assert found.shape == (len(rows), 2, 3)
    assert torch.allclose(found.sum(0), torch.ones(2, 3))
    assert torch.equal(found[1], weights[1])
    assert torch.allclose(found[5], weights[5:77].sum(0))
    assert torch.allclose(found[-1], weights[156:231].sum(0))
