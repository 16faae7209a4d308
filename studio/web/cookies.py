"""How the studio's cookies are set: for its own page alone, or also where another site shows the page in a frame."""

from __future__ import annotations

from starlette.types import Scope

FRAMED = "studio.framed"  # in a request's scope: the page may stand in another site's frame


def cookie_setting(scope: Scope, name: str, value: str, seconds: int, *, for_scripts: bool = False) -> str:
    """The value of a `set-cookie` header for a cookie; `seconds` 0 removes it. No script can read or replace it, unless
    it is `for_scripts`.

    A browser keeps a cookie of a framed page only with `SameSite=None` and over https. `Partitioned` keeps it apart for
    each site that frames the page (CHIPS). Other sites cannot use it to act: the guard refuses their requests.
    """
    if scope.get(FRAMED):
        rules = "SameSite=None; Secure; Partitioned"
    else:
        rules = "SameSite=Lax" + ("; Secure" if scope["scheme"] in ("https", "wss") else "")
    http_only = "" if for_scripts else "HttpOnly; "
    return f"{name}={value}; Path=/; Max-Age={seconds}; {http_only}{rules}"
