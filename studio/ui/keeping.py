"""Fields that survive a reload, kept by the browser alone.

Each browser tab has its own (sessionStorage), so that two tabs of one browser do not overwrite each other; a new tab
begins with what was kept last (localStorage).

Not gr.BrowserState: in 6.31 it loses the first value that is set after the page has loaded (measured).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

VERSION = 1  # of what is kept; fields without a version are those of 0.1.0, which had the same form
# A version of the studio reads what older ones have kept, and leaves alone what a newer one has: (text) => fields.
_FIELDS = (
    "((text) => { const kept = JSON.parse(text); if (kept?.version === undefined) return kept; "
    f"return kept.version <= {VERSION} ? kept.fields : null; }})"
)
_NEWER = f"((text) => {{ try {{ return JSON.parse(text)?.version > {VERSION}; }} catch {{ return false; }} }})"


def keeper(key: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of an event that keeps `fields` (components by name) under `key`; it runs in the browser alone."""
    pairs = ", ".join(f"{name}: v[{k}]" for k, name in enumerate(fields))
    name = json.dumps(key)
    return {
        "fn": None,
        # What changes before the kept fields have been read back is not a visitor's doing.
        "js": (
            f"(...v) => {{ if (!window[{name}]) return; "
            f"const kept = JSON.stringify({{ version: {VERSION}, fields: {{{pairs}}} }}); "
            f"for (const storage of [sessionStorage, localStorage]) "
            f"if (!{_NEWER}(storage.getItem({name}))) storage.setItem({name}, kept); }}"
        ),
        "inputs": list(fields.values()),
    }


def reader(key: str) -> str:
    """The script that reads what `keeper` kept; null where there is nothing, or what a newer version has kept: the
    browser's console says so."""
    name = json.dumps(key)
    return (
        f"() => {{ window[{name}] = true; try {{ "
        f"const text = sessionStorage.getItem({name}) ?? localStorage.getItem({name}); "
        f"if ({_NEWER}(text)) console.warn('Kept by a newer version of the studio, left alone:', {name}); "
        f"return {_FIELDS}(text); }} catch {{ return null; }} }}"
    )
