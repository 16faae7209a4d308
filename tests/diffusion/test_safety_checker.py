"""The safety checker's verdicts are those of diffusers' class on the same weights, which are read from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPImageProcessor, CLIPVisionConfig

from studio.checkpoints.identify import identify
from studio.checkpoints.inspect import BadCheckpoint
from studio.checkpoints.safety_checker_file import load_safety_checker
from studio.diffusion.safety_checker import clip_pixels

CPU = torch.device("cpu")


def tiny_checker(seed: int = 0) -> Any:
    """diffusers' class with random weights, thresholds in the midst of its cosines."""
    torch.manual_seed(seed)
    vision = CLIPVisionConfig(
        hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=1, image_size=28, patch_size=14
    )
    module = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision.to_dict(), projection_dim=16))
    for name, parameter in module.named_parameters():
        threshold = name.endswith("embeds_weights")
        parameter.data = torch.randn(parameter.shape) * (0.05 if threshold else 0.5) + (0.5 if threshold else 0.0)
    return module.eval()


def save_checker(path: Path, module: Any, *, older: bool = False) -> Path:
    """As a file; `older`: with the names of the file that everybody has, and the numbers of the patches in it."""
    tensors = {name: value.contiguous() for name, value in module.state_dict().items()}
    if older:
        tensors = {
            name.replace("vision_model.", "vision_model.vision_model.", 1): value for name, value in tensors.items()
        }
        tensors["vision_model.vision_model.embeddings.position_ids"] = torch.arange(5)[None]
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)
    return path


@pytest.mark.parametrize("older", [False, True])
def test_verdicts_are_those_of_diffusers(tmp_path: Path, older: bool) -> None:
    verdicts = set()
    for seed in range(4):
        theirs = tiny_checker(seed)
        ours = load_safety_checker(save_checker(tmp_path / f"{seed}.safetensors", theirs, older=older), CPU)
        pixels = torch.randn(16, 3, 28, 28, generator=torch.Generator().manual_seed(seed)) * 3
        _, expected = theirs(clip_input=pixels, images=np.zeros((16, 4, 4, 3)))
        assert ours.flagged(pixels) == expected
        verdicts |= set(expected)
    assert verdicts == {True, False}


@pytest.mark.parametrize("size", [(64, 64), (96, 64), (50, 131)])
def test_a_picture_is_given_to_clip_as_its_own_processor_does(size: tuple[int, int]) -> None:
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8))
    processor = CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    expected = processor(picture, return_tensors="pt").pixel_values
    assert torch.allclose(clip_pixels(picture, 28), expected, atol=0.05)


def test_the_listing_knows_it_by_its_header_and_the_loader_refuses_others(tmp_path: Path) -> None:
    file = save_checker(tmp_path / "model.safetensors", tiny_checker(), older=True)
    facts = identify(file)
    assert (facts.kind, facts.state) == ("safety_checker", "usable")
    tensors = load_file(file)
    save_file(
        {name: value for name, value in tensors.items() if name != "concept_embeds"}, tmp_path / "half.safetensors"
    )
    with pytest.raises(BadCheckpoint, match="concept_embeds is missing"):
        load_safety_checker(tmp_path / "half.safetensors", CPU)
    del tensors["vision_model.vision_model.post_layernorm.weight"]
    save_file(tensors, tmp_path / "other.safetensors")
    with pytest.raises(BadCheckpoint, match="other names or shapes"):
        load_safety_checker(tmp_path / "other.safetensors", CPU)
