"""Every kind of edit of a lane's attention against a plain reference, alone and beside other lanes in one call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import Attention, AttnProcessor, SlicedAttnProcessor

from studio.asked.fields import TextToImage
from studio.asked.resolved import resolve
from studio.diffusion.attention import RecordHeads, RecordMaps, ReplayMaps
from studio.diffusion.attention_edits import CROSS, SELF, AttentionEdit, grid_of
from studio.diffusion.attention_steering import ImageTokens, OtherKeysValues, RegionMask, TokenFactors, TokenWeights
from studio.diffusion.components import Components
from studio.diffusion.denoisers import call_unet
from studio.diffusion.lane import Lane, start_lane
from studio.diffusion.prompt import encode_prompts
from studio.diffusion.text_cache import TextCache
from studio.diffusion.unet_call import UnetCall

SIZE = (6, 10)  # latents, on purpose not square
HEADS = 2


def a_call(components: Components, seed: int, *edits: AttentionEdit, tokens: int = 77) -> UnetCall:
    generator = torch.Generator().manual_seed(seed)
    sample = torch.randn((2, 4, *SIZE), generator=generator)
    embeds = torch.randn((2, tokens, components.unet.config.cross_attention_dim), generator=generator)
    return UnetCall(sample, 500.0, embeds, {}, edits=edits)


class Plain:
    """Attention in six plain lines, with what an edit is to do to it done by `change`."""

    def __init__(self, name: str, change: Any) -> None:
        self._name = name
        self._change = change

    def __call__(self, attn: Attention, hidden_states: Any, encoder_hidden_states: Any = None, **_: Any) -> Any:
        text = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        parts = {"q": attn.to_q(hidden_states), "k": attn.to_k(text), "v": attn.to_v(text)}
        q, k, v = (part.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for part in parts.values())
        seen = {"name": self._name, "q": q, "k": k, "v": v, "weights": None, "scores": None, "scale": attn.scale}
        answer = self._change(seen)
        if answer is None:
            answer = (seen["q"] @ seen["k"].transpose(2, 3) * attn.scale).softmax(-1) @ seen["v"]
        return attn.to_out[0](answer.transpose(1, 2).flatten(2))


@contextmanager
def plain(components: Components, change: Any, which: str = CROSS) -> Iterator[None]:
    before = components.unet.attn_processors
    own = {
        name: Plain(name.removesuffix(".processor"), change) if f"{which}." in name else processor
        for name, processor in before.items()
    }
    components.unet.set_attn_processor(own)
    try:
        yield
    finally:
        components.unet.set_attn_processor(before)


def check(components: Components, edit: AttentionEdit, change: Any, which: str = CROSS) -> None:
    """A call with the edit is the plain reference's, changes something, and leaves other lanes of its call alone."""
    call, other = a_call(components, 1, edit), a_call(components, 2)
    answer = call_unet(components, [call])
    with plain(components, change, which):
        expected = call_unet(components, [replace(call, edits=())])
    assert torch.allclose(answer, expected, atol=1e-5)
    unedited = call_unet(components, [replace(call, edits=())])
    assert not torch.allclose(answer, unedited, atol=1e-4)
    if edit.prompt_only:
        assert torch.allclose(answer[0], unedited[0], atol=1e-5), "the negative prompt's row stays"
    together = call_unet(components, [other, call, other], TextCache())
    assert torch.allclose(together[2:4], answer, atol=1e-5)
    assert torch.allclose(together[:2], call_unet(components, [other]), atol=1e-5)


def layers(components: Components, which: str = CROSS) -> list[str]:
    return [name for name, _ in components.attention_layers if name.endswith(which)]


def widths(components: Components, which: str = CROSS) -> dict[str, int]:
    return {name: module.to_k.out_features for name, module in components.attention_layers if name.endswith(which)}


def some(*shape: int, seed: int = 9) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def test_without_edits_and_with_those_that_only_look_the_answer_is_the_same_to_the_last_bit(
    components: Components,
) -> None:
    call = a_call(components, 1)
    before = dict(components.unet.attn_processors)
    bare = components.unet(call.sample, torch.tensor([500.0, 500.0]), call.prompt_embeds, return_dict=False)[0]
    assert torch.equal(call_unet(components, [call]), bare)
    record, own, heads = RecordMaps(), RecordMaps(SELF), RecordHeads(layers(components)[0])
    looked = replace(call, edits=(record, own, heads))
    assert torch.equal(call_unet(components, [looked], TextCache()), bare)
    assert record.maps.groups
    assert own.maps.groups
    assert heads.maps.weights is not None
    assert dict(components.unet.attn_processors) == before


@torch.inference_mode()
def test_maps_are_of_the_lanes_own_prompt_whoever_shares_the_call(components: Components) -> None:
    records = [RecordMaps(), RecordMaps(), RecordMaps()]
    calls = [a_call(components, seed, record) for seed, record in enumerate(records)]
    call_unet(components, calls, TextCache())
    together = [record.take() for record in records]
    for call, record, maps in zip(calls, records, together):
        call_unet(components, [call])
        alone = record.take()
        assert alone.layers == maps.layers
        for group, weights in alone.groups.items():
            assert torch.allclose(weights, maps.groups[group], atol=1e-6)
    assert not torch.allclose(*(next(iter(maps.groups.values())) for maps in together[:2]))


@torch.inference_mode()
@pytest.mark.parametrize("processor", [AttnProcessor(), SlicedAttnProcessor(1)], ids=["explicit", "sliced"])
def test_whatever_processor_the_model_runs_with_computes(components: Components, processor: Any) -> None:
    before = components.unet.attn_processors
    weights = TokenWeights(torch.linspace(0, 2, 77))
    edits = (weights, RegionMask((some(77, *SIZE) > 0).float()), RecordMaps())
    usual = call_unet(components, [a_call(components, 1, *edits)])
    components.unet.set_attn_processor(processor)
    try:
        bare = call_unet(components, [a_call(components, 1)])
        assert torch.equal(call_unet(components, [a_call(components, 1, RecordMaps())], TextCache()), bare)
        assert torch.allclose(call_unet(components, [a_call(components, 1, *edits)]), usual, atol=1e-5)
    finally:
        components.unet.set_attn_processor(before)


@torch.inference_mode()
def test_token_weights_scale_what_arrives_of_each_token(components: Components) -> None:
    weights = torch.linspace(0, 3, 77)

    def change(seen: dict[str, Any]) -> None:
        seen["v"][1] *= weights[:, None]

    check(components, TokenWeights(weights), change)
    with pytest.raises(ValueError, match="5 weights are not those of 77 tokens"):
        call_unet(components, [a_call(components, 1, TokenWeights(torch.ones(5)))])


@torch.inference_mode()
def test_token_factors_multiply_each_tokens_part_and_a_factor_of_nothing_takes_it_out(components: Components) -> None:
    factors = torch.linspace(0, 2, 77)  # the first token is out

    def change(seen: dict[str, Any]) -> torch.Tensor:
        parts = (seen["q"] @ seen["k"].transpose(2, 3) * seen["scale"]).exp()
        parts[1] *= factors
        weights: torch.Tensor = parts / parts.sum(-1, keepdim=True)
        return weights @ seen["v"]

    check(components, TokenFactors(factors), change)
    record, heads = RecordMaps(), RecordHeads(layers(components)[0])
    call_unet(components, [a_call(components, 1, TokenFactors(factors), record, heads)])
    assert heads.maps.weights is not None
    for maps in (*record.maps.groups.values(), heads.maps.weights[0]):
        assert (maps[0] == 0).all(), "what is looked at is what was attended with"
        assert torch.allclose(maps.sum(0), torch.ones(()), atol=1e-5)
    bare = call_unet(components, [a_call(components, 1)])
    assert torch.equal(call_unet(components, [a_call(components, 1, TokenFactors(torch.ones(77)))]), bare)
    with pytest.raises(ValueError, match="5 factors are not those of 77 tokens"):
        call_unet(components, [a_call(components, 1, TokenFactors(torch.ones(5)))])
    for wrong in (torch.zeros(77), torch.linspace(-1, 1, 77)):
        with pytest.raises(ValueError, match="at least one is above 0"):
            TokenFactors(wrong)


@torch.inference_mode()
@pytest.mark.parametrize("which", [CROSS, SELF])
def test_other_keys_and_values_stand_in_place_of_the_rows_own(components: Components, which: str) -> None:
    both = [name for name in layers(components, which)]
    own = widths(components, which)
    places = {}
    record = RecordMaps(which)
    call_unet(components, [a_call(components, 1, record)])
    places = {layer.name: layer.tokens for layer in record.maps.layers}
    keys = {name: some(1, places[name], own[name], seed=1) for name in both}
    values = {name: some(1, places[name], own[name], seed=2) for name in both[::2]}

    def change(seen: dict[str, Any]) -> None:
        name = seen["name"]
        seen["k"][1] = keys[name][0].unflatten(-1, (HEADS, -1)).transpose(0, 1)
        if name in values:
            seen["v"][1] = values[name][0].unflatten(-1, (HEADS, -1)).transpose(0, 1)

    check(components, OtherKeysValues(keys, values), change, which)


@torch.inference_mode()
def test_another_number_of_tokens_is_for_every_row_of_a_call_or_for_none(components: Components) -> None:
    own = widths(components)
    longer = {name: some(2, 100, width) for name, width in own.items()}
    edit = OtherKeysValues(longer, longer, prompt_only=False)

    def change(seen: dict[str, Any]) -> None:
        seen["k"] = longer[seen["name"]].unflatten(-1, (HEADS, -1)).transpose(1, 2)
        seen["v"] = seen["k"]

    call = a_call(components, 1, edit)
    with plain(components, change):
        expected = call_unet(components, [replace(call, edits=())])
    assert torch.allclose(call_unet(components, [call]), expected, atol=1e-5)
    together = call_unet(components, [call, a_call(components, 2, edit)])
    assert torch.allclose(together[:2], expected, atol=1e-5)
    with pytest.raises(ValueError, match=r"rows of \[77, 100\] tokens cannot share a call"):
        call_unet(components, [call, a_call(components, 2)])


@torch.inference_mode()
def test_a_region_sees_its_own_tokens_only_and_one_without_sees_all(components: Components) -> None:
    allowed = torch.zeros(77, *SIZE)
    allowed[:10, :, :4] = 1
    allowed[10:30, :, 4:8] = 1  # the places of the last two columns have no token

    def change(seen: dict[str, Any]) -> torch.Tensor:
        scores = seen["q"] @ seen["k"].transpose(2, 3) * seen["scale"]
        height, width = grid_of(scores.shape[2], SIZE)
        for y in range(height):
            for x in range(width):
                row = allowed[:, int((y + 0.5) * SIZE[0] / height), int((x + 0.5) * SIZE[1] / width)]
                if row.any():
                    scores[1, :, y * width + x, row == 0] = float("-inf")
        weights: torch.Tensor = scores.softmax(-1)
        return weights @ seen["v"]

    check(components, RegionMask(allowed), change)
    record = RecordMaps()
    call_unet(components, [a_call(components, 1, RegionMask(allowed), record)])
    with pytest.raises(ValueError, match="a mask of 5 tokens is not one of 77"):
        call_unet(components, [a_call(components, 1, RegionMask(allowed[:5]))])


@torch.inference_mode()
def test_image_tokens_are_those_of_diffusers_ip_adapter(components: Components) -> None:
    from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0

    unet, dim = components.unet, components.unet.config.cross_attention_dim
    images = some(2, 4, dim)
    before = unet.attn_processors
    processors: dict[str, Any] = dict(before)
    keys, values = {}, {}
    for name, width in widths(components).items():
        adapter = IPAdapterAttnProcessor2_0(width, dim, num_tokens=(4,), scale=0.7)
        processors[f"{name}.processor"] = adapter
        keys[name], values[name] = adapter.to_k_ip[0](images), adapter.to_v_ip[0](images)
    edit = ImageTokens(keys, values, scale=0.7)
    call = a_call(components, 1, edit)
    answer = call_unet(components, [call])
    modules = dict(components.attention_layers)
    unet.set_attn_processor(dict(processors))
    for name in layers(components):  # diffusers' U-Net hands the pictures on with the text
        own = modules[name].processor
        assert isinstance(own, IPAdapterAttnProcessor2_0)
    hooks = [
        modules[name].register_forward_pre_hook(_with_images(images), with_kwargs=True) for name in layers(components)
    ]
    try:
        timesteps = torch.tensor([500.0, 500.0])
        expected = unet(call.sample, timesteps, call.prompt_embeds, return_dict=False)[0]
    finally:
        for hook in hooks:
            hook.remove()
        unet.set_attn_processor(before)
    assert torch.allclose(answer, expected, atol=1e-5)
    assert not torch.allclose(answer, call_unet(components, [a_call(components, 1)]), atol=1e-4)


def _with_images(images: torch.Tensor) -> Any:
    def hook(_: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return arguments, named | {"encoder_hidden_states": (named["encoder_hidden_states"], [images[:, None]])}

    return hook


@torch.inference_mode()
def test_maps_that_were_recorded_give_the_same_answer_when_replayed_and_others_another(components: Components) -> None:
    names = layers(components)
    maps = {}
    for name in names:
        record = RecordHeads(name)
        plain_answer = call_unet(components, [a_call(components, 1, record)])
        assert record.maps.weights is not None
        maps[name] = record.maps.weights.flatten(2).transpose(1, 2)[None]  # (1, heads, places, tokens)
    replayed = call_unet(components, [a_call(components, 1, ReplayMaps(maps))])
    assert torch.allclose(replayed, plain_answer, atol=1e-5)

    even = {name: torch.full_like(weights, 1 / weights.shape[-1]) for name, weights in maps.items()}

    def change(seen: dict[str, Any]) -> torch.Tensor:
        weights = (seen["q"] @ seen["k"].transpose(2, 3) * seen["scale"]).softmax(-1)
        weights[1] = 1 / weights.shape[-1]
        return weights @ seen["v"]

    check(components, ReplayMaps(even), change)
    wrong = {name: weights[..., :5] for name, weights in maps.items()}
    with pytest.raises(ValueError, match="are not of its own"):
        call_unet(components, [a_call(components, 1, ReplayMaps(wrong))])


def a_lane(components: Components, *edits: AttentionEdit, seed: int = 1) -> Lane:
    asked = TextToImage(prompt="a fox", width=64, height=64, num_inference_steps=3, seed=seed)
    conditioning = encode_prompts(components, "a fox", "", num_steps=3, guidance_scale=5.0)
    resolved = resolve(asked, components.suits)
    return start_lane(components, resolved, seed=seed, conditioning=conditioning, edits=edits)


def test_lanes_share_a_call_only_with_lanes_whose_edits_have_their_shape(components: Components) -> None:
    plain_lane = a_lane(components)
    weighted = a_lane(components, TokenWeights(torch.ones(77)))
    assert plain_lane.key == a_lane(components, seed=2).key
    assert plain_lane.key != weighted.key
    assert weighted.key == a_lane(components, TokenWeights(torch.zeros(77)), seed=2).key
    assert weighted.key != a_lane(components, TokenWeights(torch.ones(77), prompt_only=False)).key
    assert a_lane(components, RecordMaps()).key != a_lane(components, RecordMaps(SELF)).key


@torch.inference_mode()
def test_an_edit_acts_in_its_evaluations_and_shares_calls_with_plain_lanes_in_the_others(
    components: Components,
) -> None:
    edit = TokenFactors(torch.linspace(0, 2, 77), frozenset({1}))
    lane, plain_lane = a_lane(components, edit), a_lane(components)
    for index in range(3):
        assert (lane.key == plain_lane.key) == (index != 1)
        assert lane.call().edits == ((edit,) if index == 1 else ())
        for one in (lane, plain_lane):
            one.advance(call_unet(components, [one.call()]))
        assert torch.equal(lane.latents, plain_lane.latents) == (index == 0)


@torch.inference_mode()
def test_a_lane_with_edits_is_the_same_alone_and_in_company(components: Components) -> None:
    def driven(*lanes: Lane) -> torch.Tensor:
        while not lanes[0].is_finished:
            answers = call_unet(components, [lane.call() for lane in lanes]).split(2)
            for lane, answer in zip(lanes, answers):
                lane.advance(answer)
        return lanes[0].latents

    weights = [TokenWeights(torch.linspace(0, top, 77)) for top in (2.0, 5.0)]
    alone = driven(a_lane(components, weights[0]))
    beside = driven(a_lane(components, weights[0]), a_lane(components, weights[1], seed=2))
    assert torch.allclose(alone, beside, atol=1e-4)
    assert not torch.allclose(alone, driven(a_lane(components)), atol=1e-3)


@torch.inference_mode()
def test_a_recording_lane_hands_out_each_evaluations_maps_once(components: Components) -> None:
    lane = a_lane(components, RecordMaps())
    for _ in range(2):
        lane.advance(call_unet(components, [lane.call()]))
        maps = lane.recorded_maps()
        assert maps is not None
        assert len(maps.layers) == len(layers(components))
        taken = lane.recorded_maps()
        assert taken is not None
        assert not taken.groups
    assert a_lane(components).recorded_maps() is None
