"""A LoRA or one of its LyCORIS kin as its header shows it: for which family, for which parts, of which form."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice

from studio.answered.model_facts import ModelFacts
from studio.asked.messages import Message
from studio.checkpoints.inspect import Header, TensorEntry
from studio.checkpoints.lora_names import BEGINNINGS, MODULE, OF_UNET, split_part
from studio.families.base import UNET_PREFIX
from studio.families.registry import ADAPTER_NAMES, FAMILIES, of_context_width

_LORA_MARKS = (
    ".lora_down.weight", ".lora_A.weight", ".lora.down.weight", "_lora.down.weight", ".lora_linear_layer.down.weight",
)  # fmt: skip
_ADAPTER_MARK = ".lora_A."  # peft, whose adapters may have a name: .lora_A.style.weight
_KIN_MARKS = (".hada_w1_b", ".lokr_w1", ".lokr_w1_b", ".lokr_w2", ".lokr_w2_b")  # LoHa and LoKr
_ROTATION_MARKS = (".oft_blocks", ".oft_diag")  # OFT and BOFT
_DIFFERENCE_MARKS = (".diff", ".diff_b")
_PLAIN_MARKS = (*_LORA_MARKS, ".hada_w1_b")  # whose second side is as wide as what the layer takes
_ADAPTER_MARKS = (*_LORA_MARKS, *_KIN_MARKS, *_ROTATION_MARKS)
VOTERS = 64  # layers that are asked for the family of a LoRA; the others say the same
_TEXT_INPUT = re.compile(r"attn2[._](processor\.)?to_[kv]")  # of a cross-attention: what it makes of the text
_TEXT_MODULE = re.compile(r"self_attn|text_model|(^|[._])mlp[._]fc\d|text_projection")  # of a text encoder
_OTHER_FORMS: Mapping[str, str] = {  # the studio does not run these, but knows them by their name
    ".oft_R.weight": Message("OFT of peft"),
    ".oft_R.default.weight": Message("OFT of peft"),
    ".oft_r": Message("OFT of peft"),
    ".boft_R": Message("BOFT of peft"),
    ".boft_blocks": Message("BOFT of another layout"),
    ".on_input": "(IA)³",
    ".ia3_l": Message("(IA)³ of peft"),
    ".a1.weight": "GLoRA",
    ".vera_lambda_d": "VeRA",
    ".w_norm": Message("changes of norms alone"),
}
_BEGINNINGS = tuple(beginning for beginning, _ in BEGINNINGS if beginning)
RUN = Message("LoRA, LoCon, LoHa, LoKr, DoRA, OFT, BOFT and full differences are run")


def as_lora(facts: ModelFacts, header: Header, name: str) -> ModelFacts | None:
    """What a file is as an adapter; None where it is none, and for a checkpoint into which one was merged, but not
    well: its tensors are strays there."""
    if f"{UNET_PREFIX}input_blocks.0.0.weight" in header.tensors:
        return None
    marks = [k for k in header.tensors if k.endswith(_ADAPTER_MARKS) or _ADAPTER_MARK in k]
    begins = [k for k in header.tensors if k.startswith(_BEGINNINGS)] if not marks else []
    marks = marks or [k for k in begins if k.endswith(_DIFFERENCE_MARKS)]
    family = lora_family(header.tensors, header.metadata)
    if not marks:
        forms = (form for end, form in _OTHER_FORMS.items() for k in header.tensors if k.endswith(end))
        other = next(forms, "")
        if not other or not (begins or any("base_model.model." in k for k in header.tensors)):
            return None
        return replace(
            facts,
            kind="lora",
            family=family,
            reason=Message("This adapter is of the form {other}; {run}.", other=other, run=RUN),
        )
    reason = ""
    if family is None:
        reason = Message(
            "This LoRA is for a model of another family than SD 1, SD 2 and SDXL, or does not say for which."
        )
    adapters = {part_of(key) for key in marks if not key.startswith(OF_UNET)}
    if any(key.startswith(OF_UNET) for key in marks):
        adapters.add("unet")
    parts = tuple(part for part in ("unet", "text_encoder", "text_encoder_2") if part in adapters)
    return replace(facts, kind="lora", family=family, parts=parts, reason=reason)


def part_of(key: str) -> str:
    """The part that a tensor is for, by its name alone."""
    part, rest = split_part(key)
    if part != MODULE:
        return ADAPTER_NAMES.get(part, part)
    return "text_encoder" if _TEXT_MODULE.search(rest) else "unet"


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
    base_model = " ".join(
        metadata.get(k, "") for k in ("modelspec.architecture", "ss_base_model_version", "ss_sd_model_name")
    ).lower()
    for family in FAMILIES.values():
        if any(mark in base_model for mark in family.metadata_marks):
            return family.name
    if widths:
        return None
    text = Counter(
        e.shape[1]
        for k, e in tensors.items()
        if "q_proj" in k and _is_down(k) and len(e.shape) == 2 and part_of(k) != "unet"
    )
    for family in FAMILIES.values():
        if family.adapter_marks and any(k.startswith(family.adapter_marks) for k in tensors):
            return family.name
    if 1280 in text:  # OpenCLIP ViT-bigG/14
        return "sdxl"
    by_width = of_context_width(text.most_common(1)[0][0]) if text else None
    return by_width.name if by_width is not None else None


def _is_down(name: str) -> bool:
    return name.endswith(_LORA_MARKS) or _ADAPTER_MARK in name


def _input_width(tensors: Mapping[str, TensorEntry], name: str, entry: TensorEntry) -> int | None:
    """How wide the inputs of an adapted linear layer are, by the tensor of its adapter that shows it; else None."""
    if name.endswith((*_PLAIN_MARKS, ".diff")) or _ADAPTER_MARK in name:
        return entry.shape[1]
    if not name.endswith((".lokr_w1", ".lokr_w1_b")):
        return None
    start = name.rpartition(".")[0]
    right = tensors.get(f"{start}.lokr_w2") or tensors.get(f"{start}.lokr_w2_b")
    return entry.shape[1] * right.shape[1] if right is not None and len(right.shape) >= 2 else None
