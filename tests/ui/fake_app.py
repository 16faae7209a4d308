"""The page on a fake engine: `python -m tests.ui.fake_app [--port 7870] [--loading 3] [--outputs-dir outputs]`."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import gradio as gr

from studio.picture.gallery import Gallery
from studio.ui.page import build
from studio.ui.uploads import Uploads
from studio.web import middleware
from tests.ui.fake_engine import FakeEngine


def launch(
    engine: FakeEngine,
    gallery: Gallery,
    *,
    port: int | None = None,
    auth: tuple[str, str] | None = None,
    guest: tuple[str, str] | None = None,
) -> tuple[gr.Blocks, str]:
    """Serve the page in a thread of its own, behind all that app.py puts before it, and return it with its address."""
    uploads = Uploads()
    demo, kwargs = build(engine, gallery, uploads)
    layers = middleware(engine, gallery, hosts=set(), auth=auth, guest=guest, uploads=uploads)
    app_kwargs = {"openapi_url": None, "middleware": layers}
    _, url, _ = demo.launch(
        server_name="127.0.0.1",
        server_port=port,
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        app_kwargs=app_kwargs,
        **kwargs,
    )
    return demo, url


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=7870)
    parser.add_argument("--loading", type=float, default=0.0, help="seconds until the model is 'loaded'")
    parser.add_argument("--pace", type=float, default=0.05, help="seconds per step")
    parser.add_argument("--outputs-dir", type=Path, default=None)
    given = parser.parse_args()
    gallery = Gallery(given.outputs_dir or tempfile.mkdtemp(prefix="studio-fake-"))
    engine = FakeEngine(gallery, seconds_per_step=given.pace, loading_seconds=given.loading)
    demo, url = launch(engine, gallery, port=given.port)
    print(url, flush=True)
    demo.block_thread()


if __name__ == "__main__":
    main()
