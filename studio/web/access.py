"""Who may enter, with which rights and as which visitor: passwords, the keys in links, invitations and sessions.

Plain Python, safe from any thread; knows no HTTP. Secrets are stored as hashes alone. Sessions live in this process:
after a restart everybody enters again.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from studio.web.owner_file import OwnerFile
from studio.web.programs import Programs, Rights
from studio.web.visitor_cookie import VisitorCookie

HOUR = 3600.0
SESSION_SECONDS = 7 * 24 * HOUR
LONGEST_SHARE = 7 * 24 * HOUR  # Gradio's tunnel lives no longer
MOVE_SECONDS = HOUR  # a personal link waits so long for the other browser
MAX_SESSIONS = 10_000
SESSIONS_AN_HOUR = 60  # new ones, of one invitation
PASSWORD = "password"  # the group of those who came in with the guests' password
PROGRAMS = "programs"  # the group of tokens with a guest's limits
EVERYBODY = "everybody"  # the group of those who come without a link, where the studio admits everybody
_PERSON = re.compile(r"[0-9a-f]{32}")


class TooManyGuests(Exception):
    """This invitation takes nobody in for `seconds`."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"no new guests for {seconds} seconds")
        self.seconds = seconds


@dataclass(frozen=True)
class Session:
    """One browser that has entered, or a program with its token. `group`: the invitation that a guest came with."""

    rights: Rights
    person: str
    group: str
    ends: float


@dataclass(frozen=True)
class Keys:
    """The secrets of a share, 128 bits each, as they stand in links: shown to the owner alone, never logged."""

    owner: str
    guest: str


@dataclass
class _Group:
    """An invitation, or the guests' password."""

    ends: float = math.inf
    latest: float = math.inf  # when it ends however often its time is changed
    session_starts: deque[float] = field(default_factory=deque)  # when its newest sessions began


class Access:
    """The one place that says whom a request belongs to. `clock` in seconds, never going back."""

    def __init__(
        self,
        *,
        auth: tuple[str, str] | None = None,
        guest: tuple[str, str] | None = None,
        always_closed: bool = False,
        admits_everybody: bool = False,
        owner_file: OwnerFile | None = None,
        programs: Programs | None = None,
        cookie_folder: Path | None = None,
        sessions_an_hour: int = SESSIONS_AN_HOUR,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`auth`, `guest`: user and password of the owner and of guests. `always_closed`: nobody is in without a
        session, share or not, since others reach this server's address. `admits_everybody`: whoever comes without a
        session is a guest. `owner_file` remembers which visitor the owner is, from one start to the next; `programs`
        the tokens that they have made. `cookie_folder`: where the key of visitors' cookies is remembered."""
        self.clock = clock
        self._lock = threading.RLock()
        self._passwords: dict[str, Rights] = {}
        if guest:
            self._passwords[credentials(*guest)] = "guest"
        if auth:
            self._passwords[credentials(*auth)] = "owner"
        self.admits_everybody = admits_everybody
        self._always_closed = always_closed or admits_everybody or auth is not None
        self._sessions_an_hour = sessions_an_hour
        self._owner = owner_file or OwnerFile(None)
        self.programs = programs or Programs(None)
        self.cookie = VisitorCookie(cookie_folder, signed=admits_everybody)
        self._sessions: OrderedDict[str, Session] = OrderedDict()  # by the hash of the token
        self._groups: dict[str, _Group] = {PASSWORD: _Group()}
        self._keys: dict[str, tuple[Rights, str]] = {}  # hash of a link's key -> rights, group
        self._moves: dict[str, tuple[Session, float]] = {}  # hash of a personal link's key -> whose, until when
        self._share: str | None = None  # the group of the present invitation

    @property
    def is_closed(self) -> bool:
        """Whether a request without a session is a stranger's. Otherwise whoever reaches the studio is its owner."""
        return self._always_closed or self._share is not None

    @property
    def has_passwords(self) -> bool:
        """Whether somebody can enter by name and password."""
        return bool(self._passwords)

    @property
    def share_ends(self) -> float | None:
        """When the present invitation ends, by `clock`; None while there is none."""
        with self._lock:
            return self._groups[self._share].ends if self._share is not None else None

    # ----------------------------------------------------------------------------------------------- invitations

    def share(self, seconds: float = LONGEST_SHARE) -> Keys:
        """Open an invitation for so long, a week at most. An earlier one ends, with its guests."""
        with self._lock:
            self.end_share()
            name = secrets.token_hex(8)
            now = self.clock()
            self._groups[name] = _Group(ends=now + min(seconds, LONGEST_SHARE), latest=now + LONGEST_SHARE)
            self._share = name
            return self._new_keys(name)

    def end_in(self, seconds: float) -> float:
        """Let the present invitation end in so long, a week after its beginning at the latest, and its guests' sessions
        with it. Returns in how many seconds that is. Raises ValueError while nothing is shared."""
        with self._lock:
            if self._share is None:
                raise ValueError("nothing is shared")
            group, now = self._groups[self._share], self.clock()
            group.ends = min(now + seconds, group.latest)
            for token, session in self._sessions.items():
                if session.group == self._share:
                    self._sessions[token] = replace(session, ends=min(now + SESSION_SECONDS, group.ends))
            return group.ends - now

    def renew(self) -> Keys:
        """New keys for the present share: the old links open nothing any more, and who is in stays. Raises ValueError
        while nothing is shared."""
        with self._lock:
            if self._share is None:
                raise ValueError("nothing is shared")
            return self._new_keys(self._share)

    def _new_keys(self, group: str) -> Keys:
        keys = Keys(*(secrets.token_urlsafe(16) for _ in range(2)))
        self._keys = {digest(keys.owner): ("owner", ""), digest(keys.guest): ("guest", group)}
        return keys

    def end_share(self) -> set[str]:
        """End the invitation, its keys and its guests' sessions. Returns the guests, whose jobs are to be stopped."""
        with self._lock:
            group, self._share = self._share, None
            self._keys = {}
            if group is None:
                return set()
            del self._groups[group]
            return self._end(lambda session: session.group == group)

    def show_out(self, person: str) -> bool:
        """End every session of a guest. They may come back with an invitation, as somebody new."""
        with self._lock:
            return bool(self._end(lambda session: session.person == person and session.rights == "guest"))

    def _end(self, matches: Callable[[Session], bool]) -> set[str]:
        matching = {token: session for token, session in self._sessions.items() if matches(session)}
        for token in matching:
            del self._sessions[token]
        self._moves = {key: move for key, move in self._moves.items() if not matches(move[0])}
        return {session.person for session in matching.values()}

    # -------------------------------------------------------------------------------------------------- sessions

    def session(self, token: str) -> Session | None:
        """The session of a cookie's token; None for one that is over or never was."""
        with self._lock:
            session = self._sessions.get(digest(token)) if token else None
            return session if session is not None and self._lives(session) else None

    def program(self, token: str) -> Session | None:
        """The session of a program, for its token; None for one that is revoked or never was."""
        program = self.programs.by_token(token)
        if program is None:
            return None
        group = PROGRAMS if program.rights == "guest" else ""
        return Session(program.rights, program.person, group, math.inf)

    def _lives(self, session: Session) -> bool:
        now = self.clock()
        if session.ends <= now:
            return False
        return session.rights == "owner" or (session.group in self._groups and self._groups[session.group].ends > now)

    def by_password(self, user: str, password: str, person: str) -> tuple[str, Session] | None:
        """A new session and its token; None where the two do not belong together. `person` is who the browser has been
        so far. Raises TooManyGuests."""
        attempt, rights = credentials(user, password), None
        for right, of in self._passwords.items():  # all are compared, so that it takes as long for each
            rights = of if hmac.compare_digest(attempt, right) else rights
        if rights is None:
            return None
        return self._begin(rights, person, PASSWORD if rights == "guest" else "")

    def by_key(self, key: str, person: str, token: str = "") -> tuple[str, Session] | None:
        """The same for the key of a link. A personal link's key is good once, and gives the session of its person. Who
        is in already (`token`) and would gain nothing keeps their session."""
        with self._lock:
            key_digest = digest(key)
            now_in = self.session(token)
            move = self._moves.pop(key_digest, None)
            if move is not None and move[1] > self.clock() and self._lives(move[0]):
                return self._add(move[0])
            rights, group = self._keys.get(key_digest, (None, ""))
            if rights is None or self.share_ends is None or self.share_ends <= self.clock():
                return None
            if now_in is not None and (now_in.rights == "owner" or now_in.group == group):
                return token, now_in
            return self._begin(rights, person, group)

    def owner_session(self, person: str) -> tuple[str, Session]:
        """A session for the browser that has just closed the studio to others by sharing it."""
        return self._begin("owner", person, "")

    def personal_key(self, token: str) -> str | None:
        """A key with which this guest may go on in another browser, good once and for an hour; None for who is no
        guest."""
        with self._lock:
            session = self.session(token)
            if session is None or session.rights != "guest":
                return None
            key = secrets.token_urlsafe(16)
            self._moves = {k: move for k, move in self._moves.items() if move[0].person != session.person}
            self._moves[digest(key)] = (session, self.clock() + MOVE_SECONDS)
            return key

    def guest_person(self, person: str) -> str:
        """Which visitor somebody without a session is, by their browser's cookie, in a studio that admits everybody: no
        guest becomes the owner by a cookie. "" where there is none yet."""
        if not _PERSON.fullmatch(person):
            return ""
        return digest(f"guest {person}")[:32] if self._owner.is_person(person) else person

    def leave(self, token: str) -> None:
        """End one session."""
        with self._lock:
            self._sessions.pop(digest(token), None)

    def guests(self) -> dict[str, str]:
        """The guests who are in, each with their group."""
        with self._lock:
            return {s.person: s.group for s in self._sessions.values() if s.rights == "guest" and self._lives(s)}

    def limited_group(self, person: str) -> str | None:
        """The group whose limits a visitor shares: that of a guest, of all programs with a guest's limits, or of
        everybody who is admitted without a link. None for the owner and for who is not in."""
        group = self.guests().get(person)
        if group is not None:
            return group
        program = self.programs.by_person(person)
        if program is not None:
            return PROGRAMS if program.rights == "guest" else None
        return EVERYBODY if self.admits_everybody and not self._owner.is_person(person) else None

    def _begin(self, rights: Rights, person: str, group: str) -> tuple[str, Session]:
        with self._lock:
            now = self.clock()
            if rights == "owner":
                return self._add(Session(rights, self._owner.person(person), "", now + SESSION_SECONDS))
            self._count(self._groups[group])
            if not _PERSON.fullmatch(person) or self._owner.is_person(person):
                person = secrets.token_hex(16)  # no guest becomes the owner by a cookie
            return self._add(Session(rights, person, group, min(now + SESSION_SECONDS, self._groups[group].ends)))

    def _count(self, group: _Group) -> None:
        now = self.clock()
        while group.session_starts and group.session_starts[0] <= now - HOUR:
            group.session_starts.popleft()
        if len(group.session_starts) >= self._sessions_an_hour:
            raise TooManyGuests(math.ceil(group.session_starts[0] + HOUR - now))
        group.session_starts.append(now)

    def _add(self, session: Session) -> tuple[str, Session]:
        token = secrets.token_urlsafe(32)
        self._sessions[digest(token)] = session
        while len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return token, session


def digest(text: str) -> str:
    """A hash to compare and to store in place of a secret."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def credentials(user: str, password: str) -> str:
    """One hash of both, of one length, so that a comparison takes as long for a wrong name as for a wrong password."""
    return digest(f"{digest(user)} {digest(password)}")
