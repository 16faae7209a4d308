"""What a model predicts, measured: the built-in model, a v form of it, SDXL files, and remembered by the manager."""

from __future__ import annotations

import os
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel

from studio.checkpoints import loader
from studio.checkpoints.catalog import Catalog
from studio.checkpoints.hashes import Hasher
from studio.checkpoints.manager import ModelManager
from studio.checkpoints.measuring import measured_prediction, smoothness
from studio.checkpoints.memo import Memo
from studio.diffusion.components import Components
from studio.diffusion.levels import predicted_noise, predicted_x0
from studio.diffusion.paths import path_of
from studio.engine.device import Device
from tests.checkpoints.original import save_original, tiny_family
from tests.families.helpers import load

BUILT_IN = Path("models/small-world-128")


class VForm(torch.nn.Module):
    """A U-Net that answers v where the one inside answers noise."""

    def __init__(self, unet: Any, components: Components) -> None:
        super().__init__()
        self.config = types.SimpleNamespace(**dict(unet.config))
        self._unet = unet
        self._levels = path_of(components.scheduler_config).training_levels()

    def forward(self, sample: torch.Tensor, timestep: torch.Tensor, *given: Any, **named: Any) -> tuple[torch.Tensor]:
        level = self._levels[int(timestep.flatten()[0])]
        noise = self._unet(sample, timestep, *given, **named)[0]
        x0 = predicted_x0(sample, noise, level, "epsilon")
        v = level.a * noise - level.s * x0
        assert torch.allclose(predicted_noise(sample, v, level, "v_prediction"), noise, atol=1e-4)
        return (v,)


@pytest.fixture(scope="module")
def built_in() -> Components:
    return loader.load(
        BUILT_IN,
        name="built-in",
        device=torch.device("cpu"),
        dtype=torch.float32,
        progress=lambda message, fraction: None,
    )


@pytest.mark.parametrize("mostly", [None, "epsilon"])
def test_the_built_in_model_and_a_v_form_of_it(built_in: Components, mostly: Any) -> None:
    assert measured_prediction(built_in, mostly=mostly) == "epsilon"
    own = built_in.unet
    try:
        built_in.unet = VForm(own, built_in)
        assert measured_prediction(built_in, mostly=mostly) == "v_prediction"
    finally:
        built_in.unet = own


def answering(monkeypatch: pytest.MonkeyPatch, answer: Any) -> list[int]:
    calls: list[int] = []

    def forward(self: Any, x: torch.Tensor, *given: Any, **named: Any) -> tuple[torch.Tensor]:
        calls.append(1)
        return (answer(x),)

    monkeypatch.setattr(UNet2DConditionModel, "forward", forward)
    return calls


def blurred(x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.interpolate(x[:, :, ::8, ::8].flip(-1), scale_factor=8, mode="bilinear")


@pytest.mark.parametrize(
    ("answer", "prediction", "measured"),
    [(lambda x: 0.99 * x, "epsilon", "epsilon"), (blurred, "v_prediction", "v_prediction"),
     (lambda x: torch.roll(x, 7, -1), "epsilon", "unclear")],
)  # fmt: skip
def test_an_sdxl_file_that_says_nothing_is_measured_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Any, prediction: str, measured: str
) -> None:
    path = save_original(tmp_path / "silent.safetensors", "sdxl", tiny_family("sdxl"))
    calls = answering(monkeypatch, answer)
    components = load(path)
    assert (components.prediction_type, components.measurement, len(calls)) == (prediction, measured, 1)
    assert components.scheduler_config["prediction_type"] == prediction
    assert bool(components.notes) == (measured != "epsilon")
    again = load(path, measurement=components.measurement)
    assert (again.prediction_type, again.notes, len(calls)) == (prediction, components.notes, 1)


@pytest.mark.parametrize(
    ("name", "metadata"), [("a_vPred10", {}), ("a", {"modelspec.prediction_type": "epsilon"}), ("a-epsPred11", {})]
)
def test_what_says_it_is_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, metadata: dict[str, str]
) -> None:
    path = save_original(tmp_path / f"{name}.safetensors", "sdxl", tiny_family("sdxl"), metadata=metadata)
    calls = answering(monkeypatch, blurred)
    assert load(path).measurement is None
    assert load(path, prediction_type="epsilon").measurement is None
    assert calls == []


def test_noise_is_rough_and_a_picture_is_smooth() -> None:
    noise = torch.randn((1, 4, 32, 32), generator=torch.Generator().manual_seed(1))
    assert abs(smoothness(noise)) < 0.1
    assert smoothness(blurred(noise)) > 0.8


def test_what_was_measured_is_remembered_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    path = save_original(folder / "silent.safetensors", "sdxl", tiny_family("sdxl"))
    calls = answering(monkeypatch, blurred)

    def predicts(name: str, *, hashed_before: bool) -> str:
        catalog = Catalog([tmp_path])
        hasher = Hasher(Memo(None))
        manager = ModelManager(catalog, device=Device("cpu", "fp32"), hasher=hasher)
        entry = catalog.checkpoints()[name]
        if hashed_before:
            assert hasher.now(entry) is not None
        components = manager.get(name, lambda *_: None)
        hasher.now(entry)
        assert manager.loaded_hash() is not None
        hasher.close()
        return components.prediction_type

    assert (predicts("silent", hashed_before=False), len(calls)) == ("v_prediction", 1)
    path.rename(folder / "renamed.safetensors")
    os.utime(folder / "renamed.safetensors", (1, 1))
    assert (predicts("renamed", hashed_before=True), len(calls)) == ("v_prediction", 1)
    kind = os.stat(folder / "renamed.safetensors")
    other = save_original(folder / "renamed.safetensors", "sdxl", tiny_family("sdxl", seed=1))  # of the same size
    os.utime(other, ns=(kind.st_atime_ns, kind.st_mtime_ns))
    assert (predicts("renamed", hashed_before=True), len(calls)) == ("v_prediction", 2)
