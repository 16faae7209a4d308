"""ES modules of the page joined into one: fewer requests for the page, and a replay page that is one file.

Only the plain forms are read, each on lines of its own: `import { a, b as c } from "./x.js";` and `export` before a
function, a class or a `const`. Anything else, and a circle of imports, is an error, so that a bundle does the same as
its modules.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable

_IMPORT = re.compile(r'^import \{([^}]*)\} from "(\.{1,2}/[^"]+)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function\*?|class|const) (\w+))", re.MULTILINE)
_OTHER = re.compile(r"^(?:import|export)\b.*$", re.MULTILINE)


class BundleError(ValueError):
    """A module that cannot be joined; the text says which and why."""


def bundle(entry: str, read: Callable[[str], str]) -> str:
    """The source of one module that does what `entry` does and exports what `entry` exports.

    `read` gives the source of a module by its name (a path with "/", relative to one root). Each module becomes a
    function that is called once, after the modules that it imports. The export `modules` holds what every module
    exports, by name, for tests.
    """
    parts: dict[str, tuple[str, list[str]]] = {}  # name -> (its joined source, what it exports), in order
    _add(entry, read, parts, ())
    exports = ", ".join(f'"{name}": {_variable(name)}' for name in parts)
    last = f"export const {{ {', '.join(parts[entry][1])} }} = {_variable(entry)};" if parts[entry][1] else ""
    return "\n".join([*(source for source, _ in parts.values()), f"export const modules = {{ {exports} }};", last, ""])


def _add(
    name: str, read: Callable[[str], str], parts: dict[str, tuple[str, list[str]]], above: tuple[str, ...]
) -> None:
    if name in parts:
        return
    if name in above:
        raise BundleError(f"The modules import each other in a circle: {' -> '.join([*above, name])}")
    source = read(name)
    exports = _EXPORT.findall(source)

    def joined_import(match: re.Match[str]) -> str:
        other = posixpath.normpath(posixpath.join(posixpath.dirname(name), match[2]))
        _add(other, read, parts, (*above, name))
        names = [part.strip() for part in match[1].split(",") if part.strip()]
        unknown = [part for part in names if part.split(" as ")[0] not in parts[other][1]]
        if unknown:
            raise BundleError(f"{name} imports {', '.join(unknown)}, which {other} does not export")
        return f"const {{ {', '.join(part.replace(' as ', ': ') for part in names)} }} = {_variable(other)};"

    body = _EXPORT.sub("", _IMPORT.sub(joined_import, source))
    odd = _OTHER.search(body)
    if odd:
        raise BundleError(f"{name} has a line that a bundle cannot join: {odd[0]}")
    parts[name] = (
        f"// {name}\nconst {_variable(name)} = (() => {{\n{body}\nreturn {{ {', '.join(exports)} }};\n}})();",
        exports,
    )


def _variable(name: str) -> str:
    """The name that stands for a module within the bundle."""
    return "$" + re.sub(r"\W", "_", name.removesuffix(".js"))
