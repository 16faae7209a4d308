"""Foreign text made safe to show: names of files and what stands in their headers may hold anything."""

from __future__ import annotations

import unicodedata

# Marks of writing direction: shown as they are they turn what stands beside them around (a name that ends in another
# way than the file does).
_DIRECTION = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def visible(text: str, keep: str = "") -> str:
    """The text with every control character, line break, direction mark and lone surrogate written as its number,
    ⟨U+202E⟩, but those in `keep`."""
    return "".join(f"⟨U+{ord(one):04X}⟩" if _is_hidden(one) and one not in keep else one for one in text)


def _is_hidden(one: str) -> bool:
    return one in _DIRECTION or unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp")
