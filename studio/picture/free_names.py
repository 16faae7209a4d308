"""Names that are free for a new picture: no file has them, none ever had, and numbers rise in each folder."""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from threading import Lock

from studio.picture.gallery_index import Index
from studio.picture.naming import Name

MAX_COUNTERS = 4096  # remembered; a forgotten one is found again in its folder


class FreeNames:
    """Of one outputs folder. `lock` is the index's. Another server may take a name first, so the writer of a file looks
    again."""

    def __init__(self, outputs_dir: Path, index: Index, lock: Lock) -> None:
        self._outputs_dir = outputs_dir
        self._index = index
        self._lock = lock
        self._last: OrderedDict[tuple[str, str, str | None], int] = OrderedDict()  # the number that was given last

    def candidates(self, name: Name, ending: str) -> Iterator[str]:
        """Paths below the outputs folder, one after another until the caller has got one of them."""
        if name.after is None and self._is_free(plain := self._path(name, 1, ending)):
            yield plain
        while True:
            path = self._path(name, self._next_number(name), ending)
            if self._is_free(path):
                yield path

    def _path(self, name: Name, number: int, ending: str) -> str:
        file = name.stem(number) + ending
        return f"{name.folder}/{file}" if name.folder else file

    def _is_free(self, path: str) -> bool:
        with self._lock:
            return not self._index.is_used(path) and not os.path.lexists(self._outputs_dir / path)

    def _next_number(self, name: Name) -> int:
        key = (name.folder, name.before if name.after is None else name.before[-1:], name.after and name.after[:1])
        with self._lock:
            if key not in self._last:
                self._last[key] = self._largest(name)
            self._last[key] += 1
            self._last.move_to_end(key)
            while len(self._last) > MAX_COUNTERS:
                self._last.popitem(last=False)
            return self._last[key]

    def _largest(self, name: Name) -> int:
        """The largest number in the folder, of files that are there and of those that were."""
        if name.after is None:
            number = re.compile(rf"{re.escape(name.before)}-(\d{{1,9}})\.", re.IGNORECASE)
            smallest = 1
        else:  # what stands beside the number tells it from others in the name
            begin = re.escape(name.before[-1:]) if name.before else "^"
            number = re.compile(rf"{begin}(\d{{5,9}}){re.escape(name.after[:1] or '.')}")
            smallest = 0
        with_name = [*os.listdir(self._outputs_dir / name.folder), *self._index.names_of(name.folder)]
        numbers = (number.match(file) if name.after is None else number.search(file) for file in with_name)
        return max((int(one[1]) for one in numbers if one), default=smallest)
