"""How much a U-Net computes in one call, counted on its own layers without computing anything."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from studio.diffusion.components import Components

PIXEL_CHANNELS = 3


def operations(components: Components, shape: tuple[int, int, int], tokens: int) -> int:
    """Multiplications and additions of one call for one row of a `shape` (channels, height, width) with so many
    `tokens` of text, in layers like those of the checkpoint's U-Net. Counted by torch on tensors without numbers:
    matrix products, convolutions and attention; the rest is left out.
    """
    channels, height, width = shape
    unet = components.unet
    given = dict(unet.config)
    others = given["in_channels"] - components.latent_channels  # an inpainting U-Net's mask and masked picture
    others = 0 if not others else 1 + channels
    config = given | {"in_channels": channels + others, "out_channels": channels, "sample_size": None}
    with torch.device("meta"):
        layers = type(unet).from_config(config)
        sample = torch.empty(1, channels + others, height, width)
        text = torch.empty(1, tokens, given["cross_attention_dim"])
        added = None
        if given.get("addition_embed_type") == "text_time":
            ids = 6  # of SDXL: the two sizes and the crop
            pooled = given["projection_class_embeddings_input_dim"] - ids * given["addition_time_embed_dim"]
            added = {"text_embeds": torch.empty(1, pooled), "time_ids": torch.empty(1, ids)}
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            layers(sample, torch.empty(1), text, added_cond_kwargs=added, return_dict=False)
    return int(counter.get_total_flops())
