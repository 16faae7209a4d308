"""A tiny random Stable Diffusion 1 for everybody's tests: real classes, real shapes, a few thousand weights.

components = tiny_components()          # the same weights each time
save_tiny_checkpoint(tmp_path / "tiny") # the same as a diffusers folder
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from studio.diffusion.components import Components, PredictionType, TextEncoder
from studio.families.registry import FAMILIES

SCHEDULER_CONFIG: dict[str, Any] = {
    "_class_name": "PNDMScheduler",
    "_diffusers_version": "0.6.0",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
    "clip_sample": False,
}  # Stable Diffusion 1.5's own file

WORDS = ("a", "red", "blue", "apple", "fox", "snow", "in", "the", "sea", "cat")


def tiny_tokenizer(positions: int = 77) -> CLIPTokenizer:
    """A CLIP tokenizer that knows every character and the WORDS as one token each."""
    alphabet = [chr(c) for c in [*range(33, 127), *range(161, 173), *range(174, 256)]]
    alphabet += [chr(256 + n) for n in range(68)]  # the byte-level stand-ins of the bytes that do not print
    pieces = [*alphabet, *[c + "</w>" for c in alphabet]]
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            pair = (parts[0], parts[1])
            if pair not in merges:
                merges.append(pair)
                pieces.append("".join(pair))
            parts = ["".join(pair), *parts[2:]]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    for special in ("<|startoftext|>", "<|endoftext|>"):
        vocabulary[special] = len(vocabulary)
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=positions)


def tiny_unet(seed: int = 0) -> UNet2DConditionModel:
    """Two levels of (4, 8) channels with cross-attention of width 8."""
    torch.manual_seed(seed)
    return UNet2DConditionModel(
        block_out_channels=(4, 8),
        layers_per_block=1,
        sample_size=8,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=8,
        attention_head_dim=2,
        norm_num_groups=2,
    ).eval()


def tiny_vae(seed: int = 1) -> AutoencoderKL:
    """8 pixels to a latent cell, 4 latent channels, scaling_factor 0.18215, as Stable Diffusion 1."""
    torch.manual_seed(seed)
    return AutoencoderKL(
        block_out_channels=(4, 4, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=2,
        sample_size=64,
    ).eval()


def tiny_text_encoder(tokenizer: CLIPTokenizer, seed: int = 2) -> CLIPTextModel:
    """One layer of width 8, that reads as many tokens at once as its tokenizer says."""
    torch.manual_seed(seed)
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config).eval()


def tiny_components(
    prediction_type: PredictionType = "epsilon",
    dtype: torch.dtype = torch.float32,
    name: str = "tiny",
    positions: int = 77,
) -> Components:
    """A whole random checkpoint, 64x64 pixels native, whose text encoder reads so many tokens at once. Leaves torch's
    global random state as it was."""
    with torch.random.fork_rng(devices=[]):
        tokenizer = tiny_tokenizer(positions)

        def in_dtype(module: Any) -> Any:
            return module if dtype == torch.float32 else module.to(dtype)  # diffusers warns at every `to`

        return Components(
            name=name,
            family=FAMILIES["sd1" if prediction_type == "epsilon" else "sd2"],
            unet=in_dtype(tiny_unet()),
            vae=in_dtype(tiny_vae()),
            text_encoders=(TextEncoder("text_encoder", tokenizer, in_dtype(tiny_text_encoder(tokenizer))),),
            scheduler_config=SCHEDULER_CONFIG | {"prediction_type": prediction_type},
            prediction_type=prediction_type,
            device=torch.device("cpu"),
            dtype=dtype,
            native_width=64,
            native_height=64,
        )


def save_tiny_checkpoint(
    folder: Path,
    *,
    prediction_type: PredictionType = "epsilon",
    world: dict[str, Any] | None = None,
    fast_preview: bool = False,
    positions: int = 77,
) -> Path:
    """Write tiny_components() as a diffusers folder, with a world.json when one is given; returns the folder.

    With `fast_preview` one lies beside the VAE, which spares every load the fitting of one.
    """
    components = tiny_components(prediction_type, positions=positions)
    components.unet.save_pretrained(folder / "unet")
    components.vae.save_pretrained(folder / "vae")
    components.part("text_encoder").save_pretrained(folder / "text_encoder")
    components.text_encoders[0].tokenizer.save_pretrained(folder / "tokenizer")
    (folder / "scheduler").mkdir(parents=True, exist_ok=True)
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(components.scheduler_config, indent=2))
    index = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.42.1",
        "feature_extractor": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "image_encoder": [None, None],
        "scheduler": ["diffusers", "PNDMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2))
    if fast_preview:
        weight = torch.randn((192, 4, 3, 3), generator=torch.Generator().manual_seed(7)) / 6
        save_file({"weight": weight, "bias": torch.zeros(192)}, folder / "vae" / "fast_preview.safetensors")
    if world is not None:
        (folder / "world.json").write_text(json.dumps(world, indent=2))
    return folder


def save_medium_checkpoint(folder: Path) -> Path:
    """A tiny checkpoint with a U-Net of 30 MB: large enough that a leak of one shows in a process's memory."""
    save_tiny_checkpoint(folder, fast_preview=True)
    with torch.random.fork_rng(devices=[]):
        UNet2DConditionModel(
            block_out_channels=(96, 192),
            layers_per_block=2,
            sample_size=8,
            in_channels=4,
            out_channels=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=8,
            attention_head_dim=8,
        ).save_pretrained(folder / "unet")
    return folder


def counted_forwards(components: Components, monkeypatch: pytest.MonkeyPatch, endings: tuple[str, ...]) -> Counter[str]:
    """How often each layer of the U-Net whose name ends so is really computed from now on."""
    seen: Counter[str] = Counter()
    for name, module in components.unet.named_modules():
        if name.endswith(endings):

            def forward(*given: Any, name: str = name, compute: Any = module.forward) -> torch.Tensor:
                seen[name] += 1
                return compute(*given)  # type: ignore[no-any-return]

            monkeypatch.setattr(module, "forward", forward, raising=False)
    return seen
