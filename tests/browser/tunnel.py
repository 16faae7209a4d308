"""The studio at the end of a slow tunnel: `python -m tests.browser.tunnel FOLDER` serves the built-in model, sends
every script and style sheet after a delay of its own, and has the page note its script errors.

Prints the address once the model is loaded.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.engine.engine import DiffusionEngine
from studio.engine.local import LocalEngine
from studio.picture.gallery import Gallery
from studio.ui.application import application, functions
from studio.ui.page import build
from studio.ui.uploads import Uploads
from studio.web import middleware
from studio.web.server import Server

ROOT = Path(__file__).resolve().parents[2]
TOUR = Path(__file__).with_name("tour.mjs")
LONGEST_DELAY = 0.3  # seconds of one file; Gradio's files ask for each other, five or six deep
# Stands first in the page, so that it sees every error of every script, and every file that does not come.
ERRORS = """<script>
  window.tourErrors = [];
  const note = (text) => window.tourErrors.push(String(text).slice(0, 500));
  addEventListener("error", (event) => {
    if (event.target?.rel === "modulepreload") return; // a hint only: Firefox calls one that came twice an error
    note(event.message || `${event.target?.src || event.target?.href} did not come`);
  }, true);
  addEventListener("unhandledrejection", (event) => note(event.reason?.stack || event.reason));
  const said = console.error;
  console.error = (...parts) => { note(parts.map((part) => part?.stack || part).join(" ")); said(...parts); };
</script>"""


class Tunnel:
    """ASGI middleware: delays files at random, puts ERRORS into the page, and serves the tour itself."""

    def __init__(self, app: ASGIApp, *, seed: int) -> None:
        self.app = app
        self.delays = random.Random(seed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if path == "/tour.mjs":
            await send(
                {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/javascript")]}
            )
            await send({"type": "http.response.body", "body": TOUR.read_bytes()})
            return
        if path.endswith((".js", ".css")):
            await asyncio.sleep(self.delays.uniform(0, LONGEST_DELAY))
        if scope["type"] != "http" or path != "/":
            await self.app(scope, receive, send)
            return
        scope = {**scope, "headers": [pair for pair in scope["headers"] if pair[0] != b"accept-encoding"]}
        start: Message = {}
        page = b""

        async def collect(message: Message) -> None:
            nonlocal start, page
            if message["type"] == "http.response.start":
                start = message
                return
            page += message.get("body", b"")
            if not message.get("more_body"):
                whole = page.replace(b"<head>", b"<head>" + ERRORS.encode(), 1)
                MutableHeaders(scope=start)["content-length"] = str(len(whole))
                await send(start)
                await send({"type": "http.response.body", "body": whole})

        await self.app(scope, receive, collect)


def main(folder: Path) -> None:
    gallery = Gallery(folder)
    machine = DiffusionEngine([ROOT / "models"], gallery, device="cpu", preload="small-world-128")
    machine.start()
    engine = LocalEngine(machine)
    uploads = Uploads()
    demo, arguments = build(engine, gallery, uploads)
    layers = [
        Middleware(Tunnel, seed=1),
        *middleware(engine, gallery, hosts=set(), uploads=uploads, functions=functions(demo)),
    ]
    server = Server(application(demo, arguments, layers), host="127.0.0.1", port=0)
    server.start()
    while machine.status().state in ("starting", "loading"):
        time.sleep(0.1)
    print(server.url, flush=True)
    try:
        time.sleep(1e9)
    finally:
        server.close()
        machine.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp()))
