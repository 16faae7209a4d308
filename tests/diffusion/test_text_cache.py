"""Keys and values of the text are computed once for as long as the text stays, and nothing else changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from studio.diffusion.attention import RecordMaps
from studio.diffusion.components import Components
from studio.diffusion.denoisers import call_unet
from studio.diffusion.lora import Adapter, AppliedAdapter, Factors
from studio.diffusion.text_cache import TextCache
from studio.diffusion.unet_call import UnetCall
from tests.tiny import counted_forwards


@pytest.fixture
def counted(components: Components, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each cross-attention layer of the text was really computed."""
    return counted_forwards(components, monkeypatch, ("attn2.to_k", "attn2.to_v"))


def a_call(components: Components, embeds: torch.Tensor, seed: int) -> UnetCall:
    sample = torch.randn((2, 4, 8, 8), generator=torch.Generator().manual_seed(seed))
    return UnetCall(sample, float(900 - 100 * seed), embeds, {})


def some_text(components: Components, seed: int) -> torch.Tensor:
    width = components.unet.config.cross_attention_dim
    return torch.randn((2, 77, width), generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def test_the_answers_are_those_without_a_memory_and_the_text_is_read_once(
    components: Components, counted: Counter[str]
) -> None:
    first, second = some_text(components, 1), some_text(components, 2)
    memory = TextCache()
    plan = [[(first, 1)], [(first, 2)], [(first, 3), (second, 3)], [(first, 4), (second, 4)], [(second, 5)]]
    for step in plan:
        calls = [a_call(components, text, seed) for text, seed in step]
        assert torch.equal(call_unet(components, calls, memory), call_unet(components, calls))
    assert len(counted) >= 2
    assert set(counted.values()) == {len(plan) + 3}  # every time without the memory; with it once for each text


@torch.inference_mode()
def test_what_is_hooked_onto_a_layer_runs_at_every_call(components: Components) -> None:
    memory, calls = TextCache(), [a_call(components, some_text(components, 1), 1)]
    plain = call_unet(components, calls, memory)
    layer = next(m for n, m in components.unet.named_modules() if n.endswith("attn2.to_k"))
    handle = layer.register_forward_hook(lambda module, inputs, output: output + inputs[0].mean())
    try:
        hooked = call_unet(components, calls, memory)
        assert torch.equal(hooked, call_unet(components, calls))
        assert not torch.equal(hooked, plain)
    finally:
        handle.remove()
    assert torch.equal(call_unet(components, calls, memory), plain)


@torch.inference_mode()
def test_loras_have_their_share_and_are_taken_off_without_a_trace(
    components: Components, counted: Counter[str]
) -> None:
    layer = next(n for n, _ in components.unet.named_modules() if n.endswith("attn2.to_k"))
    linear = components.unet.get_submodule(layer)
    down, up = torch.ones(1, linear.in_features), torch.ones(linear.out_features, 1)
    adapter = Adapter("k", "sd1", {"unet": {layer: Factors(down, up, alpha=1.0)}})
    memory, text = TextCache(), some_text(components, 1)
    answers = []
    for scale in (None, 0.5, 0.5, 1.0, None):
        adapters = () if scale is None else (AppliedAdapter(adapter, unet_scale=scale),)
        call = replace(a_call(components, text, 1), adapters=adapters)
        answers.append(call_unet(components, [call], memory))
        assert torch.equal(answers[-1], call_unet(components, [call]))
    assert counted[layer] == 5 + 4  # each without the memory; with it once for each change of the LoRAs
    assert torch.equal(answers[0], answers[-1])
    assert torch.equal(answers[1], answers[2])
    assert not torch.equal(answers[0], answers[1])
    assert not torch.equal(answers[1], answers[3])


@torch.inference_mode()
def test_the_model_is_as_it_was_after_a_call_that_fails_too(
    components: Components, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dict(components.unet.attn_processors)
    forwards = {name: module.__dict__.get("forward") for name, module in components.unet.named_modules()}
    memory, calls = TextCache(), [a_call(components, some_text(components, 1), 1)]
    call_unet(components, calls, memory)

    def broken(*_: object) -> None:
        raise RuntimeError("in the U-Net")

    with monkeypatch.context() as patch:
        patch.setattr(components.unet.conv_out, "forward", broken)
        with pytest.raises(RuntimeError, match="in the U-Net"):
            call_unet(components, calls, memory)
    assert dict(components.unet.attn_processors) == before
    assert {name: module.__dict__.get("forward") for name, module in components.unet.named_modules()} == forwards


@torch.inference_mode()
def test_what_is_forgotten_is_freed(components: Components, counted: Counter[str]) -> None:
    memory, calls = TextCache(), [a_call(components, some_text(components, 1), 1)]
    call_unet(components, calls, memory)
    memory.forget()
    assert not memory._projections
    assert memory._text is None
    call_unet(components, calls, memory)
    assert set(counted.values()) == {2}


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
    """By `--compile`. Whatever is put before one of its layers would have it compiled anew at every call."""
    memory = TextCache()
    embeds = some_text(components, 1)
    for number in range(3):
        call_unet(components, [a_call(components, embeds, number)], memory)
    assert compiled.frame_count == 1
    record = RecordMaps()
    recorded = call_unet(components, [replace(a_call(components, embeds, 1), edits=(record,))], memory)
    assert record.maps.groups
    assert compiled.frame_count == 1
    components.unet._compiled_call_impl = None
    assert torch.equal(recorded, call_unet(components, [a_call(components, embeds, 1)]))
