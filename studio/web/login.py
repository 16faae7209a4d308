"""Decides who may enter, before anything else is answered, while the studio is open to others.

Speaks HTTP for `studio.web.access`: the forms, the cookies, the marks that a request carries to the layers behind.
Gradio's own `auth=` is not used: it serves some routes and the page's description before the login, covers none of our
routes, and accepts 321 guesses a second.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections import OrderedDict
from collections.abc import Collection
from contextlib import suppress
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request, cookie_parser
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.ui import language
from studio.ui.text import say
from studio.web import owner
from studio.web.access import SESSION_SECONDS, Access, Session, TooManyGuests, digest
from studio.web.basic import Basic, TooSoon, WrongPassword, user_and_password
from studio.web.cookies import cookie_setting
from studio.web.entrance import key_page, login_page, logout_page, private
from studio.web.failures import Failures, Sender
from studio.web.guard import LOOPBACK, split_host
from studio.web.programs import PREFIX
from studio.web.visitor_cookie import VisitorCookie

COOKIE = "studio_login"
DEVICE_COOKIE = "studio_device"  # of a browser that the owner has entered with
GUEST_HEADER = "x-studio-guest"  # set for guests, who may not do everything
HEADER = "x-studio-login"  # set for everybody who has logged in
PROGRAM_HEADER = "x-studio-program"  # set for programs, which make no tokens and share nothing
MARKS = (GUEST_HEADER, HEADER, PROGRAM_HEADER, owner.PERSON_HEADER)
PROGRAM_PATHS = ("/api/", "/sdapi/", "/mcp")  # whose every token is looked at
BASIC_CHALLENGE = {"www-authenticate": 'Basic realm="Latent Studio"'}  # at the addresses that take it
MAX_FORM_BYTES = 8192
MAX_DEVICES = 100
DEVICE_SECONDS = 365 * 24 * 3600

# All that is open without a session: the forms, and Gradio's own start signal, which it sends to itself before anybody
# can log in (the answer says only whether it was sent before).
PUBLIC = frozenset({"/login", "/login/", "/enter", "/gradio_api/startup-events"})


class Revoked(ClientDisconnect):
    """The token of this request has been revoked while it was answered."""


class Login:
    """ASGI middleware: while the studio is closed only `PUBLIC` answers without a session; everything else, Gradio's
    routes too, is refused.

    `POST /login` takes a form of `username` and `password`, as Gradio's does, so that
    `gradio_client.Client(url, auth=(user, password))` works; `POST /enter` takes a link's `key`; `POST /logout` ends
    the session; `POST /personal-link` gives a guest the link to another browser. A program sends its token as
    `Authorization: Bearer`, whether the studio is closed or not; a wrong one is refused, and never taken for nobody's.
    At addresses that begin as one of `basic`, a request may bring user and password, or a token as the password.
    """

    def __init__(
        self, app: ASGIApp, *, access: Access, basic: Collection[str] = (), proxies: Collection[str] = ()
    ) -> None:
        """`basic`: the beginnings of addresses that take a name and a password with each request. `proxies`: the
        addresses, or networks of them, of proxies in front, which say whom a request comes from. One on this machine
        needs no naming."""
        self.app = app
        self.proxies = tuple(ipaddress.ip_network(proxy) for proxy in proxies)
        self.access = access
        self.failures = Failures(access.clock)
        self.basic_paths = tuple(basic)
        self.basic = Basic(access, self.failures)
        self.wrong_tokens = Failures(access.clock)  # apart: a program with an old token keeps nobody from logging in
        self._devices: OrderedDict[str, None] = OrderedDict()  # hashes of the owner's browsers' tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        cookies = cookie_parser("; ".join(headers.getlist("cookie")))
        bearer = _bearer(headers, scope["path"])
        basic_credentials = user_and_password(headers) if scope["path"].startswith(self.basic_paths) else None
        if bearer is None and basic_credentials is not None and basic_credentials[1].startswith(PREFIX):
            bearer = basic_credentials[1]
        if bearer is not None:
            session = self.access.program(bearer)
            send = send if session is None else self._until_revoked(send, session.person)
        else:
            session = self.access.session(cookies.get(COOKIE, ""))
            if session is None and basic_credentials is not None and self.access.is_closed and scope["type"] == "http":
                outcome = self._by_basic(Request(scope, receive), cookies, *basic_credentials)
                if isinstance(outcome, Response):
                    await outcome(scope, receive, send)
                    return
                session = outcome
        marks = self._marks(session, cookies, program=bearer is not None)
        scope = dict(scope, headers=[*_without_marks(scope), *marks])
        answer: Response | None = None
        if bearer is not None and session is None and scope["type"] == "http":
            answer = self._wrong_token(Request(scope, receive), cookies)
        elif not self.access.is_closed and bearer is None:
            answer = _home() if scope["type"] == "http" and scope["path"] == "/enter" else None
        elif scope["type"] == "websocket":
            if session is None and not self.access.admits_everybody:
                await send({"type": "websocket.close", "code": 1008})
                return
        elif self.access.is_closed:
            answer = await self._answer(Request(scope, receive), cookies, session)
        with suppress(Revoked):
            await (answer or self.app)(scope, receive, send)

    def _until_revoked(self, send: Send, person: str) -> Send:
        """A stream that a program reads ends with its token. An answer of known length is sent to its end."""
        is_stream = ended = False

        async def send_on(message: Message) -> None:
            nonlocal is_stream, ended
            if is_stream and not self.access.programs.lives(person):
                if not ended:
                    ended = True
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                raise Revoked
            if message["type"] == "http.response.start":
                is_stream = "content-length" not in Headers(raw=message["headers"])
            ended = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        return send_on

    def _wrong_token(self, request: Request, cookies: dict[str, str]) -> Response:
        """A right token is never kept waiting: nobody guesses one, so only the sender of wrong ones is slowed."""
        sender = self._sender(request, cookies)
        wait = self.wrong_tokens.wait(sender)
        if wait:
            sentence = say("login.token_wait", seconds=wait)
            return private(PlainTextResponse(sentence, status_code=429, headers={"retry-after": str(wait)}))
        self.wrong_tokens.add(sender)
        return private(PlainTextResponse(say("login.token"), status_code=401))

    def _by_basic(self, request: Request, cookies: dict[str, str], user: str, password: str) -> Session | Response:
        """The session of a name and a password that came with a request, or why there is none."""
        try:
            return self.basic.session(user, password, self._sender(request, cookies))
        except TooSoon as error:
            sentence, headers = say("login.wait", seconds=error.seconds), {"retry-after": str(error.seconds)}
            return private(JSONResponse({"detail": sentence}, 429, headers))
        except TooManyGuests as error:
            sentence, headers = say("login.full", minutes=-(-error.seconds // 60)), {"retry-after": str(error.seconds)}
            return private(JSONResponse({"detail": sentence}, 429, headers))
        except WrongPassword:
            return private(JSONResponse({"detail": say("login.wrong")}, 401, BASIC_CHALLENGE))

    def _marks(self, session: Session | None, cookies: dict[str, str], *, program: bool) -> list[tuple[bytes, bytes]]:
        if session is None and self.access.admits_everybody:
            person = self.access.guest_person(self.access.cookie.person(cookies.get(owner.COOKIE, "")))
            marks = {GUEST_HEADER: "1"} | ({owner.PERSON_HEADER: person} if person else {})
            return [(name.encode(), value.encode()) for name, value in marks.items()]
        if session is None:
            return []
        marks = {owner.PERSON_HEADER: session.person}
        if program:
            marks[PROGRAM_HEADER] = "1"
        elif self.access.is_closed:  # so that the page offers to log out
            marks[HEADER] = "1"
        if session.rights == "guest":
            marks[GUEST_HEADER] = "1"
        return [(name.encode(), value.encode()) for name, value in marks.items()]

    async def _answer(self, request: Request, cookies: dict[str, str], session: Session | None) -> Response | None:
        """What is answered here; None where the request goes on to the page."""
        match request.url.path:
            case "/login" | "/login/":
                return await self._login(request, cookies)
            case "/enter":
                return await self._enter(request, cookies)
            case "/logout" | "/logout/":
                return self._logout(request, cookies.get(COOKIE, ""))
            case path if session is None and path.startswith(self.basic_paths):
                return private(JSONResponse({"detail": say("login.needed")}, 401, BASIC_CHALLENGE))
            case path if session is None and path not in PUBLIC and not self.access.admits_everybody:
                return _without_session(request)
            case "/personal-link":
                return self._personal_link(request, cookies.get(COOKIE, ""))
        return None

    async def _login(self, request: Request, cookies: dict[str, str]) -> Response:
        passwords = self.access.has_passwords
        if request.method in ("GET", "HEAD"):
            choice = request.query_params.get("language", "")
            return _in_language(request, choice) if choice in language.TAGS else login_page(passwords=passwords)
        if request.method != "POST":
            return _wrong_method("GET, POST")
        form = await _form(request, "username", "password")
        if form is None:
            return PlainTextResponse("A login is a short form of username and password.", status_code=400)
        if not passwords:
            return self._refusal(request, 401, say("login.invited"))
        sender = self._sender(request, cookies)
        wait = self.failures.wait(sender)
        if wait:
            return self._refusal(request, 429, say("login.wait", seconds=wait), {"retry-after": str(wait)})
        try:
            entry = self.access.by_password(form[0].strip(), form[1], _person(cookies))
        except TooManyGuests as error:
            return self._full(request, error)
        if entry is None:
            self.failures.add(sender)
            return self._refusal(request, 401, say("login.wrong"), user=form[0].strip())
        response = _home() if _is_browser(request) else JSONResponse({"success": True})
        return self._with_session(response, request, *entry)

    async def _enter(self, request: Request, cookies: dict[str, str]) -> Response:
        if request.method in ("GET", "HEAD"):
            return key_page()
        if request.method != "POST":
            return _wrong_method("GET, POST")
        form = await _form(request, "key")
        if form is None:
            return JSONResponse({"detail": "The form has one field, key."}, status_code=400)
        try:
            entry = self.access.by_key(form[0].strip(), _person(cookies), cookies.get(COOKIE, ""))
        except TooManyGuests as error:
            return self._full(request, error)
        if entry is None:
            return private(JSONResponse({"detail": say("login.over")}, status_code=401))
        return self._with_session(JSONResponse({"success": True}), request, *entry)

    def _logout(self, request: Request, token: str) -> Response:
        if request.method in ("GET", "HEAD"):
            return logout_page()
        if request.method != "POST":
            return _wrong_method("GET, POST")
        self.access.leave(token)
        response = RedirectResponse("/login", 303)
        _set_cookie(response, request, COOKIE, "", 0)
        return private(response)

    def _personal_link(self, request: Request, token: str) -> Response:
        if request.method != "POST":
            return _wrong_method("POST")
        key = self.access.personal_key(token)
        if key is None:
            return private(PlainTextResponse(say("login.no_guest"), status_code=403))
        return private(JSONResponse({"path": f"/enter#{key}"}))

    def _with_session(self, response: Response, request: Request, token: str, session: Session) -> Response:
        if session.rights == "owner":
            device = secrets.token_urlsafe(16)
            self._devices[digest(device)] = None
            while len(self._devices) > MAX_DEVICES:
                self._devices.popitem(last=False)
            _set_cookie(response, request, DEVICE_COOKIE, device, DEVICE_SECONDS)
        set_session(response, request, self.access, token, session)
        return private(response)

    def _sender(self, request: Request, cookies: dict[str, str]) -> Sender:
        """Who tries a password. Behind a tunnel or a proxy every request comes from one machine, and the server
        in front adds the sender's address at the end of `X-Forwarded-For`."""
        device = digest(cookies.get(DEVICE_COOKIE, ""))
        if device in self._devices:
            return Sender(device, is_known=True)
        peer = request.client.host if request.client is not None else ""
        name = split_host(request.headers.get("host", ""))[0]
        if peer in LOOPBACK and name in LOOPBACK:
            return Sender("this machine", is_known=True)
        if peer not in LOOPBACK and not self._is_proxy(peer):  # whoever connects could write any header
            return Sender(peer)
        return Sender("proxy " + request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()[:64])

    def _is_proxy(self, peer: str) -> bool:
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        return any(address in network for network in self.proxies)

    def _refusal(
        self, request: Request, status: int, sentence: str, headers: dict[str, str] | None = None, *, user: str = ""
    ) -> Response:
        if _is_browser(request):
            response = login_page(sentence, status, passwords=self.access.has_passwords, user=user)
        else:
            response = private(JSONResponse({"detail": sentence}, status_code=status))
        response.headers.update(headers or {})
        return response

    def _full(self, request: Request, error: TooManyGuests) -> Response:
        minutes = -(-error.seconds // 60)
        headers = {"retry-after": str(error.seconds)}
        return self._refusal(request, 429, say("login.full", minutes=minutes), headers)


def set_session(response: Response, request: Request, access: Access, token: str, session: Session) -> None:
    """Give a browser its session, and a guest's the cookie of the visitor that they are."""
    if session.rights == "guest":
        _set_cookie(response, request, owner.COOKIE, access.cookie.value(session.person), owner.COOKIE_SECONDS)
    _set_cookie(response, request, COOKIE, token, int(SESSION_SECONDS))


def _set_cookie(response: Response, request: Request, name: str, value: str, seconds: int) -> None:
    response.headers.append("set-cookie", cookie_setting(request.scope, name, value, seconds))


def _person(cookies: dict[str, str]) -> str:
    """Which visitor the browser has been so far, for who enters with a right of another kind."""
    return VisitorCookie.unsigned_person(cookies.get(owner.COOKIE, ""))


def _bearer(headers: Headers, path: str) -> str | None:
    """The token that a request shows; None where it shows none of ours.

    Others are passed over, since a proxy before the studio may ask for its own, but not at the addresses for programs.
    `gradio_client.Client(url, token=...)` sends the second header."""
    for name in ("authorization", "x-hf-authorization"):
        scheme, _, token = headers.get(name, "").partition(" ")
        token = token.strip()
        if scheme.lower() == "bearer" and (token.startswith(PREFIX) or path.startswith(PROGRAM_PATHS)):
            return token
    return None


def _without_marks(scope: Scope) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in scope["headers"] if name.lower().decode("latin-1") not in MARKS]


async def _form(request: Request, *names: str) -> list[str] | None:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_FORM_BYTES:
            return None
    try:
        values = parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=8)
        return [values[name][0] for name in names]
    except (ValueError, KeyError):
        return None


def _is_browser(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


def _home() -> Response:
    return RedirectResponse("/", 303)


def _in_language(request: Request, name: str) -> Response:
    """The form again, from now on in this language. The page's own switch writes the same cookie."""
    response = private(RedirectResponse("/login", 303))
    setting = cookie_setting(request.scope, language.COOKIE, name, language.COOKIE_SECONDS, for_scripts=True)
    response.headers.append("set-cookie", setting)
    return response


def _wrong_method(allow: str) -> Response:
    return PlainTextResponse(f"Allowed: {allow.replace(', ', ' and ')}.", status_code=405, headers={"allow": allow})


def _without_session(request: Request) -> Response:
    """A person who opens a page is redirected to the form; anything else is refused."""
    if request.method in ("GET", "HEAD") and _is_browser(request):
        return private(RedirectResponse("/login", 303))
    return private(PlainTextResponse(say("login.needed"), status_code=401))
