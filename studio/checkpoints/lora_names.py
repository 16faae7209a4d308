"""How trainers name the tensors of an adapter (a LoRA or one of its kin): one table of beginnings, one of endings.

A name has three parts. Its beginning says for which part the tensor is. Then comes a module's name in diffusers' layout
or in the original one, with dots or underscores. Its ending says which factor of the adapter it is. No torch.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from studio.families.registry import ADAPTER_NAMES

UNET, MODULE = "unet", "module"  # "module": the beginning does not say which part; the module that it names does
OF_UNET = (
    "lora_unet_",  # kohya
    "oft_unet_",  # kohya's OFT
    "lora_unet.",  # the same with dots
    "unet.",  # diffusers
    "model.diffusion_model.",  # ComfyUI, as in a checkpoint
    "diffusion_model.",
    "lycoris_unet_",
)
# Of a text encoder, with the name that its family says (studio.families: "te1", "clip_l", "text_encoder").
_OF_TEXT_ENCODER = (
    "lora_{}_",  # kohya
    "lora_{}.",
    "{}.",  # diffusers, OneTrainer
    "text_encoders.{}.",  # ComfyUI
    "lycoris_{}_",
)
_OF_NO_PART = (
    "lycoris_",  # SimpleTuner
    "",  # peft, which saves one module at a time
)
# Beginning, and the part it means: the U-Net, "module", or a text encoder by that name. The first that fits counts: a
# longer one stands before what it begins with, and those of the U-Net, which nearly all tensors have, before all.
BEGINNINGS: tuple[tuple[str, str], ...] = (
    *((beginning, UNET) for beginning in OF_UNET),
    *sorted(
        ((form.format(name), name) for form in _OF_TEXT_ENCODER for name in ADAPTER_NAMES),
        key=lambda pair: -len(pair[0]),
    ),
    *((beginning, MODULE) for beginning in _OF_NO_PART),
)
_PARTS = dict(reversed(BEGINNINGS))
_BEGINNING = re.compile("|".join(re.escape(beginning) for beginning, _ in BEGINNINGS))
# What libraries put around a module; it may stand before the beginning and behind it.
_WRAPPERS = ("base_model.model.", "module.", "_orig_mod.")

_ENDINGS: tuple[tuple[str, str], ...] = (
    (r"[._]lora(?:_linear_layer)?\.down\.weight", "down"),
    (r"[._]lora(?:_linear_layer)?\.up\.weight", "up"),
    (r"\.lora_down\.weight", "down"),
    (r"\.lora_up\.weight", "up"),
    (r"\.lora_mid\.weight", "mid"),
    (r"\.lora_A(?:\.[^.]+)?\.weight", "down"),  # peft, whose adapters may have a name
    (r"\.lora_B(?:\.[^.]+)?\.weight", "up"),
    (r"\.hada_(?P<loha>w1_a|w1_b|w2_a|w2_b|t1|t2)(?:\.[^.]+)?", ""),
    (r"\.lokr_(?P<lokr>w1_a|w1_b|w1|w2_a|w2_b|w2|t2)(?:\.[^.]+)?", "kr_"),
    (r"\.lora_magnitude_vector(?:\.[^.]+)?", "row_lengths"),  # DoRA as peft names it, and as kohya and LyCORIS do
    (r"\.dora_scale", "lengths"),
    (r"\.oft_blocks", "oft_blocks"),  # OFT and, with one dimension more, BOFT
    (r"\.oft_diag", "oft_diag"),  # OFT of the first LyCORIS
    (r"\.rescale", "rescale"),
    (r"\.diff", "diff"),  # the whole change of a weight, and of a bias
    (r"\.diff_b", "diff_b"),
    (r"\.alpha", "alpha"),
)
_ENDING = re.compile("(?:" + "|".join(f"(?P<e{k}>{pattern})" for k, (pattern, _) in enumerate(_ENDINGS)) + ")$")


class AdapterKey(NamedTuple):
    """What the name of a tensor says."""

    part: str  # "unet", "module", or a text encoder by one of its adapter names
    module: str  # without dots, as kohya's files have it: "down_blocks_0_attentions_0_proj_in"
    factor: str  # "down", "up", "alpha", "w1_a", ...


def parse_key(key: str) -> AdapterKey | None:
    """What the name of an adapter's tensor says; None for one of no known ending."""
    ending = _ENDING.search(key)
    if ending is None:
        return None
    which = next(k for k in range(len(_ENDINGS)) if ending[f"e{k}"] is not None)
    factor = _ENDINGS[which][1] + (ending["loha"] or ending["lokr"] or "")
    part, name = split_part(key[: ending.start()])
    flat = name.replace(".processor.", ".").replace(".", "_")
    if part != UNET:
        flat = flat.removeprefix("transformer_").removeprefix("text_model_")
    return AdapterKey(part, flat, factor)


def split_part(name: str) -> tuple[str, str]:
    """The part that the beginning of a name means, and the rest."""
    name = _unwrap(name)
    match = _BEGINNING.match(name)
    beginning = match[0] if match is not None else ""
    return _PARTS[beginning], _unwrap(name[len(beginning) :])


def _unwrap(name: str) -> str:
    while name.startswith(_WRAPPERS):
        name = next(name.removeprefix(wrapper) for wrapper in _WRAPPERS if name.startswith(wrapper))
    return name
