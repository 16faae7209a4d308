"""The page's first answer is compressed, and names the script and the style sheet that it will need."""

from __future__ import annotations

import gzip

import pytest
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse, StreamingResponse
from starlette.routing import Route

from studio.ui import assets, language
from studio.web.front import Front
from studio.web.language import Language
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


def test_the_page_loads_the_texts_of_the_language_that_is_asked_for() -> None:
    page = '<html lang="en"><script>layout</script><script data-gradio-mode></script>'
    front = Front(Starlette(routes=[Route("/", lambda request: HTMLResponse(page))]))
    for name, tag in language.TAGS.items():
        answer = call(Language(front), "/", headers=[("accept-language", tag)])
        script = f'<script src="{assets.texts(name).address}"></script>'
        assert answer.body.decode() == (
            f'<html lang="{tag}"><script>layout</script>{script}<script data-gradio-mode></script>'
        )
        links = [value for header, value in answer.headers if header == "link"]
        assert f"<{assets.texts(name).address}>; rel=preload; as=script" in links
        assert "accept-language" in str(answer.header("vary"))
