"""What the U-Net's training shows: some captions dropped, as guidance needs; plain objects for the empty prompt."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch

from tests.training.latents_files import save_some_latents
from training.coupling import ALONE, load_coupling, make_coupling, save_coupling
from training.encode_latents import CachedLatents
from training.state import save_state
from training.train_unet import UnetConfig, load_all_latents
from training.unet_batches import CAPTIONLESS_FROM, UnetBatch, UnetBatches, choose_tokens, plain_objects
from training.world import OBJECTS, draw_scene

SEED, COUNT = 3, 6000  # so many that every object is there, big and alone
EMPTY = torch.full((77,), -1, dtype=torch.int16)


def wordings(count: int) -> torch.Tensor:
    """Captions that tell whose they are: row r's are filled with 5 r, 5 r + 1, ... (the empty one with -1)."""
    numbers = torch.arange(4)[None, :, None] + 5 * torch.arange(count)[:, None, None]
    return numbers.expand(count, 4, 77).to(torch.int16)


@cache  # each call draws up the world again, and nothing here changes what it gives
def batches(**shares: float) -> UnetBatches:
    """Batches of 256 of pictures whose latents are, on the average, their own number."""
    latents = torch.randn(COUNT, 4, 16, 16) * 0.1 + torch.arange(COUNT).view(-1, 1, 1, 1)
    cached = CachedLatents(latents, SEED, 1.0, wordings(COUNT))
    config = UnetConfig(batch=256, **shares)  # type: ignore[arg-type]
    return UnetBatches([cached], EMPTY, torch.ones(1000), config, torch.device("cpu"))


def pictures(batch: UnetBatch) -> torch.Tensor:
    """Their numbers, (B,)."""
    return batch.latents.mean(dim=(1, 2, 3)).round().long()


def test_what_is_dropped_is_the_empty_caption_and_the_rest_are_wordings_of_their_own_picture() -> None:
    shares = torch.cat([torch.zeros(100), torch.full((50,), 0.5), torch.ones(50)])
    chosen = choose_tokens(wordings(200), EMPTY, shares, torch.Generator().manual_seed(1))
    assert chosen.dtype == torch.int64
    first = chosen[:, 0]
    assert (chosen == first[:, None]).all()
    assert (first[:100] // 5 == torch.arange(100)).all()
    assert set((first[:100] % 5).tolist()) == {0, 1, 2, 3}
    assert 10 < int((first[100:150] == -1).sum()) < 40
    assert (first[150:] == -1).all()


def test_plain_objects_are_single_big_ones_in_no_style() -> None:
    names = list(OBJECTS)
    numbers = plain_objects(SEED, 300).tolist()
    for index, number in enumerate(numbers):
        scene = draw_scene(SEED, index)
        if len(scene.objects) == 1 and scene.objects[0].size == "big" and scene.style == "plain":
            assert names[number] == scene.objects[0].name
        else:
            assert number == ALONE
    assert any(number != ALONE for number in numbers)


def test_a_share_of_a_batch_is_plain_objects_without_a_caption() -> None:
    plain = plain_objects(SEED, COUNT) != ALONE
    batch = batches(unprompted=0.5, caption_dropout=0.0).draw(0, range(256))
    shown = pictures(batch)
    empty = batch.tokens[:, 0] == -1
    assert 90 < int(empty.sum()) < 166
    assert plain[shown[empty]].all()
    assert (batch.tokens[~empty, 0] // 5 == shown[~empty]).all()


def test_where_the_empty_prompt_decides_it_sees_plain_objects_with_coupled_noise_alone() -> None:
    batch = batches(unprompted=0.5, caption_dropout=0.5).draw(0, range(256))
    empty = batch.tokens[:, 0] == -1
    assert (batch.timesteps[batch.unprompted] >= CAPTIONLESS_FROM).all()
    assert torch.equal(empty & (batch.timesteps >= CAPTIONLESS_FROM), batch.unprompted)
    others = empty & ~batch.unprompted
    assert 10 < int(others.sum()) < 50  # below, any picture may go without its caption


def test_plain_objects_may_be_shown_below_that_as_well() -> None:
    batch = batches(unprompted=0.5, caption_dropout=0.0, unprompted_from=100).draw(0, range(256))
    low = batch.timesteps < CAPTIONLESS_FROM
    assert 20 < int((low & batch.unprompted).sum()) < 64  # a third of about 128
    assert (batch.timesteps[batch.unprompted] >= 100).all()
    assert torch.equal(batch.tokens[:, 0] == -1, batch.unprompted)


def test_rows_are_the_same_for_any_number_of_processes() -> None:
    some = batches(unprompted=0.5)
    whole, half = some.draw(3, range(256)), some.draw(3, range(128, 256))
    for all_rows, later_rows in zip(whole, half, strict=True):
        assert torch.equal(all_rows[128:], later_rows)


def test_without_a_share_each_epoch_shows_every_picture_once() -> None:
    shown = torch.cat([pictures(batches().draw(step, range(256))) for step in range(COUNT // 256)])
    assert len(set(shown.tolist())) == len(shown)


def test_several_files_are_shown_as_one_each_with_its_own_world() -> None:
    halves = [
        CachedLatents(torch.full((60, 4, 16, 16), float(seed)), seed, 1.0, torch.full((60, 4, 77), seed).short())
        for seed in (3, 4)
    ]
    config = UnetConfig(batch=120, caption_dropout=0.0)
    batch = UnetBatches(halves, EMPTY, torch.ones(1000), config, torch.device("cpu")).draw(0, range(120))
    assert torch.equal(batch.latents[:, 0, 0, 0], batch.tokens[:, 0].float())
    assert int((batch.tokens[:, 0] == 4).sum()) == 60


def test_latents_of_two_autoencoders_or_of_the_same_pictures_are_refused(tmp_path: Path) -> None:
    first = save_some_latents(tmp_path / "first")
    other, next_world = tmp_path / "other.pt", tmp_path / "next.pt"
    state = torch.load(first, weights_only=True)
    save_state(other, {**state, "scaling_factor": 0.25})
    save_state(next_world, {**state, "seed": state["seed"] + 1})
    vocabulary = tmp_path / "first" / "vocabulary"
    assert len(load_all_latents([first, next_world], vocabulary)) == 2
    with pytest.raises(ValueError, match="another autoencoder"):
        load_all_latents([first, other], vocabulary)
    with pytest.raises(ValueError, match="the same pictures twice"):
        load_all_latents([first, first], vocabulary)


def test_coupled_noise_is_its_objects_own_and_stays_normal() -> None:
    generator = torch.Generator().manual_seed(1)
    objects = torch.arange(450) % 9 - 1  # eight objects, and pictures with none
    means = torch.randn(9, 4, 8, 8, generator=generator) * torch.linspace(0.5, 2, 9).view(-1, 1, 1, 1)
    coupling = make_coupling(means[objects] + torch.randn(450, 4, 8, 8, generator=generator), objects, 8)
    noise = torch.randn(900, 4, 8, 8, generator=generator)
    asked = torch.arange(900) % 9 - 1
    some = asked != ALONE
    rounds = [coupling.apply(noise, asked, generator) for _ in range(20)]
    # 100 noises of each object are asked for and POOL drawn: the rest stay as they were.
    changed = (rounds[0] != noise).flatten(1).any(dim=1)
    assert not changed[~some].any()
    assert torch.equal(coupling.owners(rounds[0][changed]), asked[changed])
    # Of all objects together the noise is still N(0, I), along the means as well as across them.
    coupled = torch.cat([one[changed] for one in rounds])
    along = coupled.flatten(1) @ torch.nn.functional.normalize(coupling.means, dim=1).T
    assert along.mean(dim=0).abs().max() < 0.1
    assert (along.std(dim=0) - 1).abs().max() < 0.05
    assert (coupled.std() - 1).abs() < 0.01


def test_every_object_owns_as_much_noise_however_faint_it_is() -> None:
    generator = torch.Generator().manual_seed(1)
    means = torch.randn(16, 4, 8, 8, generator=generator) * torch.linspace(0.3, 3, 16).view(-1, 1, 1, 1)
    coupling = make_coupling(means, torch.arange(16), 16)
    owned = torch.bincount(coupling.owners(torch.randn(20000, 4, 8, 8, generator=generator)), minlength=16)
    assert owned.min() > 0.8 * 20000 / 16
    assert owned.max() < 1.2 * 20000 / 16


def test_a_coupling_is_kept_with_the_weights_that_learned_it(tmp_path: Path) -> None:
    made = batches(unprompted=0.5).coupling
    assert made is not None
    (tmp_path / "run").mkdir()
    save_coupling(made, tmp_path / "run")
    kept = load_coupling(tmp_path / "none", None, tmp_path / "run")
    assert kept is not None
    assert torch.equal(kept.means, made.means)
    assert torch.equal(kept.prices, made.prices)
    assert load_coupling(tmp_path / "none") is None


def test_a_coupling_needs_a_picture_of_every_object() -> None:
    with pytest.raises(ValueError, match="pictures of each of 4"):
        make_coupling(torch.randn(4, 4, 2, 2), torch.tensor([0, 1, 1, ALONE]), 4)
