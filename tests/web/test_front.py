"""The page's first answer is compressed, and names the script and the style sheet that it will need."""

from __future__ import annotations

import gzip

import pytest
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse, StreamingResponse
from starlette.routing import Route

from studio.ui import assets
from studio.web.front import Front
from tests.web.asgi import call

PAGE = "<html>" + "a page " * 5000 + "</html>"


def app() -> Front:
    async def pieces() -> object:
        yield b"one "
        yield b"two"

    return Front(
        Starlette(
            routes=[
                Route("/", lambda request: HTMLResponse(PAGE)),
                Route("/config", lambda request: StreamingResponse(pieces(), media_type="application/json")),
                Route("/other", lambda request: JSONResponse({"a": PAGE})),
            ]
        )
    )


@pytest.mark.parametrize("accepted", ["gzip", ""])
def test_the_page_is_compressed_where_the_browser_takes_it_and_names_what_it_needs(accepted: str) -> None:
    answer = call(app(), "/", headers=[("accept-encoding", accepted)])
    body = gzip.decompress(answer.body) if accepted else answer.body
    assert body.decode() == PAGE
    assert answer.header("content-encoding") == (accepted or None)
    assert answer.header("content-length") == str(len(answer.body))
    links = ", ".join(value for name, value in answer.headers if name == "link")
    assert f"<{assets.script().address}>; rel=modulepreload" in links
    assert f"<{assets.styles().address}>; rel=preload; as=style" in links


def test_a_configuration_in_pieces_is_whole_and_everything_else_is_left_alone() -> None:
    assert gzip.decompress(call(app(), "/config", headers=[("accept-encoding", "gzip")]).body) == b"one two"
    other = call(app(), "/other", headers=[("accept-encoding", "gzip")])
    assert (other.header("content-encoding"), other.header("link")) == (None, None)
    assert call(app(), "/", method="POST").status == 405
