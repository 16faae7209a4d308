"""Finds the weight of a checkpoint that holds NaN or infinity. Used only after a run has failed with such values: a
scan at every load would cost as much as the load."""

from __future__ import annotations

import torch

from studio.asked.messages import Message
from studio.diffusion.components import Components


@torch.inference_mode()
def damaged_component(components: Components) -> str:
    """The first weight that holds NaN or infinity, such as "the U-Net (conv_in.weight)"; empty for none."""
    names = [Message("text encoder {k}", k=k + 1) for k in range(len(components.text_encoders))]
    labels = names if len(names) > 1 else [Message("text encoder")]
    for label, module in zip([*labels, "U-Net", "VAE"], components.parts.values()):
        if not isinstance(module, torch.nn.Module):
            continue
        for name, value in module.state_dict().items():
            if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                return Message("the {label} ({name})", label=label, name=name)
    return ""
