"""What a picture's file says of itself: the few facts that the index holds, and all of it for one picture.

Reads texts and the header, never pixels; whatever program wrote them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from studio.asked.prompt import parse_prompt
from studio.picture.file_settings import FileSettings
from studio.picture.metadata import head, info_of_texts
from studio.picture.programs import settings_of_texts
from studio.picture.taken_over import STUDIO

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".avif")
MAX_TEXT_BYTES = 2**16  # of one text of a file
MAX_INDEX_CHARACTERS = 4000  # of a prompt, in the index
MAX_VALUE_CHARACTERS = 4000  # of a setting that is shown
MAX_VALUES = 200
MAX_NAME_CHARACTERS = 200
_INFO_LEFT_OUT = (
    "prompt",
    "negative_prompt",
    "schema",
    "num_images_per_prompt",
    "versions",
    "prompt_notes",
    "file_note",
)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a file says. `settings`: all that it states but the prompts, by the program's own names, as text. `info`:
    our own, where the studio has made it."""

    width: int = 0
    height: int = 0
    prompt: str = ""
    negative_prompt: str = ""
    model: str = ""
    loras: tuple[str, ...] = ()
    program: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    info: Mapping[str, Any] | None = None


def id_of(root: str, name: str) -> str:
    """A picture's id where the studio has given it none: the same as long as its file lies there."""
    return hashlib.sha256(f"{root}\0{name}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def facts_of(path: Path) -> Facts:
    """What a file says; only a size of 0x0 for one that is none of a picture. Raises OSError."""
    return facts_of_texts(*head(path, limit=MAX_TEXT_BYTES))


def facts_of_texts(width: int, height: int, texts: Mapping[str, str]) -> Facts:
    """What the texts of a file say by keyword; `width` and `height` of its picture, in pixels."""
    info = info_of_texts(texts)
    if info is not None:
        values = {name: value for name, value in info.items() if name not in _INFO_LEFT_OUT and value is not None}
        return _facts(width, height, STUDIO, info, values, info)
    program_settings = settings_of_texts(texts)
    if program_settings is None:
        return Facts(width=width, height=height)
    program, settings = program_settings
    return _facts(width, height, program, settings.values, _stated(settings), None)


def _stated(settings: FileSettings) -> dict[str, object]:
    names = {name: value for name, value in settings.values.items() if name not in ("prompt", "negative_prompt")}
    return names | {key: value for key, (value, _) in settings.others.items()}


def _facts(
    width: int,
    height: int,
    program: str,
    values: Mapping[str, Any],
    stated: Mapping[str, object],
    info: Mapping[str, Any] | None,
) -> Facts:
    prompt = _text(values.get("prompt"))
    try:
        loras = tuple(dict.fromkeys(_text(tag.name)[:MAX_NAME_CHARACTERS] for tag in parse_prompt(prompt).loras))
    except ValueError:
        loras = ()
    return Facts(
        width=width,
        height=height,
        prompt=prompt,
        negative_prompt=_text(values.get("negative_prompt")),
        model=_text(values.get("checkpoint"))[:MAX_NAME_CHARACTERS],
        loras=loras[:50],
        program=program[:MAX_NAME_CHARACTERS],
        settings={str(name)[:100]: _plain(value) for name, value in list(stated.items())[:MAX_VALUES]},
        info=info,
    )


def _text(value: object) -> str:
    text = value if isinstance(value, str) else "" if value is None else str(value)
    return text.encode("utf-8", "replace").decode()[:MAX_TEXT_BYTES]


def _plain(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else str(value)
    return _text(text)[:MAX_VALUE_CHARACTERS]
