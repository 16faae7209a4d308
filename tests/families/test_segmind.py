"""SSD-1B and Segmind Vega, SDXL with fewer layers: a single file is told, loads, and gives diffusers' pictures."""

from __future__ import annotations

from pathlib import Path

import diffusers
import pytest
import torch

from studio.checkpoints.identify import identify
from studio.diffusion import vae
from studio.families.base import unet_shape
from studio.families.registry import FAMILIES, label_of, recognise
from tests.checkpoints.original import DEPTHS, save_folder, save_original, tiny_family, unet_to_original
from tests.families.helpers import GUIDANCE, NEGATIVE, PROMPT, SEED, SIDE, STEPS, lane_of, load, run


@pytest.mark.parametrize("family", DEPTHS)
def test_file_and_folder_are_one_model_and_give_the_pictures_of_diffusers(family: str, tmp_path: Path) -> None:
    modules = tiny_family(family)
    path = save_original(tmp_path / "model.safetensors", family, modules)
    folder = save_folder(tmp_path / "folder", family, modules)
    facts = identify(path)
    assert (facts.usable, facts.family, label_of(facts.family)) == (True, family, FAMILIES[family].label)
    assert (facts.native_width, facts.prediction_type, identify(folder).family) == (1024, "epsilon", family)
    components = load(path)
    assert components.notes == ()
    for part, module in modules.items():
        weights = dict(components.part(part).named_parameters())
        assert weights.keys() == dict(module.named_parameters()).keys()
        assert all(torch.equal(weights[name], value) for name, value in module.named_parameters())
    for key, published in DEPTHS[family].items():
        told = components.unet.config[key]
        assert (
            [one if isinstance(one, int) else list(one) for one in told] == published
            if key != "mid_block_type"
            else (told == published)
        )
    theirs = diffusers.StableDiffusionXLPipeline.from_pretrained(folder, local_files_only=True, add_watermarker=False)
    theirs.set_progress_bar_config(disable=True)
    theirs.scheduler = diffusers.EulerDiscreteScheduler.from_config(components.scheduler_config)
    generator = torch.Generator().manual_seed(SEED)
    expected = theirs(
        prompt=PROMPT,
        negative_prompt=NEGATIVE,
        width=SIDE,
        height=SIDE,
        latents=torch.randn((1, 4, SIDE // 8, SIDE // 8), generator=generator),
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        output_type="pt",
    ).images
    for one in (components, load(folder)):
        lane = lane_of(one, "euler", "as_configured")
        run(one, lane)
        ours = (vae.decode(one, lane.latents) / 2 + 0.5).clamp(0, 1)
        assert float((ours - expected).abs().max()) < 5e-5


def test_another_depth_is_called_what_it_is(tmp_path: Path) -> None:
    tensors = unet_to_original(tiny_family("sdxl")["unet"])
    shape = unet_shape({f"model.diffusion_model.{k}": v for k, v in tensors.items() if "transformer_blocks.9" not in k})
    assert shape is not None
    assert (shape.depths, shape.size_conditioned) == ((0, 2, 9), True)
    assert recognise(shape) is None
