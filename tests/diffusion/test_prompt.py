"""The chunks of a prompt, and what the text encoder gives for them."""

from __future__ import annotations

import pytest
import torch

from studio.asked.emphasis import EmphasisName
from studio.asked.problems import InvalidRequest
from studio.asked.prompt import parse_prompt
from studio.diffusion.chunks import chunks_of
from studio.diffusion.components import Components
from studio.diffusion.guidance import composed, guide
from studio.diffusion.prompt import Conditioning, apply_weights, encode_prompts
from studio.diffusion.tokens import tokenize

# ---------------------------------------------------------------------------------------------------------- chunks


def sizes(components: Components, text: str) -> list[int]:
    return [len(chunk.tokens) for chunk in chunks_of(components.text_encoders[0].tokenizer, text, 75)]


def test_a_chunk_has_75_tokens_and_nothing_is_cut_off(components: Components) -> None:
    assert sizes(components, "") == [0]
    assert sizes(components, "fox " * 75) == [75]
    assert sizes(components, "fox " * 76) == [75, 1]
    assert sizes(components, "fox " * 10_000) == [75] * 133 + [25]


def test_an_overflowing_chunk_ends_at_a_near_comma(components: Components) -> None:
    near = "fox " * 59 + ", " + "cat " * 30  # the comma is token 60, followed by 15 until the chunk is full
    assert sizes(components, near) == [60, 30]
    far = "fox " * 54 + ", " + "cat " * 30  # 20 tokens follow the comma at token 55
    assert sizes(components, far) == [75, 10]
    assert sizes(components, "fox " * 74 + ", " + "cat") == [75, 1]
    assert sizes(components, "fox " * 75 + ", " + "cat") == [75, 2]


def test_break_closes_a_chunk(components: Components) -> None:
    assert sizes(components, "a red fox BREAK snow") == [3, 1]
    assert sizes(components, "BREAK snow BREAK") == [0, 1]


def test_weights_follow_their_tokens(components: Components) -> None:
    (chunk,) = chunks_of(components.text_encoders[0].tokenizer, "a (red fox:1.5), [snow]", 75)
    assert chunk.weights == pytest.approx((1, 1.5, 1.5, 1, 1 / 1.1))


def test_tokens_are_shown_as_text(components: Components) -> None:
    shown = tokenize(components, "a (Red fox:1.3), [snow:sea:0.5]")
    assert shown.pieces == ("a", "red", "fox", ",", "snow")
    assert (shown.count, shown.chunks) == (5, 1)
    assert tokenize(components, "fox " * 80).chunks == 2
    assert tokenize(components, "🦊 ثعلب 狐").count > 0


# -------------------------------------------------------------------------------------------------------- encoding


def negative_count(found: Conditioning) -> int:
    return found.negative_prompt.count if found.negative_prompt is not None else 0


def encode(components: Components, prompt: str, negative: str = "", steps: int = 10, scale: float = 5) -> Conditioning:
    return encode_prompts(components, prompt, negative, num_steps=steps, guidance_scale=scale)


@torch.inference_mode()
def encoded_plainly(components: Components, text: str) -> torch.Tensor:
    """(1, 77, dim) as diffusers' pipeline encodes a prompt."""
    ids = (
        components.text_encoders[0]
        .tokenizer(text, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
        .input_ids
    )
    result: torch.Tensor = components.part("text_encoder")(ids)[0]
    return result


def test_a_plain_prompt_is_encoded_as_diffusers_encodes_it(components: Components) -> None:
    embeds, added = encode(components, "a red fox", "the sea").at(0)
    assert torch.equal(embeds[1:], encoded_plainly(components, "a red fox"))
    assert torch.equal(embeds[:1], encoded_plainly(components, "the sea"))
    assert not added


def test_without_guidance_there_is_one_branch(components: Components) -> None:
    found = encode(components, "a red fox", "never read", scale=1.0)
    assert torch.equal(found.at(0)[0], encoded_plainly(components, "a red fox"))
    assert (found.prompt.count, negative_count(found)) == (3, 0)


def test_the_shorter_prompt_is_filled_up_with_empty_chunks(components: Components) -> None:
    found = encode(components, "fox " * 100, "sea")
    embeds, _ = found.at(0)
    assert embeds.shape[:2] == (2, 154)
    assert torch.equal(embeds[:1, 77:], encoded_plainly(components, ""))
    assert (found.prompt.count, negative_count(found), found.chunks) == (100, 1, 2)


def test_long_prompts_are_chunks_side_by_side(components: Components) -> None:
    embeds, _ = encode(components, "fox " * 75 + "cat").at(0)
    assert torch.allclose(embeds[1:, :77], encoded_plainly(components, "fox " * 75), atol=1e-6)
    assert torch.allclose(embeds[1:, 77:], encoded_plainly(components, "cat"), atol=1e-6)


def test_prompt_scheduling_changes_the_embeddings_at_its_step(components: Components) -> None:
    found = encode(components, "a [fox:cat:0.3] in snow")
    fox, cat = encoded_plainly(components, "a fox in snow"), encoded_plainly(components, "a cat in snow")
    for step in range(10):
        assert torch.equal(found.at(step)[0][1:], fox if step < 3 else cat), step
        assert torch.equal(found.at(step)[0][:1], encoded_plainly(components, ""))


def test_both_prompts_may_be_scheduled_and_keep_one_shape(components: Components) -> None:
    found = encode(components, "[fox:" + "cat " * 80 + ":4]", "[sea|snow]")
    assert {tuple(found.at(step)[0].shape) for step in range(10)} == {(2, 154, 8)}
    assert torch.equal(found.at(4)[0][:1, :77], found.at(6)[0][:1, :77])
    assert not torch.equal(found.at(4)[0][:1, :77], found.at(5)[0][:1, :77])


def test_prompt_scheduling_that_would_encode_for_minutes_is_refused(components: Components) -> None:
    long = "red fox snow " * 500
    with pytest.raises(InvalidRequest, match=r"prompt: .*at most 1200 chunks"):
        encode(components, " ".join(f"[x:y:{k}]" for k in range(1, 150)) + long, steps=150)
    # Long alone, or scheduled alone, is no reason.
    assert encode(components, long).chunks == 20
    assert len(encode(components, " ".join(f"[x:y:{k}]" for k in range(1, 10))).entries) == 10


def test_weights_scale_embeddings_and_restore_the_mean() -> None:
    embeds = torch.randn(2, 77, 8, generator=torch.Generator().manual_seed(1)) + 1
    weights = torch.ones(2, 77)
    weights[0, 3] = 1.5
    found = apply_weights(embeds, weights)
    assert torch.equal(found[1], embeds[1])
    assert float(found[0].mean()) == pytest.approx(float(embeds[0].mean()), rel=1e-5)
    expected = embeds[0] * weights[0, :, None]
    expected *= embeds[0].mean() / expected.mean()
    assert torch.allclose(found[0], expected, rtol=1e-6)


def test_without_norm_the_mean_is_not_restored(components: Components) -> None:
    embeds = torch.randn(1, 77, 8, generator=torch.Generator().manual_seed(1)) + 1
    weights = torch.ones(1, 77)
    weights[0, 3] = 1.5
    assert torch.equal(apply_weights(embeds, weights, restores_mean=False), embeds * weights[..., None])
    weights = torch.ones(1, 77)
    weights[0, 2] = 1.5
    expected = encoded_plainly(components, "a red fox") * weights[..., None]
    assert torch.allclose(embeds_of(components, "a (red:1.5) fox", "no_norm"), expected, atol=1e-6)


def test_comfyui_s_weights_lead_from_the_empty_prompt(components: Components) -> None:
    plain, empty = encoded_plainly(components, "a red fox"), encoded_plainly(components, "")
    weighted = embeds_of(components, "a (red:1.5) fox", "comfyui")
    assert torch.allclose(weighted[0, 2], empty[0, 2] + 1.5 * (plain[0, 2] - empty[0, 2]), atol=1e-6)
    assert torch.equal(weighted[:, 3:], plain[:, 3:])
    assert torch.equal(weighted[:, :2], plain[:, :2])
    assert torch.equal(embeds_of(components, "a red fox", "comfyui"), plain)
    assert not torch.equal(embeds_of(components, "a [red] fox", "comfyui"), embeds_of(components, "a [red] fox"))


def embeds_of(components: Components, text: str, emphasis: EmphasisName = "original") -> torch.Tensor:
    prompt = parse_prompt(text, emphasis=emphasis)
    return encode_prompts(components, prompt, "", num_steps=1, guidance_scale=1.0).at(0)[0]


def test_weights_of_nothing_stay_finite(components: Components) -> None:
    assert bool(torch.isfinite(apply_weights(torch.ones(1, 77, 8), torch.zeros(1, 77))).all())
    assert bool(torch.isfinite(encode(components, "(fox:-0) (cat:99999999)").at(0)[0]).all())


def test_a_tokenizer_of_a_whole_chunk_knows_its_length(components: Components) -> None:
    assert components.text_encoders[0].tokenizer.model_max_length == components.positions == components.chunk_tokens + 2


@torch.inference_mode()
@pytest.mark.parametrize("scale", [1.0, 5.0])
def test_and_asks_with_each_text_in_a_row_of_its_own(components: Components, scale: float) -> None:
    """u + sum of w_i * scale * (c_i - u), as a plain loop over the texts has it."""
    found = encode(components, "a fox AND a cat :-0.5 AND snow:0.7", "the sea", scale=scale)
    texts = ["the sea", " snow", " a cat", "a fox "]
    assert torch.equal(found.at(0)[0], torch.cat([encoded_plainly(components, text) for text in texts]))
    assert (found.weights, found.rows) == ((0.7, -0.5, 1.0), 4)
    outputs = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    expected = outputs[0].clone()
    for weight, row in zip((0.7, -0.5, 1.0), outputs[1:]):
        expected += (row - outputs[0]) * (weight * scale)
    guided = guide(torch.cat([outputs[:1], composed(outputs, found.weights)]), scale)
    assert torch.allclose(guided[0], expected, atol=1e-5)


def test_and_parts_have_schedules_of_their_own(components: Components) -> None:
    found = encode(components, "[fox:cat:5] AND [sea|snow]")
    assert torch.equal(found.at(4)[0][2:], encoded_plainly(components, "fox "))
    assert torch.equal(found.at(5)[0], torch.cat([encoded_plainly(components, t) for t in ("", " snow", "cat ")]))
    assert len(found.entries) == 10
