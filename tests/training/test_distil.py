"""The few-step distillation at tiny size: what it learns from, that it goes on where it was, and what it writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file

from tests.training.test_resume import TINY_UNET, DyingWorkers, Killed
from training.budget import Budget
from training.distil import DistilConfig, averaged, distillation_loss, export, load_teacher, train
from training.ema import Average
from training.evaluation_prompts import draw_rows, steering_singles
from training.lora_weights import LoraWeights
from training.schedule import make_scheduler
from training.tokenizer import ensure_tokenizer, load_tokenizer
from training.train_unet import make_text_encoder, make_unet
from training.trajectories import LEVELS, Pool, draw_levels, draw_round, to_clean
from training.workers import Workers

TINY = DistilConfig(rank=3, teacher_steps=3, round_rows=2, steps_per_round=2, pool=2, batch=4, warmup=2)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    ensure_tokenizer(folder / "tokenizer")
    make_unet(TINY_UNET).save_pretrained(folder / "unet")
    make_text_encoder(TINY_UNET, load_tokenizer(folder / "tokenizer")).save_pretrained(folder / "text_encoder")
    return folder


@pytest.fixture
def budget() -> Budget:
    return Budget(learning_rate=1e-2, warmup=2, steps=6)


def test_at_first_the_student_is_the_teacher(checkpoint: Path) -> None:
    unet = load_teacher(checkpoint, TINY).unet
    student = LoraWeights(unet, rank=3, seed=1)
    arguments = torch.randn(2, 4, 16, 16), torch.tensor([10, 900]), torch.randn(2, 77, 16)
    assert torch.equal(student(*arguments), unet(*arguments, return_dict=False)[0])
    assert not any(parameter.requires_grad for parameter in unet.parameters())


def test_a_rank_of_nothing_is_refused(checkpoint: Path) -> None:
    with pytest.raises(ValueError, match="rank is 0"):
        LoraWeights(load_teacher(checkpoint, TINY).unet, rank=0, seed=1)


def test_a_round_is_what_the_teacher_comes_to(checkpoint: Path) -> None:
    """The last state of each run leads to the picture by one guided prediction, the first has pure noise at 999."""
    teacher = load_teacher(checkpoint, TINY)
    student = LoraWeights(teacher.unet, 3, 1)
    examples = draw_round(teacher, student, load_tokenizer(checkpoint / "tokenizer"), seed=5, number=1, rows=2)
    assert examples.noisy.shape == (8, 3, 4, 16, 16)
    assert examples.clean.shape == (8, 4, 16, 16)
    assert examples.timesteps[0, 0] == 999
    assert 0.8 < float(examples.noisy[0, 0].float().std()) < 1.2
    alphas_cumprod = make_scheduler().alphas_cumprod
    for row in range(8):
        last = int(examples.counts[row]) - 1
        assert (examples.timesteps[row, : last + 1].diff() < 0).all()
        noisy, timestep = examples.noisy[row, last][None].float(), int(examples.timesteps[row, last])
        embeds = teacher.embed(torch.stack([examples.tokens[row], teacher.empty.short()]))
        prompted, unprompted = teacher.unet(noisy.expand(2, -1, -1, -1), timestep, embeds, return_dict=False)[0]
        guided = unprompted + 3.0 * (prompted - unprompted)
        clean = to_clean(noisy, guided[None], alphas_cumprod[timestep][None])
        assert torch.allclose(clean[0], examples.clean[row].float(), atol=0.02, rtol=0.02)


def test_the_teacher_solves_a_straight_flow_exactly(checkpoint: Path) -> None:
    """One who always predicts the same picture ends at it, from any start."""
    teacher = load_teacher(checkpoint, TINY)
    picture, alphas_cumprod = torch.randn(1, 4, 16, 16), make_scheduler().alphas_cumprod

    def unet(
        noisy: torch.Tensor, timestep: torch.Tensor, embeds: torch.Tensor, return_dict: bool
    ) -> tuple[torch.Tensor]:
        abar = alphas_cumprod[timestep]
        return ((noisy - abar.sqrt() * picture) / (1 - abar).sqrt(),)

    object.__setattr__(teacher, "unet", unet)
    states, timesteps, clean = teacher.run(
        torch.randn(2, 4, 16, 16), 999, teacher.embed(teacher.empty[None]).expand(2, -1, -1), 0.3
    )
    assert torch.allclose(clean, picture.expand(2, -1, -1, -1), atol=1e-3)
    direction = (states[:, 0] - alphas_cumprod[999].sqrt() * picture) / (1 - alphas_cumprod[999]).sqrt()
    abar = alphas_cumprod[timesteps[-1]]
    assert torch.allclose(states[:, -1], abar.sqrt() * picture + (1 - abar).sqrt() * direction, atol=1e-3)


def test_levels_are_those_of_few_steps() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_levels(goal, rng) for goal in range(len(LEVELS)) for _ in range(20)]
    assert all(levels[0] == 999 and levels == sorted(levels, reverse=True) for levels in drawn)
    assert all(abs(levels[-1] - LEVELS[place // 20]) <= 25 for place, levels in enumerate(drawn))


def test_the_loss_weighs_noise_alike_at_all_timesteps() -> None:
    clean = torch.zeros(1, 4, 2, 2)
    predicted = torch.full_like(clean, 10.0)
    low, high = (float(distillation_loss(predicted, clean, torch.tensor([abar]), 0.1)) for abar in (0.99, 0.01))
    assert low == pytest.approx(4 * 9.9, rel=0.01)
    assert high == pytest.approx(9.9 * (0.01 / 0.99) ** 0.5, rel=0.01)


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_weights(checkpoint: Path, budget: Budget, tmp_path: Path) -> None:
    train(Workers(), TINY, budget, tmp_path / "whole", checkpoint, save_every=1)
    with pytest.raises(Killed):
        train(DyingWorkers(3), TINY, budget, tmp_path / "killed", checkpoint, save_every=1)
    train(Workers(), TINY, budget, tmp_path / "killed", checkpoint, save_every=1)
    whole, killed = (torch.load(tmp_path / name / "state.pt", weights_only=True) for name in ("whole", "killed"))
    assert whole["step"] == killed["step"] == 6
    assert all(torch.equal(whole["weights"][name], value) for name, value in killed["weights"].items())
    assert any(value.any() for name, value in whole["weights"].items() if name.startswith("up"))
    assert len(list((tmp_path / "killed" / "pool").iterdir())) == TINY.pool
    assert json.loads((tmp_path / "killed" / "config.json").read_text())["rank"] == 3


def test_what_is_written_changes_the_u_net_as_it_was_trained(checkpoint: Path, budget: Budget, tmp_path: Path) -> None:
    train(Workers(), TINY, budget, tmp_path, checkpoint)
    export(TINY, tmp_path, checkpoint, tmp_path / "fast.safetensors")
    tensors = load_file(tmp_path / "fast.safetensors")
    unet = UNet2DConditionModel.from_pretrained(checkpoint, subfolder="unet")
    student = LoraWeights(load_teacher(checkpoint, TINY).unet, 3, TINY.seed)
    average = Average(student, TINY.ema)
    average.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True)["average"])
    weights = averaged(student, average)
    for name, module in unet.named_modules():
        if f"{name}.weight" in weights:
            down, up = (tensors[f"lora_unet_{name.replace('.', '_')}.lora_{way}.weight"] for way in ("down", "up"))
            change = (up.float().flatten(1) @ down.float().flatten(1)).view(module.weight.shape)
            assert torch.allclose(module.weight + change, weights[f"{name}.weight"], atol=1e-4)
    assert (tmp_path / "fast.safetensors").stat().st_mode & 0o444 == 0o444  # others may read it


def test_without_a_run_nothing_is_written(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such run"):
        export(TINY, tmp_path, checkpoint, tmp_path / "fast.safetensors")


def test_what_is_steered_by_is_not_what_is_measured() -> None:
    measured = {(prompt.prompt, prompt.seed) for row in draw_rows().values() for prompt in row}
    assert not measured & {(prompt.prompt, prompt.seed) for prompt in steering_singles(64)}


def test_the_pool_keeps_the_newest_rounds(checkpoint: Path, tmp_path: Path) -> None:
    teacher = load_teacher(checkpoint, TINY)
    student, tokenizer = LoraWeights(teacher.unet, 3, 1), load_tokenizer(checkpoint / "tokenizer")
    pool = Pool(tmp_path, 2)
    rounds = [draw_round(teacher, student, tokenizer, 5, number, 1) for number in range(3)]
    for number, examples in enumerate(rounds):
        pool.add(number, examples)
    assert {file.name for file in tmp_path.iterdir()} == {"1.pt", "2.pt"}
    again = Pool(tmp_path, 2)
    again.load(3)
    drawn, drawn_again = (one.draw(8, 1.0, torch.Generator().manual_seed(1)) for one in (pool, again))
    assert all(torch.equal(*pair) for pair in zip(drawn, drawn_again, strict=True))
    starts = torch.cat([one.timesteps[:, 0] for one in rounds[1:]]).tolist()
    assert set(drawn[1].tolist()) <= set(starts)
