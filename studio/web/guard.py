"""The first check of every request: whom the studio answers, how much it reads, and what browsers must forbid.

Knows nothing of logins, owners or pictures. Active on loopback too, because any web page can make the visitor's own
browser call 127.0.0.1. All of this was measured with real pages in Chromium.
"""

from __future__ import annotations

import ipaddress
import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.asked.problems import quoted_value
from studio.web.cookies import FRAMED

MAX_BODY_BYTES = 2 * 2**20  # everything but uploads; two prompts of 20,000 emoji are a tenth of it
MAX_UPLOAD_BYTES = 25 * 2**20  # a picture of 20 MiB in its multipart wrapping
MAX_PICTURES_BYTES = 28 * 2**20  # of JSON that holds pictures: one of 20 MiB in base64, and a mask
LOOPBACK = ("127.0.0.1", "localhost", "::1")

# What Gradio 6.31 needs to work (its page has inline scripts and styles, and its compiled components use eval), and
# nothing from any other host: injected markup can load nothing and contact nobody.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "manifest-src 'self'",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
SECURITY_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=(), payment=(), usb=()",
}


def security_headers(framed_by: Sequence[str]) -> dict[str, str]:
    """What every answer says to browsers; `framed_by` are origins that may show the page in a frame."""
    if not framed_by:
        return SECURITY_HEADERS
    headers = {name: value for name, value in SECURITY_HEADERS.items() if name != "x-frame-options"}
    ancestors = f"frame-ancestors 'self' {' '.join(framed_by)}"
    policy = headers["content-security-policy"].replace("frame-ancestors 'none'", ancestors)
    return headers | {"content-security-policy": policy}


_DEFAULT_PORTS = {"http": "80", "https": "443"}
_HAS_SCHEME = re.compile(r"\s*[a-zA-Z][a-zA-Z0-9+.-]+:")  # two letters at least: C:\ is a Windows path


class Refusal(Exception):
    """The request is answered here. The text is a plain sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class Guard:
    """ASGI middleware: Host, Origin, Sec-Fetch-Site, body sizes, security headers. Streams pass through unbuffered.

    `hosts`: names the studio answers to besides the loopback ones, without port; looked up at each request, so a
    tunnel's name may be added later. "0.0.0.0" or "::" among them (listening everywhere) admits every address written
    in numbers, since only names can be rebound to another address. `framed_by`: origins of sites that may show the page
    in a frame.

    `with_pictures`: the beginnings of addresses whose JSON may hold pictures. Such a body is not read here, before it
    is known whose it is: whoever answers it reads it (`studio.web.picture_bodies`).
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Collection[str],
        with_pictures: Collection[str] = (),
        framed_by: Sequence[str] = (),
    ) -> None:
        self.app = app
        self.hosts = hosts
        self.with_pictures = tuple(with_pictures)
        self.framed_by = tuple(framed_by)
        self.headers = security_headers(self.framed_by)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        if self.framed_by:
            scope = {**scope, FRAMED: True}
        try:
            self._check(scope)
            if scope["type"] == "websocket":
                await self.app(scope, receive, send)
                return
            has_pictures = scope["path"].startswith(self.with_pictures)
            exchange = _Exchange(scope, receive, send, self.headers, pictures=has_pictures)
            if await exchange.read_ahead():
                await self.app(scope, exchange.receive, exchange.send)
        except Refusal as refusal:
            await _refuse(refusal, scope, receive, send, self.headers)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = _only(headers, "host", 421)
        name, port = split_host(host)
        if not self._answers_to(name):
            raise Refusal(421, f"This studio does not answer to the name {quoted_value(name)}.")
        if "origin" in headers:
            scheme, _, netloc = _only(headers, "origin", 403).partition("://")
            standard = _DEFAULT_PORTS.get(scheme)
            if standard is None or split_host(netloc, standard) != (name, port or standard):
                raise Refusal(403, "Other web pages may not use this studio.")
        site = headers.get("sec-fetch-site", "none")
        if site not in ("same-origin", "none") and not _is_navigation(scope, headers, is_framed=bool(self.framed_by)):
            raise Refusal(403, "Other web pages may not use this studio.")

    def _answers_to(self, name: str) -> bool:
        if name in LOOPBACK or name in (host.lower() for host in self.hosts):
            return True
        return ("0.0.0.0" in self.hosts or "::" in self.hosts) and _is_address(name)


def _only(headers: Headers, name: str, status: int) -> str:
    values = headers.getlist(name)
    if len(values) != 1:
        raise Refusal(status, f"A request must have one {name.title()} header.")
    return values[0]


def split_host(netloc: str, standard_port: str = "") -> tuple[str, str]:
    """Host and port of a Host header or an origin, in small letters; without a port, the standard one."""
    bracket_match = re.fullmatch(r"\[([0-9a-fA-F:.]+)\](?::(\d{1,5}))?", netloc)
    plain = re.fullmatch(r"([A-Za-z0-9._-]+)(?::(\d{1,5}))?", netloc)
    match = bracket_match or plain
    if match is None:
        return "", ""
    return match[1].lower().rstrip("."), match[2] or standard_port


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_navigation(scope: Scope, headers: Headers, *, is_framed: bool) -> bool:
    """Whether a person followed a link from another page, or (`framed`) a site shows the page in its frame."""
    places = {"document", "iframe"} if is_framed else {"document"}
    navigates = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") in places
    return scope["type"] == "http" and scope["method"] in ("GET", "HEAD") and navigates


class _Exchange:
    """One request and its answer. Uploads are counted as they stream; other bodies are read before the app runs."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, security: Mapping[str, str], *, pictures: bool = False
    ) -> None:
        headers = Headers(scope=scope)
        self._security = security
        content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        length_text = headers.get("content-length", "0")
        if not re.fullmatch(r"[0-9]{1,18}", length_text):
            raise Refusal(400, "Content-Length must be a number.")
        self.is_json = content_type == "application/json" or content_type.endswith("+json")
        multipart = content_type == "multipart/form-data" and scope["path"].rstrip("/").endswith("/upload")
        # Here the whole body is a picture, and our own route limits what it reads.
        upload = multipart or (content_type.startswith("image/") and scope["path"].startswith("/ask/"))
        self.streams = upload or pictures
        self.is_empty = "transfer-encoding" not in headers and int(length_text) == 0
        self.limit = MAX_PICTURES_BYTES if pictures else MAX_UPLOAD_BYTES if upload else MAX_BODY_BYTES
        self._receive, self._send = receive, send
        self._ahead: list[Message] = []
        self._count = 0
        self._has_answered = False
        self._refusal: Refusal | None = None
        if int(length_text) > self.limit:
            raise self._too_large()

    def _too_large(self) -> Refusal:
        return Refusal(413, f"This request is too large: at most {self.limit // 2**20} MiB are read.")

    async def read_ahead(self) -> bool:
        """Read the whole body, unless it is an upload, and check what it would make the server open.

        False when the visitor left meanwhile: then there is nobody to answer.
        """
        if self.is_empty or self.streams:
            return True
        body = bytearray()
        more = True
        while more:
            message = await self._receive()
            if message["type"] != "http.request":
                return False
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self.limit:
                raise self._too_large()
        if self.is_json:
            check_json(bytes(body))
        self._ahead.append({"type": "http.request", "body": bytes(body), "more_body": False})
        return True

    async def receive(self) -> Message:
        """The app's `receive`."""
        if self._ahead:
            return self._ahead.pop(0)
        message = await self._receive()
        if message["type"] == "http.request":
            self._count += len(message.get("body", b""))
            if self._count > self.limit:
                self._refusal = self._too_large()
                if self._has_answered:  # too late for another answer: the app sees a disconnect
                    return {"type": "http.disconnect"}
                raise self._refusal
        return message

    async def send(self, message: Message) -> None:
        """The app's `send`: adds the headers. The app's answer to an upload that was cut off is replaced."""
        if self._refusal and not self._has_answered:
            raise self._refusal
        self._has_answered = True
        if message["type"] == "http.response.start":
            _add_headers(message, self._security)
        await self._send(message)


def check_json(body: bytes) -> Any:
    """The value of a body of JSON. Refuses what would make Gradio open something: a picture written as `data:` text, or
    an address to fetch.

    Gradio's file fields (`path`, `url`) accept both, without the limits of an upload. Texts such as prompts may hold
    anything. Raises Refusal.
    """
    try:
        whole = json.loads(body, parse_constant=_not_a_number, parse_float=_finite)
    except (ValueError, RecursionError):
        raise Refusal(400, "The body of this request is not JSON.") from None
    waiting = [whole]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            path, url = value.get("path"), value.get("url")
            if isinstance(path, str) and _HAS_SCHEME.match(path):
                raise Refusal(400, "path: files are uploaded first; data: texts and addresses are not opened.")
            if isinstance(url, str) and url.strip().lower().startswith("data:"):
                raise Refusal(413, "url: pictures are uploaded as files, not written as data: texts.")
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return whole


def _not_a_number(word: str) -> float:
    raise Refusal(400, f"The body of this request is not JSON: it has no {word}.")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise Refusal(400, f"The body of this request has a number that is too large: {quoted_value(text)}.")
    return number


def _add_headers(message: Message, security: Mapping[str, str]) -> None:
    """Security headers on every answer, and none that lets another page read it; event streams also tell proxies not to
    buffer them."""
    headers = MutableHeaders(scope=message)
    for name in [name for name in headers if name.startswith("access-control-")]:  # Gradio's
        del headers[name]
    for name, value in security.items():
        headers.setdefault(name, value)
    if headers.get("content-type", "").startswith("text/event-stream"):
        headers["cache-control"] = "no-cache"
        headers["x-accel-buffering"] = "no"


async def _refuse(refusal: Refusal, scope: Scope, receive: Receive, send: Send, security: Mapping[str, str]) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    # The rest of a refused body stays unread, so the connection cannot be reused.
    headers = (
        dict(security) | {"cache-control": "no-store"} | ({"connection": "close"} if refusal.status == 413 else {})
    )
    await PlainTextResponse(refusal.sentence, status_code=refusal.status, headers=headers)(scope, receive, send)
