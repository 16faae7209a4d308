"""Which captions the U-Net's training drops: classifier-free guidance needs some of every kind of picture."""

from __future__ import annotations

import torch

from training.train_unet import UnetConfig, choose_tokens, dropout_shares
from training.world import draw_scene, is_plain_single

SEED, COUNT = 3, 300


def test_pictures_of_one_plain_object_lose_their_caption_by_their_own_share() -> None:
    shares = dropout_shares(UnetConfig(caption_dropout=0.1, plain_single_dropout=0.7), SEED, COUNT)
    scenes = [draw_scene(SEED, index) for index in range(COUNT)]
    for scene, share in zip(scenes, shares.tolist(), strict=True):
        plain = len(scene.objects) == 1 and scene.objects[0].size in ("normal", "big") and scene.style == "plain"
        assert is_plain_single(scene) == plain
        assert abs(share - (0.7 if plain else 0.1)) < 1e-6
    assert 60 < sum(map(is_plain_single, scenes)) < 140  # a third of the world


def test_without_a_share_of_their_own_all_pictures_are_alike() -> None:
    assert set(dropout_shares(UnetConfig(caption_dropout=0.25), SEED, 20).tolist()) == {0.25}


def test_what_is_dropped_is_the_empty_caption_and_the_rest_are_wordings_of_their_own_picture() -> None:
    # Row r's wordings are filled with 10 r, 10 r + 1, ...; the empty caption with -1.
    wordings = torch.arange(4)[None, :, None] + 10 * torch.arange(1, 201)[:, None, None]
    tokens = wordings.expand(200, 4, 77).to(torch.int16)
    empty = torch.full((77,), -1, dtype=torch.int16)
    shares = torch.cat([torch.zeros(100), torch.full((50,), 0.5), torch.ones(50)])
    chosen = choose_tokens(tokens, empty, shares, torch.Generator().manual_seed(1))
    assert chosen.dtype == torch.int64
    first = chosen[:, 0]
    assert (chosen == first[:, None]).all()
    assert (first[:100] // 10 == torch.arange(1, 101)).all()
    assert set((first[:100] % 10).tolist()) == {0, 1, 2, 3}
    assert 10 < int((first[100:150] == -1).sum()) < 40
    assert (first[150:] == -1).all()
