"""Fields that survive a reload, kept by the browser alone.

Each browser tab has its own (sessionStorage), so that two tabs of one browser do not overwrite each other; a new tab
begins with what was kept last (localStorage).

Not gr.BrowserState: in 6.31 it loses the first value that is set after the page has loaded (measured).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def keeper(key: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of an event that keeps `fields` (components by name) under `key`; it runs in the browser alone."""
    pairs = ", ".join(f"{name}: v[{k}]" for k, name in enumerate(fields))
    name = json.dumps(key)
    return {
        "fn": None,
        # What changes before the kept fields have been read back is not a visitor's doing.
        "js": (
            f"(...v) => {{ if (!window[{name}]) return; const kept = JSON.stringify({{{pairs}}}); "
            f"for (const storage of [sessionStorage, localStorage]) storage.setItem({name}, kept); }}"
        ),
        "inputs": list(fields.values()),
    }


def reader(key: str) -> str:
    """The script that reads what `keeper` kept; null where there is nothing."""
    name = json.dumps(key)
    return (
        f"() => {{ window[{name}] = true; "
        f"try {{ return JSON.parse(sessionStorage.getItem({name}) ?? localStorage.getItem({name})); }} "
        "catch { return null; } }"
    )
