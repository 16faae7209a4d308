"""The one place that compares names of checkpoints, LoRAs, embeddings and ControlNets, as typed and as files have them.

Two spellings of one name are equal: "é" as one character or as a letter and an accent (files copied from a Mac have the
latter), "STRASSE" and "Straße", in capitals or not. A file is called by its name, or by its folders and its name.
Plain data: knows no files.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")

_ENDINGS = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf")


def name_key(text: str) -> str:
    """What two spellings of one name have in common (Unicode 16, section 3.13.5: canonical caseless matching)."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).casefold())


def same_name(one: str, other: str) -> bool:
    """Whether these are two spellings of one name."""
    return one == other or name_key(one) == name_key(other)


def compose(text: str) -> str:
    """A name as it is shown and written into pictures: letters with their accents in one character (NFC)."""
    return unicodedata.normalize("NFC", text)


def listed_name(name: str, listing: Iterable[str]) -> str | None:
    """The name of a listing that this is a spelling of: in the same letters, else the only one in any spelling."""
    names = list(listing)
    alike = [one for one in names if same_name(one, name)]
    return next((one for one in names if one == name), alike[0] if len(alike) == 1 else None)


def best_matches(name: str, items: Iterable[T], paths: Callable[[T], Sequence[str]]) -> list[T]:
    """The items that a name may mean: none, one, or several among which it does not choose.

    `paths` gives what an item is called, each a path with "/" whose last part is the short name. A name is the end of
    such a path, at a folder's border. The nearest spelling wins: the same letters, else any spelling, else the name
    without the ending of a file.
    """
    paths_of = [(item, [compose(path) for path in paths(item)]) for item in items]
    wanted_path = compose(name.strip().replace("\\", "/"))
    wanted_path = wanted_path.removeprefix("/")
    if not wanted_path:
        return []
    ending = next((end for end in _ENDINGS if wanted_path.lower().endswith(end)), "")
    for text in dict.fromkeys((wanted_path, wanted_path[: len(wanted_path) - len(ending)])):
        for spelling in (str, name_key):
            end = spelling(text)
            matches = [item for item, all_paths in paths_of if any(_ends(spelling(path), end) for path in all_paths)]
            if matches:
                return matches
    return []


def _ends(path: str, name: str) -> bool:
    return path == name or path.endswith(f"/{name}")


def short_names(items: Sequence[T], path: Callable[[T], str], ending: Callable[[T], str]) -> list[str]:
    """The shortest name for each item that none of the others has: the last part of its path, with folders before it
    where that is not enough, then with its file's ending; "" where even that is another's too. So a name never passes
    to another file, whatever is put into the folders."""
    paths = [compose(path(item)) for item in items]
    whole = [text + ending(item) for text, item in zip(paths, items)]
    names: list[str] = [""] * len(items)
    for forms in (paths, whole):
        counts: dict[str, int] = {}
        for text in forms:
            for end in _ends_of(text):
                counts[end] = counts.get(end, 0) + 1
        for index, text in enumerate(forms):
            names[index] = names[index] or next((end for end in _ends_of(text) if counts[end] == 1), "")
    return names


def _ends_of(path: str) -> list[str]:
    """ "a/b/c" => "c", "b/c", "a/b/c"."""
    parts = path.split("/")
    return ["/".join(parts[-count:]) for count in range(1, len(parts) + 1)]


# ------------------------------------------------------------------------------------------------- names inside a text


def split_at_names(text: str, names: Sequence[str], prefix: str = "") -> list[tuple[str, str]]:
    """The text cut where one of the names stands as a word of its own, in any spelling, also behind `prefix`.

    Pieces in order as (text, key): key "" for text between names, else the `name_key` of the name that stands there.
    Nothing is lost but the prefix: with the names' own texts the pieces make the text.
    """
    keys = sorted({name_key(name) for name in names if name}, key=len, reverse=True)
    if not keys or not text:
        return [(text, "")] if text else []
    folded_text, starts = _fold(text)
    pattern = re.compile(f"(?:{re.escape(name_key(prefix))})?({'|'.join(map(re.escape, keys))})")
    pieces: list[tuple[str, str]] = []
    last_end = position = 0
    while match := pattern.search(folded_text, position):
        begin, first, at = starts.get(match.start()), starts.get(match.start(1)), match.start(1)
        position = match.start() + 1
        if begin is None or first is None or _in_a_word(text, begin - 1):
            continue
        for key in keys:
            end = starts.get(at + len(key)) if folded_text.startswith(key, at) else None
            if end is not None and not _in_a_word(text, end):
                pieces += [(text[last_end:begin], ""), (text[first:end], key)]
                last_end, position = end, at + len(key)
                break
    pieces.append((text[last_end:], ""))
    return [piece for piece in pieces if piece != ("", "")]


def _in_a_word(text: str, place: int) -> bool:
    """Whether a letter, digit, accent, "_" or "-" is at this place: a name beside it is part of a longer word."""
    c = text[place] if 0 <= place < len(text) else " "
    return c.isalnum() or c in "_-" or unicodedata.category(c).startswith("M")


def _fold(text: str) -> tuple[str, dict[int, int]]:
    """The text's key, and where in the text a place of the key is: only places between whole characters, each with
    its accents."""
    parts: list[str] = []
    starts = {0: 0}
    length = begin = 0
    for index in range(1, len(text) + 1):
        if index < len(text) and unicodedata.combining(text[index]):
            continue
        part = name_key(text[begin:index])
        parts.append(part)
        length += len(part)
        begin = starts[length] = index
    return "".join(parts), starts
