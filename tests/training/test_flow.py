"""The flow at tiny size: its path, its solver, and a training that goes on after kill -9."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel

from tests.training.latents_files import save_some_latents
from tests.training.test_resume import TINY_UNET, DyingWorkers, Killed
from training.budget import Budget
from training.flow import Embeddings, TransformerShape, draw_times, guided, make_transformer, on_path, sample, velocity
from training.state import generator_for
from training.tokenizer import ensure_tokenizer, load_tokenizer
from training.train_flow import FlowConfig, export, flow_loss, train
from training.train_unet import make_text_encoder
from training.workers import Workers

SHAPE = TransformerShape(layers=2, heads=2, head_width=8)
TINY = FlowConfig(shape=SHAPE, batch=4, warmup=2)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    ensure_tokenizer(folder / "tokenizer")
    make_text_encoder(TINY_UNET, load_tokenizer(folder / "tokenizer")).save_pretrained(folder / "text_encoder")
    return folder


@pytest.fixture
def budget() -> Budget:
    return Budget(learning_rate=1e-3, warmup=2, steps=6)


def test_the_true_velocity_leads_from_noise_to_the_picture_in_any_number_of_steps() -> None:
    clean, noise = torch.randn(2, 3, 4, 8, 8)
    assert torch.equal(on_path(clean, noise, torch.zeros(3)), clean)
    assert torch.equal(on_path(clean, noise, torch.ones(3)), noise)
    for steps in (1, 4):
        found = sample(lambda state, times: noise - clean, noise, steps, shift=3.0)
        torch.testing.assert_close(found, clean, rtol=0, atol=1e-5)
    assert flow_loss(noise - clean, clean, noise).tolist() == [0, 0, 0]


def test_its_solver_is_the_published_one() -> None:
    """FlowMatchEulerDiscreteScheduler over the same sigmas; its `shift` is ours."""
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(sigmas=torch.linspace(1, 0, 6)[:-1].tolist())
    transformer = make_transformer(SHAPE, 16, seed=1, side=8)
    words = Embeddings(torch.randn(2, 77, 16), torch.randn(2, 16))
    empty = Embeddings(torch.randn(1, 77, 16), torch.randn(1, 16))
    noise = torch.randn(2, 4, 8, 8)
    velocity_at = guided(transformer, words, empty, 3.0)
    state = noise
    with torch.no_grad():
        for timestep in scheduler.timesteps:
            state = scheduler.step(velocity_at(state, timestep.expand(2) / 1000), timestep, state).prev_sample
    torch.testing.assert_close(sample(velocity_at, noise, 5, shift=3.0), state, rtol=1e-4, atol=1e-5)


def test_guidance_is_on_the_velocity() -> None:
    transformer = make_transformer(SHAPE, 16, seed=1, side=8)
    torch.nn.init.normal_(transformer.proj_out.weight)
    words = Embeddings(torch.randn(2, 77, 16), torch.randn(2, 16))
    empty = Embeddings(torch.randn(1, 77, 16), torch.randn(1, 16))
    state, times = torch.randn(2, 4, 8, 8), torch.tensor([0.3, 0.9])
    with torch.no_grad():
        with_words = velocity(transformer, state, times, words)
        both = Embeddings(empty.tokens.expand(2, -1, -1), empty.pooled.expand(2, -1))
        without = velocity(transformer, state, times, both)
    assert (with_words - without).abs().max() > 1e-4
    torch.testing.assert_close(
        guided(transformer, words, empty, 3.0)(state, times), without + 3 * (with_words - without), rtol=0, atol=1e-4
    )


def test_times_are_in_the_middle_most() -> None:
    times = draw_times(4000, generator_for(1, 2))
    assert 0 < times.min() < 0.05 < 0.95 < times.max() < 1
    assert ((times > 0.25) & (times < 0.75)).float().mean() > 0.7  # of a normal variable: |z| < log 3


def test_a_killed_run_goes_on_to_the_same_weights(checkpoint: Path, budget: Budget, tmp_path: Path) -> None:
    latents = [save_some_latents(tmp_path)]
    train(Workers(), TINY, budget, tmp_path / "whole", latents, checkpoint, save_every=1)
    with pytest.raises(Killed):
        train(DyingWorkers(3), TINY, budget, tmp_path / "killed", latents, checkpoint, save_every=1)
    train(Workers(), TINY, budget, tmp_path / "killed", latents, checkpoint, save_every=1)
    whole, killed = (torch.load(tmp_path / name / "state.pt", weights_only=True) for name in ("whole", "killed"))
    assert whole["step"] == killed["step"] == 6
    assert all(torch.equal(whole["weights"][name], value) for name, value in killed["weights"].items())
    assert json.loads((tmp_path / "killed" / "config.json").read_text())["shape"]["layers"] == 2
    export(TINY, tmp_path / "killed", checkpoint, tmp_path / "transformer")
    written = SD3Transformer2DModel.from_pretrained(tmp_path / "transformer", torch_dtype=torch.float16)
    weights = killed["average"]["weights"]
    assert all(torch.equal(value, weights[name].half()) for name, value in written.state_dict().items())


def test_latents_of_another_vocabulary_are_refused(budget: Budget, checkpoint: Path, tmp_path: Path) -> None:
    file = save_some_latents(tmp_path)
    state = torch.load(file, weights_only=True)
    torch.save(state | {"vocabulary": 1}, file)
    with pytest.raises(ValueError, match="no captions in this vocabulary"):
        train(Workers(), TINY, budget, tmp_path / "run", [file], checkpoint)


def test_an_export_without_a_run_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no such run"):
        export(TINY, tmp_path / "run", checkpoint, tmp_path / "out")
