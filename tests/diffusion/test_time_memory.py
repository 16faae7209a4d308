"""What the U-Net makes of a timestep is computed once for each timestep, only where nothing else has a say in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from studio.diffusion import time_memory
from studio.diffusion.components import Components
from studio.diffusion.lora import Adapter, Applied, Factors
from studio.diffusion.text_memory import TextMemory
from studio.diffusion.time_memory import TimeMemory
from studio.diffusion.unet_call import UnetCall
from studio.engine.calls import call_unet
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
def test_the_answers_are_those_without_a_memory_and_a_timestep_is_read_once(
    components: Components, counted: Counter[str]
) -> None:
    times, asked = TimeMemory(), [900.0, 500.0, 500.5, 900.0, 500.0, 900.0]
    for place, timestep in enumerate(asked):
        call = a_call(components, timestep, seed=place)
        assert torch.equal(call_unet(components, [call], None, times), call_unet(components, [call]))
    assert len(counted) > 5
    assert set(counted.values()) == {len(asked) + 3}  # every time without the memory; with it once for each timestep


@torch.inference_mode()
def test_calls_of_one_row_and_of_two_do_not_share(components: Components, counted: Counter[str]) -> None:
    times = TimeMemory()
    for rows in (2, 1, 2, 1):
        call = a_call(components, 500.0, rows=rows)
        assert torch.equal(call_unet(components, [call], None, times), call_unet(components, [call]))
    assert set(counted.values()) == {4 + 2}


@torch.inference_mode()
def test_lanes_that_share_a_call_and_those_with_a_lora_are_computed(
    components: Components, counted: Counter[str]
) -> None:
    times = TimeMemory()
    call_unet(components, [a_call(components, 500.0)], None, times)
    counted.clear()
    together = [a_call(components, 500.0), a_call(components, 300.0, seed=2)]
    assert torch.equal(call_unet(components, together, None, times), call_unet(components, together))
    assert set(counted.values()) == {2}

    linear = components.unet.time_embedding.linear_1
    down, up = torch.ones(1, linear.in_features), torch.ones(linear.out_features, 1)
    lora = Adapter("time", "sd1", {"unet": {"time_embedding.linear_1": Factors(down, up, alpha=1.0)}})
    bent = a_call(components, 500.0, adapters=(Applied(lora, unet_scale=0.1),))
    answer = call_unet(components, [bent], None, times)
    assert torch.equal(answer, call_unet(components, [bent]))
    assert not torch.equal(answer, call_unet(components, [a_call(components, 500.0)], None, times))


@torch.inference_mode()
def test_a_network_that_is_told_more_than_the_timestep_is_left_alone(
    components: Components, counted: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(components.unet, "add_embedding", torch.nn.Identity(), raising=False)  # as SDXL's
    times = TimeMemory()
    for _ in range(3):
        call_unet(components, [a_call(components, 500.0)], None, times)
    assert set(counted.values()) == {3}


@torch.inference_mode()
def test_the_oldest_timesteps_make_room_and_all_of_it_can_be_freed(
    components: Components, counted: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_memory, "CALLS", 2)
    times = TimeMemory()
    for timestep in (900.0, 500.0, 900.0, 100.0, 900.0, 500.0):  # 500 goes for 100, and 100 for 500
        call_unet(components, [a_call(components, timestep)], None, times)
    assert set(counted.values()) == {4}
    assert len(times._kept) == 2
    times.forget()
    assert not times._kept


@torch.inference_mode()
def test_the_model_is_as_it_was_after_a_call_that_fails_too(
    components: Components, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {name: module.__dict__.get("forward") for name, module in components.unet.named_modules()}
    times = TimeMemory()
    call_unet(components, [a_call(components, 500.0)], None, times)
    assert {name: module.__dict__.get("forward") for name, module in components.unet.named_modules()} == before

    def broken(*_: object) -> None:
        raise RuntimeError("in the U-Net")

    with monkeypatch.context() as patch:
        patch.setattr(components.unet.conv_out, "forward", broken)
        with pytest.raises(RuntimeError, match="in the U-Net"):
            call_unet(components, [a_call(components, 300.0)], None, times)
    assert {name: module.__dict__.get("forward") for name, module in components.unet.named_modules()} == before
    call = a_call(components, 300.0)
    assert torch.equal(call_unet(components, [call], None, times), call_unet(components, [call]))


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
    """By `--compile`. Whatever stands in for one of its layers would have it compiled anew at every call."""
    memory, times = TextMemory(), TimeMemory()
    embeds = a_call(components, 0.0).prompt_embeds
    for timestep in (900.0, 500.0, 100.0):
        call = a_call(components, timestep, seed=int(timestep))
        call_unet(components, [UnetCall(call.sample, timestep, embeds, {})], memory, times)
    assert compiled.frame_count == 1
