"""A server with everything before the page but no page, on the fake engine: for programs that speak HTTP."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from starlette.applications import Starlette

from studio.answered.engine import Engine
from studio.picture.gallery import Gallery
from studio.web import middleware
from studio.web.access import Access
from studio.web.interfaces import Interface
from studio.web.limits import NewVisitors, with_limits
from studio.web.server import Server
from studio.web.upload_room import UploadRoom
from tests.ui.fake_engine import FakeEngine

MakeInterface = Callable[[Engine, Gallery, UploadRoom], Interface]


@dataclass
class Serving:
    """`url` ends with a slash."""

    url: str
    engine: FakeEngine
    gallery: Gallery
    room: UploadRoom

    @property
    def host(self) -> str:
        return str(urlsplit(self.url).hostname)

    @property
    def port(self) -> int:
        return int(urlsplit(self.url).port or 0)


@contextmanager
def serving(
    folder: Path, *interfaces: MakeInterface, access: Access | None = None, seconds_per_step: float = 0.002
) -> Iterator[Serving]:
    """Serves the interfaces until the end of the block."""
    access, new_visitors, gallery = access or Access(), NewVisitors(), Gallery(folder / "outputs")
    fake = FakeEngine(gallery, seconds_per_step=seconds_per_step)
    engine, _ = with_limits(fake, access, new_visitors)
    room = UploadRoom(folder, access, new_visitors)
    switched_on: Sequence[Interface] = [make(engine, gallery, room) for make in interfaces]
    layers = middleware(engine, gallery, hosts=set(), access=access, new_visitors=new_visitors, interfaces=switched_on)
    server = Server(Starlette(middleware=layers), host="127.0.0.1", port=0)
    server.start()
    try:
        yield Serving(server.url, fake, gallery, room)
    finally:
        server.close()
        fake.close()


def in_background(work: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """Work on a thread of its own, and where its result comes."""
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(work()), daemon=True)
    thread.start()
    return thread, results
