"""A TAESD file in any of its forms decodes as diffusers' AutoencoderTiny does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderTiny
from safetensors.torch import save_file

from studio.checkpoints.identify import identify
from studio.checkpoints.inspect import BadCheckpoint
from studio.checkpoints.tiny_vae import load_tiny_vae


def original(vae: AutoencoderTiny) -> dict[str, torch.Tensor]:
    """The decoder's tensors by their original names: numbered, behind a clamp."""
    found = {}
    for name, value in vae.decoder.state_dict().items():
        _, number, rest = name.split(".", 2)
        found[f"{int(number) + 1}.{rest}"] = value.contiguous()
    return found


@pytest.mark.parametrize("form", ["diffusers", "folder", "original", "with prefix"])
def test_every_form_decodes_alike(tmp_path: Path, form: str) -> None:
    torch.manual_seed(0)
    vae = AutoencoderTiny().eval()
    path = tmp_path / "taesd_decoder.safetensors"
    if form == "folder":
        path = tmp_path / "taesd"
        vae.save_pretrained(path)
    elif form == "diffusers":
        save_file({k: v.contiguous() for k, v in vae.state_dict().items()}, path)
    else:
        prefix = "taesd_decoder." if form == "with prefix" else ""
        save_file({prefix + k: v for k, v in original(vae).items()}, path)
    facts = identify(path)
    assert (facts.kind, facts.usable) == ("taesd", True)
    loaded = load_tiny_vae(path, device=torch.device("cpu"), dtype=torch.float32)
    latents = torch.randn(1, 4, 4, 6)
    with torch.inference_mode():
        assert torch.equal(loaded.decode(latents).sample, vae.decode(latents).sample)


def test_another_file_is_refused_by_its_name(tmp_path: Path) -> None:
    save_file(
        {"1.weight": torch.zeros(64, 16, 3, 3), "3.conv.0.weight": torch.zeros(64, 64, 3, 3)},
        tmp_path / "taesd3.safetensors",
    )
    assert identify(tmp_path / "taesd3.safetensors").reason.startswith("This small VAE is for latents of another kind")
    with pytest.raises(BadCheckpoint, match=r"taesd3\.safetensors is no decoder of a TAESD"):
        load_tiny_vae(tmp_path / "taesd3.safetensors", device=torch.device("cpu"), dtype=torch.float32)
