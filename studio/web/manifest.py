"""What browsers need to install the page as an app: a manifest and icons. https://www.w3.org/TR/appmanifest/

Browsers fetch a manifest without cookies, so it is answered before the login. It is the same for everybody and holds
the studio's name and looks, as the form of the login does; nobody becomes a visitor by it. No service worker: browsers
install a page without one, and a page that needs its studio has no use offline.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from studio.ui import language
from studio.ui.text import say

ADDRESS = "/manifest.webmanifest"
ICON_ADDRESS = "/app-icon/"
ICON_FOLDER = Path(__file__).resolve().parent.parent / "ui" / "static" / "icons"  # PNGs of the SVGs beside them
ICONS = {"any-192.png": 192, "any-512.png": 512, "maskable-512.png": 512}  # file -> pixels a side
TOUCH_ICON = "touch-180.png"  # iOS reads no icons of a manifest
GROUND = "#fafaf8"  # --ls-surface of studio/ui/static/studio.css, in light


class Manifest:
    """ASGI middleware: answers GET and HEAD of the manifest and of the icons."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = None
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
            if scope["path"] == ADDRESS:
                answer = _manifest()
            elif scope["path"].startswith(ICON_ADDRESS):
                answer = await run_in_threadpool(_icon, scope["path"].removeprefix(ICON_ADDRESS))
        await (answer or self.app)(scope, receive, send)


def links() -> str:
    """What stands in the page's head."""
    return (
        f'<link rel="manifest" href="{ADDRESS}"><link rel="apple-touch-icon" href="{ICON_ADDRESS}{TOUCH_ICON}">'
        f'<meta name="theme-color" content="{GROUND}">'
    )


def content() -> dict[str, Any]:
    """The manifest, in the language of the request that is being answered."""
    icons = [
        {"src": ICON_ADDRESS + name, "sizes": f"{side}x{side}", "type": "image/png", "purpose": name.partition("-")[0]}
        for name, side in ICONS.items()
    ]
    return {
        "id": "/",
        "name": say("page.title"),
        "short_name": say("page.title"),
        "description": say("page.description"),
        "lang": language.TAGS[language.current()],
        "start_url": "/",
        "scope": "/",
        "display": "standalone",
        "background_color": GROUND,
        "theme_color": GROUND,
        "icons": icons,
    }


def _manifest() -> Response:
    headers = {"cache-control": "no-cache", "vary": "accept-language, cookie"}
    text = json.dumps(content(), ensure_ascii=False)
    return Response(text, media_type="application/manifest+json", headers=headers)


def _icon(name: str) -> Response | None:
    """None for any other name, which goes on to the login like every address."""
    if name not in (*ICONS, TOUCH_ICON):
        return None
    headers = {"cache-control": "public, max-age=86400"}
    return Response((ICON_FOLDER / name).read_bytes(), media_type="image/png", headers=headers)
