"""Compiled networks have the gradients of eager ones: torch.compile was once wrong about a whole level of the U-Net."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.training.latents_files import save_some_latents
from tests.training.test_resume import TINY_AUTOENCODER, TINY_UNET, state_weights
from training.budget import Budget
from training.compilation import compile_in_place
from training.options import RunOptions
from training.tokenizer import ensure_tokenizer
from training.train_autoencoder import make_autoencoder
from training.train_unet import make_unet
from training.train_unet import train as train_unet
from training.workers import Workers

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler"),
]


def gradients(network: nn.Module, answer: Callable[[], Tensor]) -> dict[str, Tensor]:
    torch.manual_seed(5)
    out = answer()
    (out * torch.randn(out.shape)).sum().backward()
    return {name: weight.grad for name, weight in network.named_parameters() if weight.grad is not None}


def alike(ours: dict[str, Tensor], eager: dict[str, Tensor]) -> None:
    assert ours.keys() == eager.keys()
    largest = max(float(value.norm()) for value in eager.values())
    for name, value in eager.items():
        assert float((ours[name] - value).norm()) < 1e-4 * float(value.norm()) + 1e-5 * largest, name


def test_of_the_unet() -> None:
    generator = torch.Generator().manual_seed(1)
    noisy, embeds = torch.randn(4, 4, 16, 16, generator=generator), torch.randn(4, 77, 16, generator=generator)
    timesteps = torch.tensor([5, 400, 800, 999])
    eager, other = make_unet(TINY_UNET).train(), make_unet(TINY_UNET).train()
    expected = gradients(eager, lambda: eager(noisy, timesteps, embeds, return_dict=False)[0])
    assert all(float(value.abs().max()) > 0 for name, value in expected.items() if name.endswith("conv1.weight"))
    compile_in_place(other)
    alike(gradients(other, lambda: other(noisy, timesteps, embeds, return_dict=False)[0]), expected)


def test_a_copy_runs_its_own_weights() -> None:
    """The averaged weights are shown by a copy of the network in training."""
    noisy, embeds, timesteps = torch.ones(1, 4, 16, 16), torch.ones(1, 77, 16), torch.tensor([500])
    network = make_unet(TINY_UNET).eval()
    compile_in_place(network)
    other = copy.deepcopy(network)
    with torch.no_grad():
        before = other(noisy, timesteps, embeds, return_dict=False)[0]
        for weight in network.parameters():
            weight.zero_()
        assert torch.equal(other(noisy, timesteps, embeds, return_dict=False)[0], before)


def test_of_the_autoencoder() -> None:
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    eager, other = make_autoencoder(TINY_AUTOENCODER), make_autoencoder(TINY_AUTOENCODER)
    expected = gradients(eager, lambda: eager.decode(eager.encode(pixels).latent_dist.mean).sample)
    compile_in_place(other.encoder)
    compile_in_place(other.decoder)
    alike(gradients(other, lambda: other.decode(other.encode(pixels).latent_dist.mean).sample), expected)


def test_a_compiled_run_learns_what_an_eager_one_does(tmp_path: Path) -> None:
    latents = save_some_latents(tmp_path)
    budget = Budget(learning_rate=1e-3, warmup=2, steps=6)
    for name, compiled in (("eager", False), ("compiled", True)):
        ensure_tokenizer(tmp_path / name / "tokenizer")
        train_unet(Workers(), TINY_UNET, budget, tmp_path / name, [latents], options=RunOptions(compile=compiled))
    eager, other = (state_weights(tmp_path / name, "weights") for name in ("eager", "compiled"))
    assert eager.keys() == other.keys(), "no names of the compiler's"
    # Adam's first steps are as long for a gradient of nothing but rounding, so single weights may differ.
    start = make_unet(TINY_UNET).state_dict()
    apart = sum(float((eager[f"unet.{name}"] - other[f"unet.{name}"]).square().sum()) for name in start)
    moved = sum(float((eager[f"unet.{name}"] - value).square().sum()) for name, value in start.items())
    assert apart < 0.05 * moved, (apart, moved)
