"""What small files beside a LoRA or an embedding say of it: the words that call it, and the weight that suits it. In
Civitai's form (name.civitai.info) and in AUTOMATIC1111's (name.json)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from studio.asked.problems import clean_text
from studio.checkpoints.details import read_json
from studio.checkpoints.folders import ModelFile

MAX_WORDS = 20
MAX_CHARACTERS = 300  # of one of them
MAX_WEIGHT = 10


@dataclass(frozen=True)
class Sidecar:
    """The words that call a file, the first ones first, and its weight in a prompt; None where nobody says one."""

    words: tuple[str, ...] = ()
    weight: float | None = None


class Sidecars:
    """Reads them when they are first asked for, and again when they have changed. Safe for several threads."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[object, Sidecar]] = {}

    def of(self, file: ModelFile) -> Sidecar:
        """What lies beside this file; nothing for what cannot be read, is no JSON object or too large, or is a link."""
        if not file.sidecars or file.outside:
            self._known.pop(file.key, None)
            return Sidecar()
        paths = [file.path.parent / name for name in file.sidecars]
        stamp = tuple(_stamp(path) for path in paths)
        known = self._known.get(file.key)
        if known is None or known[0] != stamp:
            values = [read_json(path) for path in paths if not path.is_symlink()]
            known = self._known[file.key] = stamp, _read([one for one in values if one is not None])
        return known[1]


def words_of(texts: Iterable[object]) -> tuple[str, ...]:
    """Those of them that are texts, each once, on one line, without commas at their ends."""
    words = [" ".join(clean_text(text).split()).strip(" ,") for text in texts if isinstance(text, str)]
    return tuple(dict.fromkeys(one for one in words if one and len(one) <= MAX_CHARACTERS))[:MAX_WORDS]


def _read(files: Iterable[Mapping[str, object]]) -> Sidecar:
    texts: list[object] = []
    weight = None
    for values in files:
        trained = values.get("trainedWords")
        texts += [values.get("activation text"), *(trained if isinstance(trained, list) else [])]
        number = values.get("preferred weight")
        if isinstance(number, (int, float)) and not isinstance(number, bool) and math.isfinite(number):
            weight = float(number) if 0 < abs(number) <= MAX_WEIGHT else weight
    return Sidecar(words_of(texts), weight)


def _stamp(path: Path) -> object:
    try:
        stat = path.lstat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns, stat.st_mode
