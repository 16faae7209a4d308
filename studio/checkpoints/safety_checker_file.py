"""The safety checker's file => studio.diffusion.safety_checker: safetensors only, every name and shape compared before
anything is read. Its config is read from the shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from transformers import CLIPVisionConfig, CLIPVisionModel

from studio.asked.messages import Message
from studio.checkpoints.inspect import BadCheckpoint, TensorEntry, read_header
from studio.checkpoints.other_headers import SAFETY_CHECKER, vision_name
from studio.checkpoints.reader import WeightsFile
from studio.diffusion.safety_checker import Concepts, SafetyChecker

HEAD_WIDTH = 64  # of CLIP's attention


def load_safety_checker(path: Path, device: torch.device) -> SafetyChecker:
    """Read a safety checker, in float32. Raises BadCheckpoint, naming the file, for others."""
    header = read_header(path)
    absent = [name for name in SAFETY_CHECKER if name not in header]
    if absent:
        raise BadCheckpoint(
            Message("{file} is no safety checker: {names} is missing.", file=path.name, names=", ".join(absent))
        )
    entries = {name: entry for key, entry in header.items() if (name := vision_name(key)) is not None}
    with torch.device("meta"):
        vision = CLIPVisionModel(_config(path, entries))
    own = {name.removeprefix("vision_model."): name for name in vision.state_dict()}
    if {name: tuple(vision.state_dict()[full].shape) for name, full in own.items()} != {
        name: entry.shape for name, entry in entries.items()
    }:
        raise BadCheckpoint(
            Message("{file} is no safety checker: its tensors have other names or shapes.", file=path.name)
        )
    with WeightsFile(path) as file:
        parts = {name: file.read(header[name], device=device, dtype=torch.float32) for name in SAFETY_CHECKER}
        for name, entry in entries.items():
            owner, _, leaf = own[name].rpartition(".")
            tensor = file.read(entry, device=device, dtype=torch.float32)
            vision.get_submodule(owner)._parameters[leaf] = torch.nn.Parameter(tensor, requires_grad=False)
    # What no file has: the numbers of the patches.
    embeddings = next(module for name, module in vision.named_modules() if name.endswith("embeddings"))
    embeddings.position_ids = torch.arange(len(embeddings.position_embedding.weight), device=device)[None]
    return SafetyChecker(
        vision.eval(),
        parts["visual_projection.weight"],
        Concepts(parts["concept_embeds"], parts["concept_embeds_weights"]),
        Concepts(parts["special_care_embeds"], parts["special_care_embeds_weights"]),
    ).eval()


def _config(path: Path, entries: Mapping[str, TensorEntry]) -> CLIPVisionConfig:
    try:
        width, _, patch, _ = entries["embeddings.patch_embedding.weight"].shape
        places = entries["embeddings.position_embedding.weight"].shape[0] - 1
        inner = entries["encoder.layers.0.mlp.fc1.weight"].shape[0]
    except (KeyError, ValueError, IndexError):
        raise BadCheckpoint(
            Message("{file} is no safety checker: its tensors have other names or shapes.", file=path.name)
        ) from None
    layers = len({name.split(".")[2] for name in entries if name.startswith("encoder.layers.")})
    return CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=max(1, width // HEAD_WIDTH),
        image_size=math.isqrt(places) * patch,
        patch_size=patch,
    )
