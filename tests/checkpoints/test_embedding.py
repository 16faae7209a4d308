"""Embeddings of every form stand in prompts as diffusers' own do; the grammar of their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file

from studio.checkpoints.embedding_file import load_embedding
from studio.checkpoints.inspect import BadCheckpoint
from studio.diffusion.chunks import chunks_of
from studio.diffusion.embeddings import Embedding, split_by_words
from studio.diffusion.prompt import encode_prompts
from studio.diffusion.tokens import tokenize
from tests.checkpoints.test_lora import components


class Embeddings:
    def __init__(self, *embeddings: Embedding) -> None:
        self._by_name: Mapping[str, Embedding] = {e.word: e for e in embeddings}

    @property
    def names(self) -> Sequence[str]:
        return tuple(self._by_name)

    def embedding(self, name: str) -> Embedding:
        return self._by_name[name]

    def of_models(self, models: Sequence[str] | None) -> Embeddings:
        return self

    def of_others(self, text: str) -> Sequence[tuple[str, str]]:
        return ()


def a_word(word: str, count: int, width: int = 64) -> Embedding:
    return Embedding(word, (torch.randn(count, width, generator=torch.Generator().manual_seed(count)),))


@pytest.mark.parametrize("form", ["a1111", "diffusers"])
def test_sd1_embeddings_do_what_diffusers_does_with_them(tmp_path: Path, form: str) -> None:
    tiny = components()
    vectors = torch.randn(3 if form == "a1111" else 1, 64, generator=torch.Generator().manual_seed(1))
    path = tmp_path / "mytoy.safetensors"
    save_file({"emb_params": vectors} if form == "a1111" else {"<mytoy>": vectors[0].clone()}, path)
    tiny.words = Embeddings(load_embedding(path, tiny))
    said = encode_prompts(tiny, "a photo of mytoy in the snow, mytoy", "", num_steps=2, guidance_scale=1.0)
    pipeline = StableDiffusionPipeline(
        vae=tiny.vae, text_encoder=tiny.part("text_encoder"),
        tokenizer=tiny.text_encoders[0].tokenizer, unet=tiny.unet, scheduler=None,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    tiny.words = None
    pipeline.load_textual_inversion({"mytoy": vectors} if form == "a1111" else {"mytoy": vectors[0]}, token="mytoy")
    theirs, _ = pipeline.encode_prompt("a photo of mytoy in the snow, mytoy", "cpu", 1, False)
    assert torch.allclose(said.at(0)[0], theirs, atol=1e-5), (said.at(0)[0] - theirs).abs().max()


def test_sdxl_has_a_set_for_each_encoder(tmp_path: Path) -> None:
    xl = components("sdxl")
    both = {"clip_l": torch.randn(2, 64), "clip_g": torch.randn(2, 128)}
    save_file(both, tmp_path / "style.safetensors")
    xl.words = Embeddings(load_embedding(tmp_path / "style.safetensors", xl))
    with_word = encode_prompts(xl, "a style fox", "", num_steps=2, guidance_scale=1.0)
    xl.words = None
    without = encode_prompts(xl, "a style fox", "", num_steps=2, guidance_scale=1.0)
    difference = (with_word.at(0)[0] - without.at(0)[0]).abs().amax(dim=1)[0]
    assert float(difference[:64].max()) > 0.01
    assert float(difference[64:].max()) > 0.01
    assert not torch.equal(with_word.at(0)[1]["text_embeds"], without.at(0)[1]["text_embeds"])
    save_file({"emb_params": torch.randn(2, 64)}, tmp_path / "half.safetensors")
    with pytest.raises(BadCheckpoint, match=r"half\.safetensors does not fit tiny.*64 wide, 64 and 128 are needed"):
        load_embedding(tmp_path / "half.safetensors", xl)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("a cat by toy", ["a cat by ", "toy"]),
        ("Toy, toy", ["toy", ", ", "toy"]),
        ("toys atoy my-toy", ["toys atoy my-toy"]),
        ("embedding:toy.", ["toy", "."]),
        ("toy two", ["toy two"]),
        ("", []),
    ],
)
def test_names_are_words_of_their_own_and_the_longest_wins(text: str, pieces: list[str]) -> None:
    known = Embeddings(a_word("toy", 1), a_word("toy two", 2))
    found = [piece.word if isinstance(piece, Embedding) else piece for piece in split_by_words(text, known)]
    assert found == pieces


def test_an_embedding_is_never_torn_apart() -> None:
    tiny = components()
    known = Embeddings(a_word("toy", 6))
    chunks = chunks_of(tiny.text_encoders[0].tokenizer, "cat " * 72 + "toy dog", 75, known)
    assert [len(chunk.tokens) for chunk in chunks] == [72, 7]
    assert [p.position for p in chunks[1].vectors] == [0, 1, 2, 3, 4, 5]
    weighted = chunks_of(tiny.text_encoders[0].tokenizer, "a (toy:1.3) dog", 75, known)[0]
    assert weighted.weights == (1.0, *[1.3] * 6, 1.0)
    tiny.words = known
    told = tokenize(tiny, "a toy dog")
    assert (told.count, told.pieces[:2]) == (8, ("a", "toy"))


def test_vectors_that_are_no_numbers_are_named_before_a_run(tmp_path: Path) -> None:
    save_file({"emb_params": torch.full((2, 64), float("nan"))}, tmp_path / "toy.safetensors")
    with pytest.raises(BadCheckpoint, match=r"toy\.safetensors holds values that are not numbers"):
        load_embedding(tmp_path / "toy.safetensors", components())
