"""HTTP Basic, for programs that know no other way to log in: a name and a password with every request.

A right one is tried once; after that it is its sender's session, so that a guest with one password is one visitor at
one address, and takes one of the hour's new sessions.
"""

from __future__ import annotations

import base64
import binascii
from collections import OrderedDict

from starlette.datastructures import Headers

from studio.web.access import Access, Session, credentials, digest
from studio.web.failures import Failures, Sender

MAX_SESSIONS = 1000


class WrongPassword(Exception):
    """The two do not belong together."""


class TooSoon(Exception):
    """This sender waits for so many `seconds` before another try."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"no try for {seconds} seconds")
        self.seconds = seconds


class Basic:
    """The sessions of those who send a name and a password with each request. Touched by the event loop alone."""

    def __init__(self, access: Access, failures: Failures) -> None:
        """`failures`: those of the login."""
        self._access = access
        self._failures = failures
        self._tokens: OrderedDict[str, str] = OrderedDict()

    def session(self, user: str, password: str, sender: Sender) -> Session:
        """Whose request it is. Raises WrongPassword, TooSoon or TooManyGuests."""
        key = digest(f"{credentials(user, password)} {sender.name}")
        session = self._access.session(self._tokens.get(key, ""))
        if session is not None:
            self._tokens.move_to_end(key)
            return session
        wait = self._failures.wait(sender)
        if wait:
            raise TooSoon(wait)
        pair = self._access.by_password(user, password, "")
        if pair is None:
            self._failures.add(sender)
            raise WrongPassword
        self._tokens[key], session = pair
        while len(self._tokens) > MAX_SESSIONS:
            self._tokens.popitem(last=False)
        return session


def user_and_password(headers: Headers) -> tuple[str, str] | None:
    """What a request brings with it; None for nothing, or for what is none (RFC 7617)."""
    scheme, _, text = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(text.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return (user, password) if colon else None
