"""What a diffusers folder's scheduler and VAE say of the noise and the latents is obeyed, or refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, EDMDPMSolverMultistepScheduler, EDMEulerScheduler, FlowMatchEulerDiscreteScheduler

from studio.checkpoints.identify import identify
from studio.checkpoints.inspect import BadCheckpoint
from studio.diffusion import vae
from studio.diffusion.paths import Flow, path_of
from tests.checkpoints.original import save_folder, tiny_family
from tests.families.helpers import EDM_CONFIG, MEAN, STD, lane_of, latents_of, load, picture, run


def folder_with(folder: Path, scheduler: dict[str, Any]) -> Path:
    """An SDXL in a folder, with this scheduler_config.json in the place of its own."""
    save_folder(folder, "sdxl", tiny_family("sdxl"))
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    return folder


def vae_with(own: Any, changes: dict[str, Any]) -> Any:
    """A VAE of the same shape whose config says other things."""
    config = {key: value for key, value in own.config.items() if not key.startswith("_")}
    return AutoencoderKL(**config | changes).eval()


@pytest.mark.parametrize("kind", [EDMEulerScheduler, EDMDPMSolverMultistepScheduler])
def test_an_edm_folder_runs_as_its_own_pipeline(kind: Any, tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "edm", {"_class_name": kind.__name__, **EDM_CONFIG})
    facts = identify(folder)
    assert (facts.usable, facts.prediction_type) == (True, "edm_epsilon")
    components = load(folder)
    reference = latents_of(components, kind(**EDM_CONFIG))
    lane = lane_of(components, "euler" if kind is EDMEulerScheduler else "dpmpp_2m")
    run(components, lane)
    assert float((lane.latents - reference).abs().max()) < 1e-5 * float(reference.abs().max())


def test_a_flow_folder_has_its_own_shift(tmp_path: Path) -> None:
    config = dict(FlowMatchEulerDiscreteScheduler(shift=2.5).config)
    folder = folder_with(tmp_path / "flow", {"_class_name": "FlowMatchEulerDiscreteScheduler", **config})
    assert identify(folder).prediction_type == "flow_prediction"
    components = load(folder)
    assert path_of(components.scheduler_config) == Flow(2.5)
    first = lane_of(components, "euler").schedule
    assert [level.s for level in first.levels[:2]] == pytest.approx([1.0, 2.5 * 0.8 / (1 + 1.5 * 0.8)])


@pytest.mark.parametrize(
    ("scheduler", "said"),
    [
        ({"_class_name": "CMStochasticIterativeScheduler"}, "CMStochasticIterativeScheduler"),
        ({"_class_name": "ScoreSdeVeScheduler"}, "ScoreSdeVeScheduler"),
        ({"_class_name": "EulerDiscreteScheduler", "timestep_type": "continuous"}, "timestep_type"),
        ({"_class_name": "EDMEulerScheduler", "prediction_type": "sample"}, "'sample'"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting": True}, "use_dynamic_shifting"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": "wide"}, "shift"),
    ],
)
def test_what_is_not_run_is_refused_by_name(scheduler: dict[str, Any], said: str, tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "other", scheduler)
    facts = identify(folder)
    assert not facts.usable
    assert said in facts.reason
    with pytest.raises(BadCheckpoint, match=said):
        load(folder)


def test_latents_with_a_shift_are_shifted(tmp_path: Path) -> None:
    modules = tiny_family("sdxl")
    modules["vae"] = vae_with(modules["vae"], {"shift_factor": 0.1159})
    components = load(save_folder(tmp_path / "shifted", "sdxl", modules))
    pixels = vae.from_picture(picture(), 64, 64)
    own = components.vae.encode(pixels).latent_dist.mode()
    ours = vae.encode(components, pixels)
    assert torch.equal(ours, 0.13025 * (own - 0.1159))
    assert torch.equal(vae.decode(components, ours), components.vae.decode(ours / 0.13025 + 0.1159)[0])


@pytest.mark.parametrize("count", [3, 5])
def test_a_mean_for_other_channels_is_refused(count: int, tmp_path: Path) -> None:
    modules = tiny_family("sdxl")
    wrong = {"latents_mean": [0.1] * count, "latents_std": list(STD)}
    modules["vae"] = vae_with(modules["vae"], wrong)
    with pytest.raises(BadCheckpoint, match=f"latents_mean has {count} numbers for 4 channels"):
        load(save_folder(tmp_path / "wrong", "sdxl", modules))


def test_another_vae_keeps_the_latents_that_the_unet_was_trained_on(tmp_path: Path) -> None:
    modules = tiny_family("sdxl")
    plain = save_folder(tmp_path / "plain", "sdxl", modules)
    normed = {"latents_mean": list(MEAN), "latents_std": list(STD), "scaling_factor": 0.5}
    modules["vae"] = vae_with(modules["vae"], normed)
    playground = save_folder(tmp_path / "playground", "sdxl", modules)
    lent = load(playground, vae=plain)
    assert (lent.vae.config.scaling_factor, tuple(lent.vae.config.latents_mean)) == (0.5, MEAN)
    other = load(plain, vae=playground)
    assert (other.vae.config.scaling_factor, other.vae.config.latents_mean) == (0.13025, None)
