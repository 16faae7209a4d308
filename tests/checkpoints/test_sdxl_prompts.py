"""SDXL's two encoders are given the same tokens in the same chunks, cut by the first tokenizer alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from studio.checkpoints import loader
from studio.checkpoints.inspect import BadCheckpoint
from studio.diffusion.chunks import chunks_of
from studio.diffusion.prompt import encode_prompts
from studio.diffusion.tokens import tokenize
from tests.checkpoints.original import save_folder, tiny_family
from tests.checkpoints.test_lora import components

LONG = "a wow!!! café 🍎, (red:1.3) fox " * 14  # where "!" pads, the second tokenizer would cut "!!!" in three


def test_both_encoders_see_the_same_chunks() -> None:
    xl = components("sdxl")
    first, second = (tokenizer for tokenizer, _ in xl.encoders)
    assert len(second(LONG).input_ids) > len(first(LONG).input_ids), "left to itself the second would count more"
    chunks = len(chunks_of(first, LONG, xl.chunk_tokens))
    assert chunks > 1
    asked: list[torch.Tensor] = []
    hooks = [
        encoder.register_forward_pre_hook(lambda module, given: asked.append(given[0])) for _, encoder in xl.encoders
    ]
    said = encode_prompts(xl, LONG, "blurry", num_steps=1, guidance_scale=5.0)
    for hook in hooks:
        hook.remove()
    embeds, added = said.at(0)
    widths = sum(encoder.config.hidden_size for _, encoder in xl.encoders)
    assert embeds.shape == (2, 77 * chunks, widths)
    assert added["text_embeds"].shape[0] == 2
    assert said.chunks == tokenize(xl, LONG).chunks == chunks
    assert said.prompt.count == tokenize(xl, LONG).count
    for one, other in zip(asked[::2], asked[1::2]):  # the same but for the padding behind the end of the text
        end = torch.cumsum(one == first.eos_token_id, dim=1) > 0
        assert one.shape == other.shape
        assert torch.equal(one[~end], other[~end])


def test_and_has_the_pooled_embedding_of_each_text_beside_its_row() -> None:
    xl = components("sdxl")
    both = encode_prompts(xl, "a fox AND the sea :0.5", "blurry", num_steps=1, guidance_scale=5.0)
    alone = [encode_prompts(xl, text, "blurry", num_steps=1, guidance_scale=5.0) for text in ("the sea ", "a fox ")]
    embeds, added = both.at(0)
    assert (both.rows, both.weights) == (3, (0.5, 1.0))
    for row, one in enumerate(alone, start=1):
        own_embeds, own_added = one.at(0)
        assert torch.equal(embeds[row], own_embeds[1])
        assert torch.equal(added["text_embeds"][row], own_added["text_embeds"][1])
    assert torch.equal(added["text_embeds"][0], alone[0].at(0)[1]["text_embeds"][0])


def test_two_tokenizers_of_different_words_are_refused(tmp_path: Path) -> None:
    folder = save_folder(tmp_path / "xl", "sdxl", tiny_family("sdxl"))
    file = folder / "tokenizer_2" / "tokenizer.json"
    values = json.loads(file.read_text(encoding="utf-8"))
    words = values["model"]["vocab"]
    words["fox</w>"], words["cat</w>"] = words["cat</w>"], words["fox</w>"]
    file.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(BadCheckpoint, match="The tokenizers do not fit each other"):
        loader.load(
            folder, name="xl", device=torch.device("cpu"), dtype=torch.float32, progress=lambda message, fraction: None
        )
