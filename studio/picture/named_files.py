"""Whether the LoRAs and embeddings that a picture's prompt names are the files that lie here, by their hashes.

A picture carries the hashes of the files that its prompt names, in our own JSON or in A1111's text (`Lora hashes`, `TI
hashes`). A file of the same name may be another one here, and the same file may have another name. Plain data: no disk.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from studio.answered.models import Model
from studio.asked.names import best_matches, name_key, split_at_names
from studio.asked.prompt import parse_prompt, with_lora_names

SHORT_DIGITS = 12

NamedKind = Literal["lora", "embedding"]
#   another   a file of this name with other weights
#   renamed   the same file by another name, put into the prompt
#   absent    no such file
#   unclear   several files of this name
#   unhashed  the file here has no hash yet
#   unknown   the picture has no hash of it
Finding = Literal["another", "renamed", "absent", "unclear", "unhashed", "unknown"]


@dataclass(frozen=True)
class FileRemark:
    """What is to be said of one file that a prompt names."""

    kind: NamedKind
    finding: Finding
    name: str  # in the picture's prompt
    here: str = ""  # of the file here
    hash: str = ""  # in the picture, 12 digits
    hash_here: str = ""


@dataclass(frozen=True)
class FileComparison:
    """The prompts with the names that the picture's files have here, and what differs."""

    prompt: str
    negative_prompt: str
    remarks: tuple[FileRemark, ...]


def hashes_of_pairs(pairs: Mapping[str, str]) -> dict[str, object]:
    """The hashes in the pairs of an A1111 text, as our own JSON calls them."""
    return {
        "lora_short_hashes": _hash_list(pairs.get("Lora hashes", "")),
        "embedding_hashes": _hash_list(pairs.get("TI hashes", "")),
    }


def _hash_list(text: str) -> dict[str, str]:
    hashes = {}
    for part in text.split(","):
        name, _, digits = part.rpartition(":")
        if name.strip() and re.fullmatch(r"[0-9a-f]{8,64}", digits.strip(), re.IGNORECASE):
            hashes[name.strip()] = digits.strip().lower()
    return hashes


def compare_files(
    info: Mapping[str, object], prompt: str, negative_prompt: str, models: Sequence[Model]
) -> FileComparison:
    """Compare the files that a picture was made with (its `info`, or `hashes_of_pairs`) with those that lie here, and
    give the prompts the names that these have."""
    remarks: list[FileRemark] = []
    names = {name_key(tag.name): tag.name for tag in parse_prompt(prompt).loras}
    whole, short = _table(info, "lora_hashes"), _table(info, "lora_short_hashes")
    loras = [m for m in models if m.kind == "lora"]
    other_names: dict[str, str] = {}
    for key, name in names.items():
        without_marks = name_key(re.sub("[:,]", "", name))  # as A1111 writes it
        remark = _remark("lora", name, whole.get(key, ""), short.get(key) or short.get(without_marks, ""), loras)
        if remark is not None:
            remarks.append(remark)
            if remark.finding == "renamed":
                other_names[key] = remark.here
    prompt = with_lora_names(prompt, other_names)
    words: dict[str, str] = {}
    embeddings = [m for m in models if m.kind == "embedding"]
    for key, digits in _table(info, "embedding_hashes").items():
        name = next(n for n in _mapping(info, "embedding_hashes") if name_key(n) == key)
        remark = _remark("embedding", name, digits, digits[:SHORT_DIGITS], embeddings)
        if remark is not None:
            remarks.append(remark)
            if remark.finding == "renamed":
                words[key] = remark.here
    return FileComparison(_with_words(prompt, words), _with_words(negative_prompt, words), tuple(remarks))


def _remark(kind: NamedKind, name: str, whole: str, short: str, models: Sequence[Model]) -> FileRemark | None:
    """What differs of one file; None where the file here is the picture's own."""
    hash_in_picture = (whole or short)[:SHORT_DIGITS]
    matches = best_matches(name, models, _paths)
    if not whole and not short:
        finding: Finding = "unknown" if len(matches) == 1 else "unclear" if matches else "absent"
        return FileRemark(kind, finding, name, matches[0].name if len(matches) == 1 else "")
    same = [m for m in models if _is(m, whole, short)]
    if len(matches) == 1 and matches[0] in same:
        return None
    if same:
        return FileRemark(kind, "renamed", name, same[0].name, hash_in_picture)
    if len(matches) != 1:
        return FileRemark(kind, "unclear" if matches else "absent", name, "", hash_in_picture)
    here = matches[0]
    hash_here = here.sha256 if whole else here.short_hash
    finding = "another" if hash_here else "unhashed"
    return FileRemark(kind, finding, name, here.name, hash_in_picture, (hash_here or "")[:SHORT_DIGITS])


def _is(model: Model, whole: str, short: str) -> bool:
    """By the hash of the whole file where the picture has it: a LoRA's metadata may claim any short one."""
    if len(whole) == 64:
        return model.sha256 == whole
    return bool(short and model.short_hash) and str(model.short_hash)[: len(short)] == short[:SHORT_DIGITS]


def _paths(model: Model) -> tuple[str, ...]:
    alias = model.facts.alias
    return (f"{model.where}/{model.name.rpartition('/')[2]}", *((alias,) if alias else ()))


def _table(info: Mapping[str, object], field: str) -> dict[str, str]:
    return {name_key(name): str(value).lower() for name, value in _mapping(info, field).items()}


def _mapping(info: Mapping[str, object], field: str) -> Mapping[str, object]:
    value = info.get(field)
    return {str(k): v for k, v in value.items() if isinstance(v, str)} if isinstance(value, Mapping) else {}


def _with_words(text: str, words: Mapping[str, str]) -> str:
    return "".join(words.get(key, piece) if key else piece for piece, key in split_at_names(text, tuple(words)))
