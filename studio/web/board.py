"""What the owner of a share decides for its guests: which models, which words; and where that is remembered.

One file beside the pictures, for this account alone (mode 0600), so that it survives a restart of the studio.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from studio.asked.fields import TextToImage
from studio.asked.guest_rules import LOCKABLE, Rules
from studio.asked.messages import Message
from studio.asked.problems import InvalidRequest, Problem, clean_text, quoted_value
from studio.asked.refused_words import MAX_CHARACTERS, MAX_WORDS, folded
from studio.web.private_file import write_private

logger = logging.getLogger(__name__)

NAME = ".board.json"
VERSION = 1
MAX_MODELS = 10_000
MAX_EXAMPLES, MAX_PROMPT = 6, 500


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """What the owner has decided. `models`: ids of those that guests may use; None: all. `refused_words` as typed.

    `locked` and `examples` are a lesson, which ends with the share: fields and the values that guests have in them, and
    prompts to begin with. `wall`: guests' new pictures are seen by all guests.
    `safety_checker`: guests' pictures are looked at by it. `wildcards`: their prompts may ask for lines of the owner's
    wildcard files. `frozen`: guests begin nothing now, until the owner lets them or begins a new share.
    """

    models: tuple[str, ...] | None = None
    refused_words: tuple[str, ...] = ()
    locked: tuple[tuple[str, str | int | float], ...] = ()
    examples: tuple[str, ...] = ()
    wall: bool = False
    safety_checker: bool = False
    wildcards: bool = False
    frozen: bool = False


@dataclass(frozen=True, kw_only=True)
class ShareRecord:
    """Who has made pictures in a share. `since`: seconds since 1970; `people`: guests, in the order of their first
    pictures, by which they have their numbers. `told`: since when each of them has read that new pictures are seen by
    all; `hidden`: pictures that the owner has taken from the wall."""

    since: float = 0.0
    people: tuple[str, ...] = ()
    told: Mapping[str, float] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()


class Board:
    """The owner's decisions, in force from the moment they are made. Safe from any thread."""

    def __init__(self, folder: Path | None = None, clock: Callable[[], float] = time.time) -> None:
        """`folder` is the outputs folder; None: the decisions are known until the end of this process. `clock`: seconds
        since 1970."""
        self._path = folder / NAME if folder is not None else None
        self._clock = clock
        self._lock = threading.RLock()
        self._share = ShareRecord()
        self._decisions = self._read()

    @property
    def now(self) -> Decisions:
        """The decisions as they are."""
        with self._lock:
            return self._decisions

    def rules(self) -> Rules:
        """What the engine is told of them with a guest's job."""
        now = self.now
        return Rules(
            models=now.models,
            refused_words=now.refused_words,
            locked=now.locked,
            safety_checker=now.safety_checker,
            wildcards=now.wildcards,
        )

    def decide(self, changes: Mapping[str, object]) -> Decisions:
        """Take decisions as they come from the panel, by name; those that are not named stay. Raises InvalidRequest
        with every problem, and decides nothing then."""
        problems: list[Problem] = []
        values: dict[str, Any] = {}
        for name, value in changes.items():
            if name not in _READERS:
                problems.append(
                    Problem(name, quoted_value(value), Message("the decisions {names}", names=", ".join(_READERS)))
                )
                continue
            try:
                values[name] = _READERS[name](name, value)
            except InvalidRequest as error:
                problems += error.problems
        if problems:
            raise InvalidRequest(*problems)
        with self._lock:
            self._decisions = replace(self._decisions, **values)
            if not self._decisions.wall:
                self._share = replace(self._share, told={})
            self._write()
            return self._decisions

    # ------------------------------------------------------------------------------------------------- the share

    @property
    def share(self) -> ShareRecord:
        """The present share, or the last one until the next begins."""
        with self._lock:
            return self._share

    def begin_share(self) -> None:
        """A new share begins, of which nobody has made a picture, and in which guests may start jobs."""
        with self._lock:
            self._decisions = replace(self._decisions, frozen=False)
            self._share = ShareRecord(since=self._clock())
            self._write()

    def end_share(self) -> None:
        """The share is over, and its lesson with it. What guests may use, and who has made pictures, stays."""
        with self._lock:
            self._decisions = replace(self._decisions, locked=(), examples=(), wall=False)
            self._share = replace(self._share, told={})
            self._write()

    def meet(self, person: str) -> None:
        """This guest makes a picture."""
        with self._lock:
            if person in self._share.people:
                return
            since = self._share.since or self._clock()
            self._share = replace(self._share, since=since, people=(*self._share.people, person))
            self._write()

    def tell(self, person: str) -> None:
        """This guest reads now that new pictures are seen by all, if that is so."""
        with self._lock:
            if self._decisions.wall and person not in self._share.told:
                self._share = replace(self._share, told={**self._share.told, person: self._clock()})
                self._write()

    def hide(self, picture_id: str) -> None:
        """Take a picture from the wall; it stays its guest's."""
        with self._lock:
            if picture_id not in self._share.hidden:
                self._share = replace(self._share, hidden=(*self._share.hidden, picture_id))
                self._write()

    # -------------------------------------------------------------------------------------------------- the file

    def _read(self) -> Decisions:
        """What was decided before. A file that is damaged or of a newer studio is left alone, and said."""
        if self._path is None:
            return Decisions()
        try:
            values = json.loads(self._path.read_text(encoding="utf-8"))
            if values.pop("version") != VERSION:
                raise ValueError("it is of another version of the studio")
            self._share = _share_record(values.pop("share", {}))
            names = {one.name for one in fields(Decisions)}
            return Decisions(**{name: _READERS[name](name, value) for name, value in values.items() if name in names})
        except FileNotFoundError:
            return Decisions()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            # Guests may then name no model: nothing is allowed that the owner had not allowed.
            logger.warning("%s cannot be read (%s): guests may use no model until you decide anew.", NAME, error)
            return Decisions(models=())

    def _write(self) -> None:
        if self._path is None:
            return
        values = {"version": VERSION, **asdict(self._decisions), "share": asdict(self._share)}
        try:
            write_private(self._path, json.dumps(values, ensure_ascii=False, indent=1))
        except OSError as error:
            logger.warning("The board cannot be written down (%s): it is known until the end.", error.strerror)


def _share_record(values: object) -> ShareRecord:
    """A share as the file has it. Raises ValueError for what is none."""
    if not isinstance(values, dict):
        raise ValueError("its share is none")
    since, people = values.get("since", 0.0), values.get("people", [])
    if not isinstance(since, (int, float)) or not isinstance(people, list):
        raise ValueError("its share is none")
    told, hidden = values.get("told", {}), values.get("hidden", [])
    if not isinstance(told, dict) or not isinstance(hidden, list):
        raise ValueError("its share is none")
    return ShareRecord(
        since=since,
        people=tuple(str(person) for person in people),
        told={str(person): float(at) for person, at in told.items()},
        hidden=tuple(str(one) for one in hidden),
    )


# ------------------------------------------------------------------------------------------------ from the panel


def _models(name: str, value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    texts = _texts(name, value, MAX_MODELS, MAX_CHARACTERS, "null for all models, or a list of their ids")
    return tuple(dict.fromkeys(texts))


def _refused_words(name: str, value: object) -> tuple[str, ...]:
    allowed = f"a list of at most {MAX_WORDS:,} words of at most {MAX_CHARACTERS} characters"
    words = [" ".join(word.split()) for word in _texts(name, value, MAX_WORDS, MAX_CHARACTERS, allowed)]
    empty = [word for word in words if word and not any(c.isalnum() for c in folded(word))]
    if empty:
        raise InvalidRequest(Problem(name, quoted_value(empty[0]), Message("words of letters or digits")))
    return tuple({folded(word): word for word in words if word}.values())


def _locked(name: str, value: object) -> tuple[tuple[str, str | int | float], ...]:
    allowed = Message("pairs of a field and its value, of the fields {fields}", fields=", ".join(LOCKABLE))
    try:
        values = dict(value)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        raise InvalidRequest(Problem(name, quoted_value(value), allowed)) from None
    unknown = [field for field in values if field not in LOCKABLE]
    if unknown:
        raise InvalidRequest(Problem(name, quoted_value(unknown[0]), allowed))
    request = TextToImage.parse({"prompt": "", **values})
    pairs = [(field, getattr(request, field)) for field in LOCKABLE if field in values]
    empty = [field for field, fixed in pairs if fixed is None]
    if empty:
        raise InvalidRequest(Problem(empty[0], Message("nothing"), Message("a value to lock")))
    return tuple(pairs)


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidRequest(Problem(name, quoted_value(value), Message("true or false")))
    return value


def _examples(name: str, value: object) -> tuple[str, ...]:
    allowed = f"a list of at most {MAX_EXAMPLES} prompts of at most {MAX_PROMPT} characters"
    texts = _texts(name, value, MAX_EXAMPLES, MAX_PROMPT, allowed)
    return tuple(dict.fromkeys(clean_text(text).strip() for text in texts if text.strip()))


def _texts(name: str, value: object, most: int, longest: int, allowed: str) -> list[str]:
    if not isinstance(value, (list, tuple)) or len(value) > most:
        raise InvalidRequest(Problem(name, quoted_value(value), allowed))
    for text in value:
        if not isinstance(text, str) or len(text) > longest or any(0xD800 <= ord(c) <= 0xDFFF for c in text):
            raise InvalidRequest(Problem(name, quoted_value(text), allowed))
    return list(value)


_READERS: Mapping[str, Callable[[str, object], Any]] = {
    "models": _models,
    "refused_words": _refused_words,
    "locked": _locked,
    "examples": _examples,
    "wall": _flag,
    "safety_checker": _flag,
    "wildcards": _flag,
    "frozen": _flag,
}
