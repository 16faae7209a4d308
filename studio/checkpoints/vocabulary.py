"""What a checkpoint says of the words it knows (`world.json`), as rows that the page can offer and recognise.

A row is (group, label, phrase, other words for the same...): ("backgrounds", "gray", "on a gray background", "grey").
The phrase is what goes into a prompt. Strangers write such files too: whatever is not as expected is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

GROUPS = ("objects", "backgrounds", "scenes", "sizes", "places", "relations", "styles")
MOST_ROWS, MOST_LETTERS = 1000, 60

Row = tuple[str, ...]


def vocabulary(world: Mapping[str, object]) -> tuple[Row, ...]:
    """The rows of a world.json, group by group, in its order; () when it says nothing of the kind."""
    bare = set(_words(world.get("without_article")))
    rows = [row for group in GROUPS for row in _rows(group, world.get(group), bare)]
    return tuple(rows[:MOST_ROWS])


def _rows(group: str, entries: object, bare: set[str]) -> Iterator[Row]:
    if not isinstance(entries, list):
        return
    for entry in entries:
        if not isinstance(entry, dict):
            continue
        (name, *_) = *_words([entry.get("name")]), ""
        # "synonyms" are other names; "phrases" and "words" are the ways to say it, the best first.
        others = _words(entry.get("synonyms")) or _words(entry.get("phrases")) or _words(entry.get("words"))
        if not name:
            continue
        if group == "objects":
            yield (group, name, with_article(name, bare), *others)
        elif group == "backgrounds":
            yield (group, name, f"on {with_article(name, bare)} background", *others)
        else:
            yield (group, name, others[0] if others else name, *others[1:])


def with_article(name: str, bare: set[str]) -> str:
    """ "a fox", "an owl"; nothing before a name in `bare`."""
    return name if name in bare else f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _words(values: object) -> list[str]:
    if not isinstance(values, list):
        return []
    return [value for value in values if isinstance(value, str) and 0 < len(value) <= MOST_LETTERS]
