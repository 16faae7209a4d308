"""The pages that a stranger sees: the form of name and password, and the one that a link with a key opens. They hold
the studio's name and a few words, and nothing of the page."""

from __future__ import annotations

import html

from starlette.responses import HTMLResponse, Response

from studio.ui import language
from studio.ui.text import say

MAX_NAME = 100  # characters of a name that is shown again


def login_page(problem: str = "", status: int = 200, *, passwords: bool = True, user: str = "") -> Response:
    """The form. Without `passwords` the studio opens with a link alone, and the page says so. `user`: the name that was
    typed with a wrong password."""
    return _page(_ENTER if passwords else _INVITED, problem, status, _switch(), user)


def logout_page() -> Response:
    """The question before a session ends."""
    return _page(_LEAVE)


def key_page() -> Response:
    """What a link with a key opens: its script takes the key out of the address and sends it."""
    return _page(_KEY)


def private(response: Response) -> Response:
    """The same answer, which nothing on its way may store."""
    response.headers["cache-control"] = "no-store"
    return response


def _page(form: str, problem: str = "", status: int = 200, switch: str = "", user: str = "") -> Response:
    problem = f'<p role="alert">{html.escape(problem)}</p>' if problem else ""
    keys = (
        "title",
        "user",
        "password",
        "enter",
        "leave",
        "leaving",
        "back",
        "invited",
        "entering",
        "unreachable",
        "script",
    )
    words = {key: html.escape(say(f"login.{key}")) for key in keys}
    tag = language.TAGS[language.current()]
    focus = {"at_name": "" if user else "autofocus", "at_password": "autofocus" if user else ""}
    fields = {"problem": problem, "name": html.escape(user[:MAX_NAME]), **focus}
    page = _PAGE.format(**words, tag=tag, style=_STYLE, form=form.format(**words, **fields), switch=switch)
    return private(HTMLResponse(page, status_code=status))


def _switch() -> str:
    """The other languages, each by its own name; one is chosen without a script."""
    others = ((name, itself) for name, itself in language.NAMES.items() if name != language.current())
    button = '<button name="language" value="{name}" lang="{tag}">{itself}</button>'
    buttons = "".join(button.format(tag=language.TAGS[name], name=name, itself=itself) for name, itself in others)
    return f'<form class="languages" method="get" action="/login">{buttons}</form>'


_PAGE = """<!doctype html>
<html lang="{tag}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex"><title>{title}</title>
<style>{style}</style></head>
<body><main><h1>{title}</h1>{form}{switch}</main></body></html>
"""
_ENTER = """<form method="post" action="/login">{problem}
<label>{user}<input name="username" value="{name}" autocomplete="username" autocapitalize="none"
required {at_name}></label>
<label>{password}<input name="password" type="password" autocomplete="current-password"
required {at_password}></label>
<button>{enter}</button></form>"""
_INVITED = """{problem}<p class="quiet">{invited}</p>"""
_LEAVE = """<p class="quiet">{leaving}</p>
<form method="post" action="/logout"><button>{leave}</button></form>
<form class="languages" method="get" action="/"><button>{back}</button></form>"""
# The key stands behind the #, so that it is in no request line, log or referrer; it goes from the address at once.
_KEY = """<p class="quiet" role="status" id="state"
data-unreachable="{unreachable}" data-invited="{invited}">{entering}</p>
<noscript><p>{script}</p></noscript>
<script>
const state = document.getElementById("state");
const key = location.hash.slice(1);
history.replaceState(null, "", location.pathname);
const enter = async () => {{
  if (!key) return state.dataset.invited;
  const answer = await fetch("/enter", {{ method: "POST", body: new URLSearchParams({{ key }}) }});
  if (!answer.ok) return (await answer.json()).detail;
  location.replace("/");
  return state.textContent;
}};
enter().catch(() => state.dataset.unreachable).then((text) => {{ state.textContent = text; }});
</script>"""
_STYLE = """
:root { color-scheme: light dark; --surface: #fafaf8; --raised: #fff; --line: #e4e3de; --ink: #1b1b1f;
        --accent: #4b4fd9; --on-accent: #fff; --bad: #b3261e }
@media (prefers-color-scheme: dark) { :root { --surface: #141416; --raised: #1c1c20; --line: #2c2c32; --ink: #ececf0;
        --accent: #8b8fff; --on-accent: #141416; --bad: #ff8a80 } }
* { box-sizing: border-box } body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 16px;
        background: var(--surface); color: var(--ink); font: 15px/1.5 system-ui, sans-serif }
main { width: 100%; max-width: 320px } h1 { font-size: 20px; margin: 0 0 16px }
form, label { display: grid; gap: 16px } label { gap: 4px } p { margin: 0; color: var(--bad) }
p.quiet { color: var(--ink) } main > p { margin-bottom: 16px }
input, button { font: inherit; padding: 10px 12px; border-radius: 10px; border: 1px solid var(--line);
        background: var(--raised); color: inherit; width: 100% }
button { background: var(--accent); border-color: var(--accent); color: var(--on-accent); cursor: pointer }
form.languages { display: flex; justify-content: center; margin-top: 16px }
.languages button { width: auto; padding: 4px 10px; border-color: transparent; background: none; color: inherit }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px }
"""
