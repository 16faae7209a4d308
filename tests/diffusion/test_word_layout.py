"""The layout of a recorded run in a lane's call: the maps of its row, alone and beside other lanes, and the alignment
of two prompts' tokens."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from studio.diffusion.attention import RecordHeads
from studio.diffusion.components import Components
from studio.diffusion.denoisers import call_unet
from studio.diffusion.lane import Lane
from studio.diffusion.prompt import encode_prompts
from studio.diffusion.text_cache import TextCache
from studio.diffusion.tokens import token_table
from studio.diffusion.word_layout import LayoutMaps, RecordedRow, alignment_of
from tests.diffusion.test_attention_edits import a_call, a_lane, layers, plain


def entry(components: Components, words: str) -> Any:
    conditioning = encode_prompts(components, words, "", num_steps=3, guidance_scale=5.0)
    return token_table(components, conditioning.prompt, 3)[0]


@torch.inference_mode()
def test_the_prompts_row_attends_by_the_maps_of_the_first(components: Components) -> None:
    shares = torch.rand(77, 77, generator=torch.Generator().manual_seed(3))
    shares /= shares.sum(1, keepdim=True)
    call, other = a_call(components, 1, LayoutMaps(shares)), a_call(components, 2)
    answer = call_unet(components, [call])

    def change(seen: dict[str, Any]) -> torch.Tensor:
        maps = (seen["q"] @ seen["k"].transpose(2, 3) * seen["scale"]).softmax(-1)
        maps[-1] = maps[0] @ shares
        return maps @ seen["v"]

    with plain(components, change):
        expected = call_unet(components, [a_call(components, 1)])
    unedited = call_unet(components, [a_call(components, 1)])
    assert torch.allclose(answer, expected, atol=1e-5)
    assert not torch.allclose(answer[1], unedited[1], atol=1e-4)
    assert torch.equal(answer[0], unedited[0])
    together = call_unet(components, [other, call, other], TextCache())
    assert torch.allclose(together[2:4], answer, atol=1e-5)
    assert torch.allclose(together[:2], call_unet(components, [other]), atol=1e-5)
    record = RecordHeads(layers(components)[0])
    looked_at = call_unet(components, [a_call(components, 1, record, LayoutMaps(shares))])
    assert torch.equal(looked_at, answer)
    assert record.maps.weights is not None
    assert torch.allclose(record.maps.weights.sum(1), torch.ones(()), atol=1e-5)
    with pytest.raises(ValueError, match="an alignment of 5 tokens"):
        call_unet(components, [a_call(components, 1, LayoutMaps(shares[:5, :5]))])


def advance(components: Components, lane: Lane, texts: TextCache) -> torch.Tensor:
    lane.advance(call_unet(components, [lane.call()], texts))
    return lane.latents


@torch.inference_mode()
def test_a_recorded_row_is_in_its_evaluations_and_has_no_share_in_the_step(components: Components) -> None:
    """By its own maps at its own x_t a lane goes on as without them; the row is gone where it does not act."""
    lane, own = a_lane(components), a_lane(components)
    conditioning = encode_prompts(components, "a fox", "", num_steps=3, guidance_scale=5.0)
    x_t = own.call().sample[0].float()
    lane.recorded_row = RecordedRow({0: x_t}, conditioning, LayoutMaps(torch.eye(77)))
    texts = TextCache()
    for index in range(3):
        assert lane.rows == len(lane.call().sample) == len(lane.call().prompt_embeds) == (3 if index == 0 else 2)
        assert (lane.key == own.key) == (index > 0)
        assert lane.call().prompt_embeds is lane.call().prompt_embeds, "so that its keys and values are kept"
        assert torch.allclose(advance(components, lane, texts), advance(components, own, TextCache()), atol=1e-4)


def test_tokens_of_other_words_go_to_themselves_and_those_of_the_word_to_what_stands_there(
    components: Components,
) -> None:
    fox = entry(components, "a fox in snow")
    one = alignment_of(fox, entry(components, "a cat in snow"), "fox", 77)
    assert one is not None
    assert torch.equal(one, torch.eye(77))
    two = alignment_of(fox, entry(components, "a blue sea in snow"), "fox", 77)
    assert two is not None
    assert torch.equal(two.sum(1), torch.ones(77))
    assert two[2, 2:4].tolist() == [0.5, 0.5]
    assert [int(row.argmax()) for row in two[[0, 1, 3, 4, 5, 75, 76]]] == [0, 1, 4, 5, 6, 76, 76]
    back = alignment_of(entry(components, "a xyz in snow, xyz"), entry(components, "a fox in snow, fox"), "xyz", 77)
    assert back is not None
    assert (back[2:5, 2] == 1).all()  # three tokens, one place
    assert (back[8:11, 6] == 1).all()
    assert torch.equal(back.sum(1), torch.ones(77))
    long = alignment_of(fox, entry(components, "a cat in snow"), "fox", 154)
    assert long is not None
    assert torch.equal(long[77:, 77:], torch.eye(77))


@pytest.mark.parametrize(
    ("former", "words"),
    [
        ("a fox in snow", "a cat in the snow"),
        ("a fox in snow", "a cat in sea"),
        ("a cat in snow", "a sea in snow"),
        ("a fox" + " snow" * 73, "a blue sea" + " snow" * 73),
        ("a fox in snow", "a in snow"),
    ],
)
def test_prompts_that_differ_elsewhere_have_no_alignment(components: Components, former: str, words: str) -> None:
    assert alignment_of(entry(components, former), entry(components, words), "fox", 154) is None
