"""Name and password before anything else, when the studio was started with a login.

Owns the sessions, the login page and the count of failures; knows nothing of owners, pictures or the page. Gradio's own
`auth=` is not used: it serves some routes and the page's description before the login, covers none of our routes, and
accepts 321 guesses a second.
"""

from __future__ import annotations

import hashlib
import hmac
import html
import math
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.requests import Request, cookie_parser
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from studio.ui.text import say

COOKIE = "studio_login"
GUEST_HEADER = "x-studio-guest"  # set for guests, who may not do everything
HEADER = "x-studio-login"  # set for everybody who has logged in
SESSION_SECONDS = 7 * 24 * 3600.0
MAX_SESSIONS = 10_000
MAX_FORM_BYTES = 8192
WINDOW_SECONDS = 60.0
FAILURES_PER_NAME = 5  # within the window
FAILURES_IN_ALL = 15  # within the window, whatever names were tried

# All that is open without a login: the form, and Gradio's own start signal, which it sends to itself before anybody can
# log in (the answer says only whether it was sent before).
PUBLIC = frozenset({"/login", "/login/", "/gradio_api/startup-events"})


class Failures:
    """Counts wrong passwords within a sliding window. `clock` in seconds, never going back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._all: deque[tuple[float, str]] = deque()

    def wait(self, name: str) -> int:
        """Whole seconds until this name may be tried again, 0 for now."""
        now = self._clock()
        while self._all and self._all[0][0] <= now - WINDOW_SECONDS:
            self._all.popleft()
        waits = [0.0]
        times = [when for when, _ in self._all]
        if len(times) >= FAILURES_IN_ALL:
            waits.append(times[-FAILURES_IN_ALL] + WINDOW_SECONDS - now)
        times = [when for when, failed in self._all if failed == _digest(name)]
        if len(times) >= FAILURES_PER_NAME:
            waits.append(times[-FAILURES_PER_NAME] + WINDOW_SECONDS - now)
        return math.ceil(max(waits))

    def add(self, name: str) -> None:
        """One more wrong password."""
        self._all.append((self._clock(), _digest(name)))


class Login:
    """ASGI middleware: without a session only `PUBLIC` answers; everything else, Gradio's routes too, is refused.

    `POST /login` takes a form of `username` and `password`, as Gradio's does, so that
    `gradio_client.Client(url, auth=(user, password))` works. `POST /logout` ends the session. Sessions live in this
    process: after a restart everybody logs in again.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        user: str,
        password: str,
        guest: tuple[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`guest`: a second name and password for those who may make pictures and not manage the studio's models."""
        self.app = app
        self.failures = Failures(clock)
        self._clock = clock
        self._right = _credentials(user, password)
        self._guest = _credentials(*guest) if guest else None
        self._sessions: OrderedDict[str, float] = OrderedDict()  # hash of the token -> when it ends
        self._guests: set[str] = set()  # hashes of the guests' tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        token = cookie_parser("; ".join(Headers(scope=scope).getlist("cookie"))).get(COOKIE, "")
        known = self._sessions.get(_digest(token), 0.0) > self._clock()
        path = scope["path"]
        answer: Response | None = None
        if scope["type"] == "websocket":
            if not known:
                await send({"type": "websocket.close", "code": 1008})
                return
        elif path in ("/login", "/login/"):
            answer = await self._login(Request(scope, receive))
        elif path in ("/logout", "/logout/"):
            answer = self._logout(Request(scope), token)
        elif not known and path not in PUBLIC:
            answer = _stranger(Request(scope))
        if known:  # so that the page offers to log out
            mark = [(GUEST_HEADER.encode(), b"1")] if _digest(token) in self._guests else []
            scope = dict(scope, headers=[*scope["headers"], (HEADER.encode(), b"1"), *mark])
        await (answer or self.app)(scope, receive, send)

    async def _login(self, request: Request) -> Response:
        if request.method in ("GET", "HEAD"):
            return _page()
        if request.method != "POST":
            return PlainTextResponse("Allowed: GET and POST.", status_code=405, headers={"allow": "GET, POST"})
        form = await _form(request)
        if form is None:
            return PlainTextResponse("A login is a short form of username and password.", status_code=400)
        user, password = form
        wait = self.failures.wait(user)
        if wait:
            return _refusal(request, 429, say("login.wait", seconds=wait), {"retry-after": str(wait)})
        given = _credentials(user, password)
        owner = hmac.compare_digest(given, self._right)
        guest = hmac.compare_digest(given, self._guest or self._right)  # as long for both
        if not owner and not guest:
            self.failures.add(user)
            return _refusal(request, 401, say("login.wrong"))
        token = secrets.token_urlsafe(32)
        if not owner:
            self._guests.add(_digest(token))
        self._sessions[_digest(token)] = self._clock() + SESSION_SECONDS
        while len(self._sessions) > MAX_SESSIONS:
            self._guests.discard(self._sessions.popitem(last=False)[0])
        response: Response = RedirectResponse("/", 303) if _is_browser(request) else JSONResponse({"success": True})
        response.set_cookie(
            COOKIE,
            token,
            max_age=int(SESSION_SECONDS),
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )
        return _private(response)

    def _logout(self, request: Request, token: str) -> Response:
        if request.method in ("GET", "HEAD"):
            return _page(leaving=True)
        if request.method != "POST":
            return PlainTextResponse("Allowed: GET and POST.", status_code=405, headers={"allow": "GET, POST"})
        self._sessions.pop(_digest(token), None)
        self._guests.discard(_digest(token))
        response = RedirectResponse("/login", 303)
        response.delete_cookie(COOKIE, httponly=True, samesite="lax")
        return _private(response)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _credentials(user: str, password: str) -> str:
    """One hash of both, of one length, so that a comparison takes as long for a wrong name as for a wrong password."""
    return _digest(f"{_digest(user)} {_digest(password)}")


async def _form(request: Request) -> tuple[str, str] | None:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_FORM_BYTES:
            return None
    try:
        values = parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=8)
        return values["username"][0].strip(), values["password"][0]
    except (ValueError, KeyError):
        return None


def _is_browser(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


def _stranger(request: Request) -> Response:
    """A person who opens a page is redirected to the form; anything else is refused."""
    if request.method in ("GET", "HEAD") and _is_browser(request):
        return _private(RedirectResponse("/login", 303))
    return _private(PlainTextResponse(say("login.needed"), status_code=401))


def _refusal(request: Request, status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    if _is_browser(request):
        response: Response = _page(sentence, status)
    else:
        response = _private(JSONResponse({"detail": sentence}, status_code=status))
    response.headers.update(headers or {})
    return response


def _private(response: Response) -> Response:
    response.headers["cache-control"] = "no-store"
    return response


def _page(problem: str = "", status: int = 200, *, leaving: bool = False) -> Response:
    """The form. It holds the studio's name and these words, and nothing of the page."""
    problem = f'<p role="alert">{html.escape(problem)}</p>' if problem else ""
    words = {key: html.escape(say(f"login.{key}")) for key in ("title", "user", "password", "enter", "leave")}
    fields = _LEAVE if leaving else _ENTER
    page = _PAGE.format(**words, style=_STYLE, form=fields.format(**words, problem=problem))
    return _private(HTMLResponse(page, status_code=status))


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex"><title>{title}</title><style>{style}</style></head>
<body><main><h1>{title}</h1>{form}</main></body></html>
"""
_ENTER = """<form method="post" action="/login">{problem}
<label>{user}<input name="username" autocomplete="username" autocapitalize="none" required autofocus></label>
<label>{password}<input name="password" type="password" autocomplete="current-password" required></label>
<button>{enter}</button></form>"""
_LEAVE = """<form method="post" action="/logout"><button>{leave}</button></form>"""
_STYLE = """
:root { color-scheme: light dark; --surface: #fafaf8; --raised: #fff; --line: #e4e3de; --ink: #1b1b1f;
        --accent: #4b4fd9; --on-accent: #fff; --bad: #b3261e }
@media (prefers-color-scheme: dark) { :root { --surface: #141416; --raised: #1c1c20; --line: #2c2c32; --ink: #ececf0;
        --accent: #8b8fff; --on-accent: #141416; --bad: #ff8a80 } }
* { box-sizing: border-box } body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 16px;
        background: var(--surface); color: var(--ink); font: 15px/1.5 system-ui, sans-serif }
main { width: 100%; max-width: 320px } h1 { font-size: 20px; margin: 0 0 16px }
form, label { display: grid; gap: 16px } label { gap: 4px } p { margin: 0; color: var(--bad) }
input, button { font: inherit; padding: 10px 12px; border-radius: 10px; border: 1px solid var(--line);
        background: var(--raised); color: inherit; width: 100% }
button { background: var(--accent); border-color: var(--accent); color: var(--on-accent); cursor: pointer }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px }
"""
