"""A name for a new file of the models folder, out of what somebody wrote or a server says."""

from __future__ import annotations

import re
import unicodedata

MOST_CHARACTERS = 100
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')  # by Windows, and the slash
_RESERVED = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(?:\.|$)", re.IGNORECASE)
_ENDING = re.compile(r"\.(safetensors|sft)$", re.IGNORECASE)


def clean_stem(text: str) -> str:
    """A file's name without its ending, at most MOST_CHARACTERS long: no way out of its folder, not hidden, allowed on
    every system. "" where nothing is left."""
    text = _ENDING.sub("", unicodedata.normalize("NFC", text).strip())
    seen = (c for c in text if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
    stem = _FORBIDDEN.sub("_", "".join(seen)).lstrip(" .")[:MOST_CHARACTERS].rstrip(" .")
    while len(stem.encode()) > 200:  # of 255 that file systems have
        stem = stem[:-1]
    return f"_{stem}" if _RESERVED.match(stem.replace(" ", "")) else stem
