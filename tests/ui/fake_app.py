"""The page on a fake engine: `python -m tests.ui.fake_app [--port 7870] [--loading 3] [--outputs-dir outputs]`."""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import gradio as gr
from starlette.applications import Starlette

from studio.picture.gallery import Gallery
from studio.ui import session
from studio.ui.application import application, close, functions
from studio.ui.page import build
from studio.ui.uploads import Uploads
from studio.web import Share, middleware
from studio.web.access import Access
from studio.web.board import Board
from studio.web.guest_view import answered_visitor
from studio.web.limits import NewVisitors, with_limits
from studio.web.server import Server
from studio.web.sharing import OpenTunnel, Sharing
from studio.web.upload_room import UploadRoom
from tests.ui.fake_engine import FakeEngine
from tests.web.serving import MakeInterface


@dataclass
class Served:
    """A page that is being served."""

    page: gr.Blocks
    app: Starlette
    server: Server
    uploads: Uploads

    def close(self, verbose: bool = False) -> None:
        close(self.page, self.app)
        self.server.close()


def launch(
    engine: FakeEngine,
    gallery: Gallery,
    *,
    port: int | None = None,
    auth: tuple[str, str] | None = None,
    guest: tuple[str, str] | None = None,
    access: Access | None = None,
    open_tunnel: OpenTunnel | None = None,
    interfaces: Sequence[MakeInterface] = (),
) -> tuple[Served, str]:
    """Serve the page in a thread of its own, behind all that app.py puts before it, and return it with its address."""
    uploads = Uploads()
    access, new_visitors = access or Access(auth=auth, guest=guest), NewVisitors()
    board = Board(gallery.outputs_dir)
    page_engine, limits = with_limits(
        engine, access, new_visitors, board, lambda: session.visitor_now() or answered_visitor()
    )
    hosts: set[str] = set()
    sharing = Sharing(access, page_engine, hosts, open_tunnel, address="http://studio.test", on_over=board.end_share)
    demo, kwargs = build(page_engine, gallery, uploads)
    room = UploadRoom(Path(gr.utils.get_upload_folder()), access, new_visitors) if interfaces else None
    layers = middleware(
        page_engine,
        gallery,
        hosts=hosts,
        access=access,
        new_visitors=new_visitors,
        uploads=uploads,
        functions=functions(demo),
        share=Share(sharing, limits),
        room=room,
        interfaces=[make(page_engine, gallery, room) for make in interfaces if room],
    )
    app = application(demo, kwargs, layers)
    server = Server(app, host="127.0.0.1", port=port or 0)
    server.start()
    return Served(demo, app, server, uploads), server.url


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
    try:
        time.sleep(1e9)
    except KeyboardInterrupt:
        demo.close()


if __name__ == "__main__":
    main()
