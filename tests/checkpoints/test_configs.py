"""What ships with the project so that a lone file loads offline: CLIP's vocabulary and the families' configs."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from studio.families.configs import clip_tokenizer
from studio.families.registry import FAMILIES


def test_the_vocabulary_is_clips() -> None:
    tokenizer = clip_tokenizer("<|endoftext|>", 77)
    assert len(tokenizer) == 49408
    assert tokenizer("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert tokenizer("Hello, WORLD!").input_ids == [49406, 3306, 267, 1002, 256, 49407]


@pytest.mark.parametrize(
    "text", ["café 🍎 naïve", "été", "👩‍👩‍👧 family", "日本の猫", "it's 3.5 o'clock <|endoftext|>", "", "\u202e x"]
)
def test_it_tokenises_as_a_saved_clip_tokenizer(tmp_path: Path, text: str) -> None:
    tokenizer = clip_tokenizer("<|endoftext|>", 77)
    tokenizer.save_pretrained(tmp_path)
    saved = CLIPTokenizer.from_pretrained(tmp_path, local_files_only=True)
    assert tokenizer(text).input_ids == saved(text).input_ids
    assert tokenizer(text).input_ids[0] == 49406


@pytest.mark.parametrize(
    ("family", "part", "pad"),
    [
        ("sd1", "tokenizer", 49407),
        ("sd2", "tokenizer", 0),
        ("sdxl", "tokenizer", 49407),
        ("sdxl", "tokenizer_2", 0),
        ("sdxl_refiner", "tokenizer_2", 0),
    ],
)
def test_each_encoder_is_padded_as_it_was_trained(family: str, part: str, pad: int) -> None:
    encoder = next(one for one in FAMILIES[family].text_encoders if one.tokenizer == part)
    assert clip_tokenizer(encoder.pad_token, 77).pad_token_id == pad
