"""A TAESD file in any of its forms decodes as diffusers' AutoencoderTiny does; a tiny decoder that belongs to one
checkpoint is that checkpoint's and nobody else's."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import AutoencoderTiny
from safetensors.torch import save_file

from studio.checkpoints.extras import Extras
from studio.checkpoints.facts import of_file, of_folder
from studio.checkpoints.identify import identify
from studio.checkpoints.inspect import BadCheckpoint
from studio.checkpoints.loader import TINY_VAE, load
from studio.checkpoints.other_headers import LATENTS_OF
from studio.checkpoints.tiny_vae import load_tiny_vae
from studio.diffusion.components import Components
from tests.tiny import save_tiny_checkpoint, tiny_components, tiny_vae


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
    assert (facts.kind, facts.usable) == ("preview_decoder", True)
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


WIDTHS: dict[str, Any] = {"decoder_block_out_channels": (8,) * 4, "num_decoder_blocks": (2, 1, 1, 0)}


def save_own(folder: Path, **config: object) -> AutoencoderTiny:
    """A tiny decoder of its own widths in the folder `folder`, without its encoder, as the training saves it."""
    torch.manual_seed(3)
    vae = AutoencoderTiny(**WIDTHS).eval()
    del vae.encoder
    folder.mkdir(parents=True)
    vae.save_config(folder)
    told = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(told | {LATENTS_OF: "small"} | config))
    weights = {name: value.contiguous() for name, value in vae.state_dict().items()}
    save_file(weights, folder / "diffusion_pytorch_model.safetensors", metadata={LATENTS_OF: "small"})
    return vae


def loaded(folder: Path, vae: Path | None = None) -> Components:
    return load(
        folder,
        name=folder.name,
        device=torch.device("cpu"),
        dtype=torch.float32,
        progress=lambda sentence, fraction: None,
        vae=vae,
    )


def test_a_folder_says_its_widths(tmp_path: Path) -> None:
    own = save_own(tmp_path / "own")
    read = load_tiny_vae(tmp_path / "own", device=torch.device("cpu"), dtype=torch.float32)
    latents = torch.randn(1, 4, 4, 6)
    with torch.inference_mode():
        assert torch.equal(read.decode(latents).sample, own.decode(latents).sample)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"decoder_block_out_channels": [8, 8, 8]}, "decoder_block_out_channels is .8, 8, 8., allowed are 4 numbers"),
        ({"num_decoder_blocks": [10**9, 1, 1, 1]}, "num_decoder_blocks is .* from 0 to 64"),
        ({"num_decoder_blocks": "many"}, "num_decoder_blocks is many"),
        ({"latent_channels": 16}, "latent_channels is 16, allowed is 4"),
        ({"decoder_block_out_channels": [16] * 4}, "is no decoder of a TAESD"),
    ],
)
def test_a_config_that_is_nonsense_or_does_not_fit_is_refused(
    tmp_path: Path, config: dict[str, object], said: str
) -> None:
    save_own(tmp_path / "own", **config)
    with pytest.raises(BadCheckpoint, match=said):
        load_tiny_vae(tmp_path / "own", device=torch.device("cpu"), dtype=torch.float32)


def test_the_tiny_decoder_in_a_checkpoints_folder_is_its_own(tmp_path: Path) -> None:
    folder = save_tiny_checkpoint(tmp_path / "small", fast_preview=True)
    assert loaded(folder).tiny_vae is None
    own = save_own(folder / TINY_VAE)
    found = loaded(folder).tiny_vae
    assert found.state_dict().keys() == own.state_dict().keys()
    tiny_vae(seed=9).save_pretrained(tmp_path / "other")
    assert loaded(folder, vae=tmp_path / "other").tiny_vae is None, "another VAE has other latents"
    (folder / TINY_VAE / "diffusion_pytorch_model.safetensors").write_bytes(b"cut off")
    assert loaded(folder).tiny_vae is None, "a damaged one costs its previews and no more"


def offered(path: Path, components: Components) -> Any:
    """What the models folders have for these components when `path` lies in models/vae_approx."""
    entry = SimpleNamespace(
        path=path,
        name=path.stem,
        identity=path,
        facts=of_folder(path, None) if path.is_dir() else of_file(path, None),
    )
    catalog = SimpleNamespace(entries=lambda: [entry], latest=lambda entry: entry)
    Extras(catalog).bring_tiny_vae(components)  # type: ignore[arg-type]
    return components.tiny_vae


def test_a_taesd_is_not_taken_for_latents_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "taesd_decoder.safetensors"
    save_file({k: v.contiguous() for k, v in AutoencoderTiny().state_dict().items()}, path)
    components = tiny_components()
    assert offered(path, components) is not None, "0.18215 is Stable Diffusion 1's"
    components = tiny_components()
    components.vae.register_to_config(scaling_factor=0.6527)  # the built-in checkpoint's
    assert offered(path, components) is None


def test_a_checkpoints_own_tiny_decoder_is_not_taken_for_a_taesd(tmp_path: Path) -> None:
    save_own(tmp_path / "own")
    for path in (tmp_path / "own", tmp_path / "own" / "diffusion_pytorch_model.safetensors"):
        assert identify(path).reason == "This small VAE knows the latents of small only."
        assert offered(path, tiny_components()) is None


def test_a_taesd_folder_is_of_the_family_that_its_name_says(tmp_path: Path) -> None:
    for name, family in (("taesd", "sd1"), ("taesdxl", "sdxl")):
        AutoencoderTiny().save_pretrained(tmp_path / name)
        assert identify(tmp_path / name).family == family
    assert offered(tmp_path / "taesd", tiny_components()) is not None
    assert offered(tmp_path / "taesdxl", tiny_components()) is None
