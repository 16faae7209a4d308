"""How the studio's cookies are set: for its own page alone, or also where another site shows the page in a frame."""

from __future__ import annotations

from starlette.types import Scope

FRAMED = "studio.framed"  # in a request's scope: the page may stand in another site's frame


def cookie_setting(scope: Scope, name: str, value: str, seconds: int) -> str:
    """The value of a `set-cookie` header for a cookie that no script reads; `seconds` 0 removes it.

    A browser keeps a cookie of a framed page only with `SameSite=None` and over https. `Partitioned` keeps it apart for
    each site that frames the page (CHIPS). Other sites cannot use it to act: the guard refuses their requests.
    """
    if scope.get(FRAMED):
        rules = "SameSite=None; Secure; Partitioned"
    else:
        rules = "SameSite=Lax" + ("; Secure" if scope["scheme"] in ("https", "wss") else "")
    return f"{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; {rules}"
