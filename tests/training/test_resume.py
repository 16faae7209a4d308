"""A run that is killed and started again goes on with the same curve; a run may also start from committed weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.training.latents_files import save_some_latents
from training.budget import Budget
from training.encode_latents import load_latents
from training.state import save_state
from training.tokenizer import ensure_tokenizer
from training.train_autoencoder import AutoencoderConfig
from training.train_autoencoder import train as train_autoencoder
from training.train_unet import UnetConfig
from training.train_unet import train as train_unet
from training.workers import Workers

TINY_AUTOENCODER = AutoencoderConfig(
    block_out_channels=(8, 8, 8, 8), norm_num_groups=4, batch=4, crop=64, warmup=2, whole_share=0.5
)
TINY_UNET = UnetConfig(
    text_width=16,
    text_layers=1,
    text_heads=2,
    text_inner=16,
    block_out_channels=(8, 8, 16),
    attention_heads=2,
    norm_num_groups=4,
    batch=4,
    warmup=2,
)


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


class DyingWorkers(Workers):
    """Dies at the exchange number `deadline`."""

    def __init__(self, deadline: int) -> None:
        super().__init__()
        self.left = deadline

    def average(self, parameters: object, *numbers: float) -> list[float]:  # type: ignore[override]
        if self.left == 0:
            raise Killed
        self.left -= 1
        return list(numbers)


@pytest.fixture
def budget() -> Budget:
    return Budget(learning_rate=1e-3, warmup=2, steps=6)


def state_weights(folder: Path, key: str) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = torch.load(folder / "state.pt", weights_only=True)[key]
    return weights


def test_unet_run_killed_in_the_middle_gives_the_samestate_weights(tmp_path: Path, budget: Budget) -> None:
    latents = save_some_latents(tmp_path)

    def run(workers: Workers, name: str) -> None:
        ensure_tokenizer(tmp_path / name / "tokenizer")
        train_unet(workers, TINY_UNET, budget, tmp_path / name, [latents], save_every=2)

    run(Workers(), "whole")
    with pytest.raises(Killed):
        run(DyingWorkers(5), "broken")  # one step after the last save
    run(Workers(), "broken")
    for key in ("weights", "optimizer"):
        torch.testing.assert_close(
            state_weights(tmp_path / "broken", key), state_weights(tmp_path / "whole", key), rtol=0, atol=0
        )
    assert state_weights(tmp_path / "broken", "average")["updates"] == 6


def test_autoencoder_run_killed_in_the_middle_gives_the_samestate_weights(tmp_path: Path, budget: Budget) -> None:
    def run(workers: Workers, name: str) -> None:
        train_autoencoder(workers, TINY_AUTOENCODER, budget, tmp_path / name, save_every=2)

    run(Workers(), "whole")
    with pytest.raises(Killed):
        run(DyingWorkers(5), "broken")
    run(Workers(), "broken")
    torch.testing.assert_close(
        state_weights(tmp_path / "broken", "vae"), state_weights(tmp_path / "whole", "vae"), rtol=0, atol=0
    )
    config = json.loads((tmp_path / "whole" / "config.json").read_text())
    assert config["block_out_channels"] == [8, 8, 8, 8]


def test_two_workers_together_take_the_rows_of_one() -> None:
    rows = [Workers(rank, 2).rows(6) for rank in range(2)]
    assert [*rows[0], *rows[1]] == list(Workers().rows(6))
    with pytest.raises(ValueError, match="7 cannot be shared"):
        Workers(0, 2).rows(7)


def test_every_epoch_goes_once_through_all_pictures(tmp_path: Path) -> None:
    cached = load_latents(save_some_latents(tmp_path))
    drawn = [index for step in range(3) for index in cached.draw(4, step, seed=1)]
    assert sorted(drawn) == list(range(12))


def test_a_state_is_replaced_whole(tmp_path: Path) -> None:
    save_state(tmp_path / "state.pt", {"step": 1})
    (tmp_path / "state.partial").write_bytes(b"half of a newer st")  # what kill -9 leaves
    assert torch.load(tmp_path / "state.pt", weights_only=True) == {"step": 1}


def test_budget_by_hours_follows_the_clock() -> None:
    budget = Budget(learning_rate=1.0, warmup=10, hours=1.0)
    assert budget.rate(4, 0.0) == pytest.approx(0.5)
    assert budget.rate(1000, 1800.0) == pytest.approx(0.5)
    assert budget.is_spent(0, 3600.0)
    with pytest.raises(ValueError, match="either steps or hours"):
        Budget(learning_rate=1.0, warmup=1)
