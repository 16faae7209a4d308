"""Pictures drawn beforehand are those that would have been drawn, with captions that the vocabulary reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.test_resume import TINY_AUTOENCODER, state_weights
from training import world_pictures
from training.budget import Budget
from training.encode_latents import encode
from training.tokenizer import load_tokenizer
from training.train_autoencoder import train
from training.workers import Workers
from training.world_pictures import WORDINGS, PictureFolder, draw, draw_pictures, tokenize, write_captions

COUNT, SEED = 8, 2


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(world_pictures, "PART", 4)
    monkeypatch.setattr("training.encode_latents.PART", 4)
    draw(tmp_path / "drawn", SEED, COUNT, processes=2)
    return tmp_path / "drawn"


def test_the_folder_has_what_would_have_been_drawn(folder: Path) -> None:
    stored = PictureFolder(folder)
    assert (stored.seed, stored.count) == (SEED, COUNT)
    np.testing.assert_array_equal(stored.pictures([0, 5, 7]), draw_pictures(SEED, [0, 5, 7]))
    np.testing.assert_array_equal(stored.pictures([COUNT + 3], crop=64), draw_pictures(SEED, [3], crop=64))
    tokens = torch.from_numpy(stored.part(1)[1])
    wanted = tokenize(load_tokenizer(folder / "tokenizer"), write_captions(SEED, 4))
    assert len(wanted) == WORDINGS
    torch.testing.assert_close(tokens[0].long(), wanted)


def test_another_world_is_not_mixed_in_and_a_missing_part_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="another world than --seed 3"):
        draw(folder, 3, COUNT, processes=1)
    (folder / "0001.pictures.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"0001\.pictures\.npy did not come"):
        PictureFolder.wait_for(folder / "0001.pictures.npy", patience=0.1)


def test_an_autoencoder_learns_and_latents_are_the_same_from_the_folder(folder: Path, tmp_path: Path) -> None:
    budget = Budget(learning_rate=1e-3, warmup=2, steps=2)
    train(Workers(), TINY_AUTOENCODER, budget, tmp_path / "read", drawn_in=folder)
    assert state_weights(tmp_path / "read", "vae")
    read = encode(tmp_path / "read", tmp_path / "read.pt", COUNT, SEED, 1, folder=folder)
    made = encode(tmp_path / "read", tmp_path / "made.pt", COUNT, SEED, 1)
    assert read.tokens is not None
    assert made.tokens is not None
    torch.testing.assert_close(read.tokens, made.tokens)
    torch.testing.assert_close(read.latents, made.latents)
    assert read.vocabulary == made.vocabulary != 0
