"""The page's own script, style sheet and texts, which it loads besides Gradio's files. Script and style sheet are
joined from the folders `static`: one beside each tab, and one for what they share. Each name holds a hash of the
content, so that a browser can cache it forever.

Knows files and bytes; no gradio.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import brotli

from studio.ui import language
from studio.ui.bundle import bundle
from studio.ui.text import page_texts

ROOT = Path(__file__).parent  # a file is named by its path from here, such as "viewer/static/panes.js"
PAGE, REPLAY = "static/page.js", "viewer/static/replay.js"  # the modules to start from
ADDRESS = "/studio-static/"  # answered by studio/web/routes.py
STYLES = (
    "static/studio.css",
    "generate/static/picture.css",
    "generate/static/control.css",
    "generate/static/canvas.css",
    "viewer/static/viewer.css",
    "compare/static/compare.css",
    "generate/static/helper.css",
    "generate/static/prompt_box.css",
    "generate/static/styles.css",
    "generate/static/drawer.css",
    "generate/static/presets.css",
    "library/static/library.css",
    "models/static/models.css",
    "learn/static/learn.css",
    "static/machine.css",
    "picture_sheet/static/sheet.css",
    "queue/static/queue.css",
    "static/sharing.css",
    "static/shortcuts.css",
    "static/upscaling.css",
)
# What makes bytes smaller, the smallest first; `quality` from 0 (quick) to 9.
_ENCODINGS: dict[str, Callable[[bytes, int], bytes]] = {
    "br": lambda content, quality: brotli.compress(content, quality=quality),
    "gzip": lambda content, quality: gzip.compress(content, quality, mtime=0),
}


@dataclass(frozen=True)
class Asset:
    """A file as it is served. `name`, such as "page.0123456789abcdef.js", changes with `content`."""

    name: str
    media_type: str
    content: bytes
    _bodies: dict[str, bytes] = field(default_factory=dict, repr=False, compare=False)

    @property
    def address(self) -> str:
        return ADDRESS + self.name

    def encode(self, accept_header: str) -> tuple[bytes, str | None]:
        """(the bytes to send, their content-encoding or None) for a request's `accept-encoding`."""
        encoding = _encoding(accept_header)
        if encoding is None:
            return self.content, None
        if encoding not in self._bodies:
            self._bodies[encoding] = _ENCODINGS[encoding](self.content, 9)
        return self._bodies[encoding], encoding


def compress(content: bytes, accept_header: str) -> tuple[bytes, str | None]:
    """As `Asset.encoded`, for what is another at each request: quick rather than small."""
    encoding = _encoding(accept_header)
    return (_ENCODINGS[encoding](content, 4), encoding) if encoding else (content, None)


def _encoding(accept_header: str) -> str | None:
    """The best encoding that an `accept-encoding` offers, or None."""
    offers = {part.split(";")[0].strip(): part.replace(" ", "") for part in accept_header.lower().split(",")}
    refusals = (";q=0", ";q=0.0", ";q=0.00", ";q=0.000")
    return next((name for name in _ENCODINGS if name in offers and not offers[name].endswith(refusals)), None)


@cache
def script() -> Asset:
    """The page's script: an ES module with `mount` (static/page.js)."""
    return _asset("page", ".js", "text/javascript; charset=utf-8", source(PAGE))


@cache
def styles() -> Asset:
    """The page's style sheet."""
    return _asset("page", ".css", "text/css; charset=utf-8", "\n".join(read(name) for name in STYLES))


@cache
def texts(name: str) -> Asset:
    """The page's texts in a language as JSON, and the script that puts them into the page (static/language.js)."""
    return _asset(f"texts-{name}", ".js", "text/javascript; charset=utf-8", _texts(name))


def _texts(name: str) -> str:
    facts = {
        "language": name,
        "tag": language.TAGS[name],
        "cookie": language.COOKIE,
        "languages": dict(language.NAMES),
        "texts": page_texts(name),
    }
    return f"window.studioLanguage = {json.dumps(facts, ensure_ascii=False)};\n{read('static/language.js')}"


def by_name(name: str) -> Asset | None:
    """The asset with this name; None for any other name, also for an earlier version's."""
    assets = [script(), styles(), *(texts(one) for one in language.TAGS if name.startswith(f"texts-{one}."))]
    return next((asset for asset in assets if asset.name == name), None)


def source(entry: str) -> str:
    """The module `entry` and all that it imports, as one module."""
    return bundle(entry, read)


def read(name: str) -> str:
    """A script or style sheet, by its name."""
    return (ROOT / name).read_text(encoding="utf-8")


def _asset(stem: str, suffix: str, media_type: str, text: str) -> Asset:
    content = text.encode()
    return Asset(f"{stem}.{hashlib.sha256(content).hexdigest()[:16]}{suffix}", media_type, content)
