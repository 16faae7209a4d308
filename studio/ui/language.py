"""Which language is spoken: what a browser asks for, and what holds while its request is answered.

The switch in the page's header writes a cookie; without it the browser's own list of languages decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

DEFAULT = "en"
COOKIE = "studio_language"  # written by the page's switch and by the login page's
COOKIE_SECONDS = 365 * 24 * 3600
# What the page calls itself (BCP 47), by the name of the column. A third language is a third row (docs/translating.md).
TAGS: Mapping[str, str] = {"en": "en", "zh": "zh-CN"}
NAMES: Mapping[str, str] = {"en": "English", "zh": "中文"}  # in the switch, each in its own

_current: ContextVar[str] = ContextVar("language", default=DEFAULT)


def current() -> str:
    """The language of the request that is being answered; English outside of any."""
    return _current.get()


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Within the block, and in the tasks and threads that begin there, this language is spoken."""
    before = _current.set(language)
    try:
        yield
    finally:
        _current.reset(before)


def asked_for(cookies: Mapping[str, str], accept_language: str) -> str:
    """The language of a request: the cookie's, else the first of its `accept-language` that there is, else English."""
    if cookies.get(COOKIE) in TAGS:
        return cookies[COOKIE]
    offers = []
    for k, part in enumerate(accept_language.split(",")[:32]):
        name, _, weight = part.strip().lower().partition(";q=")
        try:
            offers.append((-float(weight or 1), k, name.split("-")[0]))
        except ValueError:
            continue
    return next((name for weight, _, name in sorted(offers) if name in TAGS and weight < 0), DEFAULT)
