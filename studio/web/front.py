"""The page's first answer, made small and quick on a slow line: compressed, and with links to the files it will need
next.

Gradio sends its page as it is (over 300 KB, most of it the layout as JSON), and asks for our script and style sheet
only once it has drawn the page. The page is the same for everybody but for the name of the file with its texts.
"""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.ui import assets, language
from studio.web import manifest

_MANIFEST = b'<link rel="manifest" href="/manifest.json" />'  # Gradio's, the first of a page counts
_SCRIPTS = b"<script data-gradio-mode>"  # the first of Gradio's scripts after the layout
PATHS = ("/", "/config")


class Front:
    """ASGI middleware around the page itself."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or scope["path"] not in PATHS:
            await self.app(scope, receive, send)
            return
        accept_header = Headers(scope=scope).get("accept-encoding", "")
        start: Message = {}
        body = bytearray()

        async def hold(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
                return
            body.extend(message.get("body", b""))
            if message.get("more_body"):
                return
            headers = MutableHeaders(scope=start)
            content = bytes(body)
            texts = assets.texts(language.current())
            if start["status"] == 200 and "content-encoding" not in headers:
                if scope["path"] == "/":
                    content = _in_language(content, texts)
                content, encoding = await run_in_threadpool(assets.compress, content, accept_header)
                headers.add_vary_header("accept-encoding, accept-language, cookie")
                if encoding:
                    headers["content-encoding"] = encoding
                headers["content-length"] = str(len(content))
                if scope["path"] == "/":
                    headers.append("link", f"<{texts.address}>; rel=preload; as=script")
                    headers.append("link", f"<{assets.script().address}>; rel=modulepreload")
                    headers.append("link", f"<{assets.styles().address}>; rel=preload; as=style")
            await send(start)
            await send({"type": "http.response.body", "body": content})

        await self.app(scope, receive, hold)


def _in_language(page: bytes, texts: assets.Asset) -> bytes:
    """The page with the script that puts the texts of the visitor's language into it, before Gradio draws it."""
    tag = language.TAGS[language.current()].encode()
    page = page.replace(_MANIFEST, manifest.links().encode(), 1)
    page = page.replace(b'lang="en"', b'lang="%s"' % tag, 1)
    return page.replace(_SCRIPTS, b'<script src="%s"></script>%s' % (texts.address.encode(), _SCRIPTS), 1)
