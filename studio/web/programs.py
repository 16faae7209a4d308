"""Tokens for programs: made, named and revoked by the owner, each one a visitor with pictures of its own.

They are remembered beside the pictures, as hashes, in a file that only this account can read. Safe from any thread;
two studios on one outputs folder share the file.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from studio.asked.messages import Message
from studio.asked.problems import InvalidRequest, Problem, clean_text, quoted_value
from studio.web.private_file import write_private

logger = logging.getLogger(__name__)

NAME = ".programs.json"
VERSION = 1  # of the file
PREFIX = "studio_"  # of every token, so that one in a log or a repository is recognised
MAX_PROGRAMS = 100
MAX_NAME_CHARACTERS = 60
USED_SECONDS = 600.0  # the file says when a token was used to within so many

Rights = Literal["owner", "guest"]
RIGHTS: tuple[Rights, ...] = ("guest", "owner")

_ID = re.compile(r"[0-9a-f]{12}")
_PERSON = re.compile(r"[0-9a-f]{32}")
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Program:
    """One token. `person`: the visitor that it is; `made`, `used`: seconds since 1970, 0 for never."""

    id: str
    name: str
    rights: Rights
    person: str
    token_hash: str
    made: float
    used: float = 0.0


class Programs:
    """The tokens that open the studio. `clock` in seconds since 1970."""

    def __init__(self, folder: Path | None, clock: Callable[[], float] = time.time) -> None:
        """`folder` is the outputs folder; None: the tokens are known until the end of this process."""
        self._path = folder / NAME if folder is not None else None
        self._clock = clock
        self._lock = threading.Lock()
        self._stamp: tuple[int, ...] | None = None  # of the file as it was read last
        self._newer = False  # the file is a newer studio's, and is left alone
        self._all: dict[str, Program] = {}  # by id, oldest first

    def all(self) -> tuple[Program, ...]:
        """The tokens there are, oldest first."""
        with self._lock:
            self._read()
            return tuple(self._all.values())

    def make(self, name: object, rights: object = "guest") -> tuple[str, Program]:
        """A new token, which is nowhere to be read again, and what is remembered of it. Raises InvalidRequest."""
        label = _label(name)
        if rights not in RIGHTS:
            raise InvalidRequest(Problem("rights", quoted_value(rights), " or ".join(RIGHTS)))
        token = PREFIX + secrets.token_urlsafe(24)
        with self._lock:
            self._read()
            self._refuse_newer()
            if len(self._all) >= MAX_PROGRAMS:
                raise InvalidRequest(
                    Problem(
                        "name", Message("another token"), Message("at most {most}; revoke one first", most=MAX_PROGRAMS)
                    )
                )
            if any(one.name == label for one in self._all.values()):
                raise InvalidRequest(Problem("name", quoted_value(label), Message("a name that no other token has")))
            program = Program(
                id=secrets.token_hex(6),
                name=label,
                rights="owner" if rights == "owner" else "guest",
                person=secrets.token_hex(16),
                token_hash=_digest(token),
                made=self._clock(),
            )
            self._all[program.id] = program
            self._write()
        return token, program

    def revoke(self, program_id: str) -> Program | None:
        """End a token at once. Returns it, for its jobs to be stopped; None where there is none of this id."""
        with self._lock:
            self._read()
            self._refuse_newer()
            program = self._all.pop(program_id, None)
            if program is not None:
                self._write()
            return program

    def by_token(self, token: str) -> Program | None:
        """Whose token this is, which is used now. The time it takes says nothing of a token: its hash is looked for."""
        digest, now = _digest(token), self._clock()
        with self._lock:
            self._read()
            program = next((one for one in self._all.values() if one.token_hash == digest), None)
            if program is not None and not program.used <= now < program.used + USED_SECONDS:
                self._all[program.id] = program = replace(program, used=now)
                if not self._newer:
                    self._write()
            return program

    def lives(self, person: str) -> bool:
        """Whether the token that this visitor is has not been revoked."""
        return self.by_person(person) is not None

    def by_person(self, person: str) -> Program | None:
        """The token that this visitor is."""
        return next((one for one in self.all() if one.person == person), None)

    # ------------------------------------------------------------------------------------------------ the file

    def _refuse_newer(self) -> None:
        if self._newer:
            expectation = Message("no change: the list of tokens is a newer studio's")
            raise InvalidRequest(Problem("action", Message("this one"), expectation))

    def _read(self) -> None:
        """Read the file if it has changed since. The lock is held."""
        if self._path is None:
            return
        stamp = None
        try:
            stamp = _stamp(self._path)
            if stamp == self._stamp:
                return
            values = json.loads(self._path.read_bytes())
            self._newer = values["version"] > VERSION
            everything = [program for program in map(_program, values["programs"]) if program is not None]
        except FileNotFoundError:
            if self._stamp is not None:  # somebody has cleared the folder: what it opened opens nothing any more
                self._stamp, self._all = None, {}
            return
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            logger.warning("The tokens of programs cannot be read (%s): none opens the studio.", type(error).__name__)
            self._stamp, self._all = stamp, {}
            return
        self._stamp, self._all = stamp, {} if self._newer else {one.id: one for one in everything}
        if self._newer:
            logger.warning("The tokens of programs are a newer studio's (%s): none opens this one.", NAME)

    def _write(self) -> None:
        """Replace the file as a whole. The lock is held."""
        if self._path is None:
            return
        content = json.dumps({"version": VERSION, "programs": [asdict(one) for one in self._all.values()]}, indent=1)
        try:
            write_private(self._path, content)
            self._stamp = _stamp(self._path)
        except OSError as error:
            logger.warning("The tokens of programs cannot be written down (%s): known until the end.", error)


def _stamp(path: Path) -> tuple[int, ...]:
    facts = path.stat()
    return facts.st_ino, facts.st_mtime_ns, facts.st_size


def _label(name: object) -> str:
    label = " ".join(clean_text(name).split()) if isinstance(name, str) else ""
    if not 1 <= len(label) <= MAX_NAME_CHARACTERS:
        raise InvalidRequest(
            Problem("name", quoted_value(name), Message("1 to {most} characters", most=MAX_NAME_CHARACTERS))
        )
    return label


def _program(values: Mapping[str, object]) -> Program | None:
    """One entry of the file; None for what we have not written."""
    try:
        program = Program(**values)  # type: ignore[arg-type]
        good = (
            _ID.fullmatch(program.id)
            and _PERSON.fullmatch(program.person)
            and _HASH.fullmatch(program.token_hash)
            and program.rights in RIGHTS
            and isinstance(program.name, str)
            and isinstance(program.made, (int, float))
            and isinstance(program.used, (int, float))
        )
    except TypeError:
        return None
    return program if good else None


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
