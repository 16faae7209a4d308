"""What the U-Net makes of a timestep is computed once for each timestep, only where nothing else has a say in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from studio.diffusion import time_cache
from studio.diffusion.attention import RecordMaps
from studio.diffusion.components import Components
from studio.diffusion.denoisers import call_unet
from studio.diffusion.lora import Adapter, AppliedAdapter, Factors
from studio.diffusion.text_cache import TextCache
from studio.diffusion.time_cache import TimeCache
from studio.diffusion.unet_call import UnetCall
from tests.tiny import counted_forwards


@pytest.fixture
def counted(components: Components, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each layer that sees the timestep alone was really computed."""
    return counted_forwards(components, monkeypatch, ("time_proj", "time_embedding", "time_emb_proj"))


def a_call(components: Components, timestep: float, seed: int = 1, rows: int = 2, **more: Any) -> UnetCall:
    generator = torch.Generator().manual_seed(seed)
    embeds = torch.randn((rows, 77, components.unet.config.cross_attention_dim), generator=generator)
    return UnetCall(torch.randn((rows, 4, 8, 8), generator=generator), timestep, embeds, {}, **more)


@torch.inference_mode()
def test_the_answers_are_those_without_a_cache_and_a_timestep_is_computed_once(
    components: Components, counted: Counter[str]
) -> None:
    texts, times, timesteps = TextCache(), TimeCache(), [900.0, 500.0, 500.5, 900.0, 500.0, 900.0]
    for place, timestep in enumerate(timesteps):
        call = a_call(components, timestep, seed=place)
        bare = components.unet(call.sample, torch.tensor([timestep] * 2), call.prompt_embeds, return_dict=False)[0]
        assert torch.equal(call_unet(components, [call], texts, times), bare)
    assert len(counted) > 5
    assert set(counted.values()) == {len(timesteps) + 3}  # every time without the cache; with it once each


@torch.inference_mode()
def test_a_lane_that_records_where_it_looks_has_the_cache_too(components: Components, counted: Counter[str]) -> None:
    times, record = TimeCache(), RecordMaps()
    plain = call_unet(components, [a_call(components, 500.0)], None, times)
    assert torch.equal(call_unet(components, [a_call(components, 500.0, edits=(record,))], None, times), plain)
    assert record.maps.groups
    assert set(counted.values()) == {1}


@torch.inference_mode()
def test_calls_of_one_row_and_of_two_do_not_share(components: Components, counted: Counter[str]) -> None:
    times = TimeCache()
    for rows in (2, 1, 2, 1):
        call = a_call(components, 500.0, rows=rows)
        assert torch.equal(call_unet(components, [call], None, times), call_unet(components, [call]))
    assert set(counted.values()) == {4 + 2}


@torch.inference_mode()
def test_lanes_that_share_a_call_and_those_with_a_lora_are_computed(
    components: Components, counted: Counter[str]
) -> None:
    times = TimeCache()
    call_unet(components, [a_call(components, 500.0)], None, times)
    counted.clear()
    together = [a_call(components, 500.0), a_call(components, 300.0, seed=2)]
    assert torch.equal(call_unet(components, together, None, times), call_unet(components, together))
    assert set(counted.values()) == {2}

    linear = components.unet.time_embedding.linear_1
    down, up = torch.ones(1, linear.in_features), torch.ones(linear.out_features, 1)
    lora = Adapter("time", "sd1", {"unet": {"time_embedding.linear_1": Factors(down, up, alpha=1.0)}})
    changed = a_call(components, 500.0, adapters=(AppliedAdapter(lora, unet_scale=0.1),))
    answer = call_unet(components, [changed], None, times)
    assert torch.equal(answer, call_unet(components, [changed]))
    assert not torch.equal(answer, call_unet(components, [a_call(components, 500.0)], None, times))


@torch.inference_mode()
def test_a_network_that_is_told_more_than_the_timestep_has_no_such_layers(
    components: Components, counted: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(components.unet, "add_embedding", torch.nn.Identity(), raising=False)  # as SDXL's
    same, times = replace(components), TimeCache()
    for _ in range(3):
        call_unet(same, [a_call(same, 500.0)], None, times)
    assert same.time_projections == ()
    assert set(counted.values()) == {3}


def test_only_a_call_of_which_the_timestep_says_all_is_covered(components: Components) -> None:
    times, call = TimeCache(), a_call(components, 500.0)
    assert times.covers([call])
    assert not times.covers([call, call])
    assert not times.covers([replace(call, added_conditions={"time_ids": torch.ones(2, 6)})])
    assert not times.covers([replace(call, guidance=torch.ones(1, 4))])


@torch.inference_mode()
def test_what_is_hooked_onto_a_layer_runs_at_every_call(components: Components) -> None:
    times, call = TimeCache(), a_call(components, 500.0)
    plain = call_unet(components, [call], None, times)
    layer = next(m for n, m in components.unet.named_modules() if n.endswith("time_emb_proj"))
    handle = layer.register_forward_hook(lambda module, inputs, output: output + 1)
    try:
        hooked = call_unet(components, [call], None, times)
        assert torch.equal(hooked, call_unet(components, [call]))
        assert not torch.equal(hooked, plain)
    finally:
        handle.remove()
    assert torch.equal(call_unet(components, [call], None, times), plain)


@torch.inference_mode()
def test_the_oldest_timesteps_make_room_and_all_of_it_can_be_freed(
    components: Components, counted: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_cache, "TIMESTEPS", 2)
    times = TimeCache()
    for timestep in (900.0, 500.0, 900.0, 100.0, 900.0, 500.0):  # 500 goes for 100, and 100 for 500
        call_unet(components, [a_call(components, timestep)], None, times)
    assert set(counted.values()) == {4}
    times.forget()
    call_unet(components, [a_call(components, 900.0)], None, times)
    assert set(counted.values()) == {5}


@torch.inference_mode()
def test_the_model_is_as_it_was_after_a_call_that_fails_too(components: Components) -> None:
    def state() -> dict[str, Any]:
        return {name: (module, module.__dict__.get("forward")) for name, module in components.unet.named_modules()}

    before, texts, times = state(), TextCache(), TimeCache()
    call_unet(components, [a_call(components, 500.0)], texts, times)
    assert state() == before

    def broken(*_: object) -> None:
        assert state() == before  # also while the call is made: nothing replaces a module's forward
        raise RuntimeError("in the U-Net")

    handle = components.unet.conv_in.register_forward_pre_hook(broken)
    with pytest.raises(RuntimeError, match="in the U-Net"):
        call_unet(components, [a_call(components, 300.0)], texts, times)
    handle.remove()
    assert state() == before
    call = a_call(components, 300.0)
    assert torch.equal(call_unet(components, [call], texts, times), call_unet(components, [call]))


@pytest.fixture
def compiled(components: Components) -> Iterator[CompileCounter]:
    counter = CompileCounter()
    torch._dynamo.reset()
    components.unet.compile(backend=counter)
    yield counter
    components.unet._compiled_call_impl = None
    torch._dynamo.reset()


@torch.inference_mode()
def test_a_compiled_network_is_compiled_once(components: Components, compiled: CompileCounter) -> None:
    """By `--compile`. Whatever stands in the place of one of its layers would have it compiled anew at every call."""
    texts, times = TextCache(), TimeCache()
    embeds = a_call(components, 0.0).prompt_embeds
    for timestep in (900.0, 500.0, 100.0):
        call = a_call(components, timestep, seed=int(timestep))
        call_unet(components, [UnetCall(call.sample, timestep, embeds, {})], texts, times)
    assert compiled.frame_count == 1
