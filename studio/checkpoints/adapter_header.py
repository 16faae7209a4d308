"""A LoRA or one of its LyCORIS kin as its header shows it: for which family, for which parts, of which form."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice

from studio.checkpoints.inspect import Header, TensorEntry
from studio.checkpoints.model_facts import ModelFacts
from studio.families.registry import FAMILIES, of_context_width

_LORA_MARKS = (
    ".lora_down.weight", ".lora_A.weight", ".lora.down.weight", "_lora.down.weight", ".lora_linear_layer.down.weight",
    ".lora_A.default.weight",
)  # fmt: skip
_KIN_MARKS = (".hada_w1_b", ".lokr_w1", ".lokr_w1_b", ".lokr_w2", ".lokr_w2_b")  # LoHa and LoKr
_PLAIN_MARKS = (*_LORA_MARKS, ".hada_w1_b")  # whose second side is as wide as what the layer takes
VOTERS = 64  # layers that are asked for the family of a LoRA; the others say the same
_ADAPTER_MARKS = (*_LORA_MARKS, *_KIN_MARKS)
_TEXT_INPUT = re.compile(r"attn2[._](processor\.)?to_[kv]")  # of a cross-attention: what it makes of the text
_OTHER_ADAPTERS: Mapping[str, str] = {  # the studio has no use for these, but knows them by their name
    ".oft_blocks": "OFT",
    ".oft_diag": "OFT",
    ".boft_blocks": "BOFT",
    ".on_input": "(IA)³",
    ".a1.weight": "GLoRA",
    ".diff": "full differences",
}


def as_lora(facts: ModelFacts, header: Header, name: str) -> ModelFacts | None:
    downs = [k for k in header.tensors if k.endswith(_ADAPTER_MARKS)]
    reason, other = "", ""
    if not downs:
        other = next((form for end, form in _OTHER_ADAPTERS.items() for k in header.tensors if k.endswith(end)), "")
        if not other or not any(k.startswith(("lora_", "lycoris_")) for k in header.tensors):
            return None
    family = lora_family(header.tensors, header.metadata)
    if not downs:
        reason = f"This is a LyCORIS file of the form {other}; LoRA, LoCon, LoHa, LoKr and DoRA are run."
    elif family is None:
        reason = "This LoRA is for a model of another family than SD 1, SD 2 and SDXL, or does not say for which."
    text = [k for k in downs if k.startswith(("lora_te", "text_encoder"))]
    parts = ["unet"] if len(text) < len(downs) else []
    if any(not k.startswith(("lora_te2_", "text_encoder_2.")) for k in text):
        parts.append("text_encoder")
    if any(k.startswith(("lora_te2_", "text_encoder_2.")) for k in text):
        parts.append("text_encoder_2")
    return replace(facts, kind="lora", family=family, parts=tuple(parts), reason=reason)


def lora_family(tensors: Mapping[str, TensorEntry], metadata: Mapping[str, str]) -> str | None:
    """For which family a LoRA was made: by the width of the text embeddings its cross-attention takes, or its text
    encoder's, then by its metadata; None when neither says."""
    wide = (
        width
        for k, e in tensors.items()
        if "attn2" in k
        and len(e.shape) >= 2
        and _TEXT_INPUT.search(k)
        and (width := _input_width(tensors, k, e)) is not None
    )
    widths = Counter(islice(wide, VOTERS))
    if widths and (by_width := of_context_width(widths.most_common(1)[0][0])) is not None:
        return by_width.name
    told = " ".join(
        metadata.get(k, "") for k in ("modelspec.architecture", "ss_base_model_version", "ss_sd_model_name")
    ).lower()
    for family in FAMILIES.values():
        if any(mark in told for mark in family.metadata_marks):
            return family.name
    if widths:
        return None
    text = Counter(
        e.shape[1]
        for k, e in tensors.items()
        if k.endswith(_LORA_MARKS) and len(e.shape) == 2 and re.match(r"lora_te\d?_.*q_proj|text_encoder.*q_proj", k)
    )
    if any(k.startswith(("lora_te1_", "lora_te2_", "text_encoder_2.")) for k in tensors):
        return "sdxl"
    by_width = of_context_width(text.most_common(1)[0][0]) if text else None
    return by_width.name if by_width is not None else None


def _input_width(tensors: Mapping[str, TensorEntry], name: str, entry: TensorEntry) -> int | None:
    """How wide the inputs of an adapted linear layer are, by the tensor of its adapter that shows it; else None."""
    if name.endswith(_PLAIN_MARKS):
        return entry.shape[1]
    if not name.endswith((".lokr_w1", ".lokr_w1_b")):
        return None
    start = name.rpartition(".")[0]
    right = tensors.get(f"{start}.lokr_w2") or tensors.get(f"{start}.lokr_w2_b")
    return entry.shape[1] * right.shape[1] if right is not None and len(right.shape) >= 2 else None
