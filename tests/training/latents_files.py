"""Small files as `encode_latents` writes them, of latents that no picture has."""

from __future__ import annotations

from pathlib import Path

import torch

from training.state import save_state
from training.tokenizer import ensure_tokenizer, load_tokenizer, vocabulary_checksum
from training.world_pictures import caption_tokens


def save_some_latents(folder: Path, count: int = 12) -> Path:
    """Random latents with the captions of pictures 0 ... count-1 of world 2."""
    ensure_tokenizer(folder / "vocabulary")
    state = {
        "latents": torch.randn(count, 4, 16, 16).half(),
        "seed": 2,
        "scaling_factor": 0.5,
        "tokens": torch.from_numpy(caption_tokens(load_tokenizer(folder / "vocabulary"), 2, range(count))),
        "vocabulary": vocabulary_checksum(folder / "vocabulary"),
    }
    save_state(folder / "latents.pt", state)
    return folder / "latents.pt"
