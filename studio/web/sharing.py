"""One share from its beginning to its end: the invitation, the tunnel, the links, the time, and what ends with it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from studio.answered.engine import Engine, UnknownJob
from studio.ui.text import say
from studio.web.access import LONGEST_SHARE, Access, Keys

logger = logging.getLogger(__name__)

State = Literal["off", "opening", "open", "failed"]


class Tunnel(Protocol):
    """A public address for this server (studio.ui.tunnel)."""

    link: str

    def wait(self) -> None: ...

    def close(self) -> None: ...


OpenTunnel = Callable[[], Tunnel]  # takes up to a minute; raises an exception whose text says why not


@dataclass(frozen=True)
class ShareState:
    """What is shared now. `address`: what the links begin with; `ends`: seconds since 1970; `reason`: why there is no
    link, or no longer one."""

    state: State = "off"
    address: str = ""
    keys: Keys | None = None
    ends: float = 0.0
    reason: str = ""

    @property
    def guest_link(self) -> str:
        """What may be sent to guests; empty where there is none."""
        return f"{self.address}/enter#{self.keys.guest}" if self.keys and self.address else ""

    @property
    def owner_link(self) -> str:
        """The owner's own, for the terminal alone."""
        return f"{self.address}/enter#{self.keys.owner}" if self.keys and self.address else ""


class Sharing:
    """Begins and ends shares, one at a time. Safe from any thread."""

    def __init__(
        self,
        access: Access,
        engine: Engine,
        hosts: set[str],
        open_tunnel: OpenTunnel | None,
        *,
        address: str = "",
        on_ready: Callable[[ShareState], None] = lambda state: None,
        on_over: Callable[[], None] = lambda: None,
        on_end: Callable[[Iterable[str]], None] = lambda people: None,
    ) -> None:
        """`hosts` are the names that the guard admits. Without `open_tunnel` the links begin with `address`, where
        others reach this server already. `on_ready` is called once for each share, when its link is there or cannot
        be; `on_over` when its time is over; `on_end` with the guests of one that has ended, who never come
        back."""
        self._access = access
        self._engine = engine
        self._hosts = hosts
        self._open_tunnel = open_tunnel
        self._address = address
        self._on_ready = on_ready
        self._on_over = on_over
        self._on_end = on_end
        self._lock = threading.RLock()
        self._state = ShareState()
        self._tunnel: Tunnel | None = None
        self._timer: threading.Timer | None = None
        self._number = 0  # of the share, so that what an earlier one has begun does nothing to a later one

    @property
    def now(self) -> ShareState:
        """The share as it is."""
        with self._lock:
            return self._state

    def begin(self, seconds: float = LONGEST_SHARE) -> ShareState:
        """Close the studio to strangers, at once, and open it to invitations for so long. The link is there later."""
        with self._lock:
            self.end()
            self._number += 1
            seconds = min(seconds, LONGEST_SHARE)
            keys = self._access.share(seconds)
            ready = self._open_tunnel is None
            self._state = ShareState(
                state="open" if ready else "opening",
                address=self._address if ready else "",
                keys=keys,
                ends=time.time() + seconds,
            )
            self._end_in(seconds)
            state = self._state
            if not ready:
                threading.Thread(target=self._open, args=(self._number,), name="public-link", daemon=True).start()
        if ready:
            self._on_ready(state)
        return state

    def change_end(self, seconds: float) -> ShareState:
        """Let the share end in so long from now, a week after its beginning at the latest. Raises ValueError while
        nothing is shared."""
        with self._lock:
            seconds = self._access.end_in(seconds)
            self._state = replace(self._state, ends=time.time() + seconds)
            self._end_in(seconds)
            return self._state

    def _end_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = threading.Timer(seconds, self._over, (self._number,))
        self._timer.daemon = True
        self._timer.start()

    def renew(self) -> ShareState:
        """New links in place of the present ones; who is in stays. Raises ValueError while nothing is shared."""
        with self._lock:
            self._state = replace(self._state, keys=self._access.renew())
            return self._state

    def end(self, reason: str = "") -> None:
        """End the share: its links, its guests' sessions, their jobs and the tunnel. `reason`: why, where it was not
        the owner's wish."""
        with self._lock:
            people = self._access.end_share()
            if self._tunnel is not None:
                self._hosts.discard(_name(self._tunnel.link))
                self._tunnel.close()
            if self._timer is not None:
                self._timer.cancel()
            self._tunnel = self._timer = None
            self._state = ShareState(state="failed", reason=reason) if reason else ShareState()
            self._number += 1
        if people:
            self._on_end(people)
            stopping = threading.Thread(target=lambda: asyncio.run(stop_jobs(self._engine, people)), daemon=True)
            stopping.start()

    def _over(self, number: int) -> None:
        with self._lock:
            if number == self._number:
                self.end(say("share.over"))
                self._on_over()

    def _open(self, number: int) -> None:
        assert self._open_tunnel is not None
        tunnel, reason = None, ""
        try:
            tunnel = self._open_tunnel()
        except Exception as error:
            reason = str(error)
        with self._lock:
            if number != self._number:  # it was ended meanwhile
                if tunnel is not None:
                    tunnel.close()
                return
            if tunnel is None:
                self.end(reason)
            else:
                self._tunnel = tunnel
                self._hosts.add(_name(tunnel.link))  # the guard learns its new name; the studio is closed already
                self._state = replace(self._state, state="open", address=tunnel.link)
            state = self._state
            number = self._number
        self._on_ready(state)
        if tunnel is not None:
            tunnel.wait()
            with self._lock:
                if number == self._number:
                    logger.warning("The tunnel has ended; the public link opens nothing any more.")
                    self.end(say("share.lost"))


def _name(link: str) -> str:
    return str(urllib.parse.urlsplit(link).hostname)


async def stop_jobs(engine: Engine, people: Iterable[str]) -> None:
    """Stop what these visitors have waiting or running."""
    for person in people:
        for job in await engine.jobs(owner=person):
            if job.state in ("queued", "running"):
                with contextlib.suppress(UnknownJob):  # it has just ended
                    await engine.cancel(job.job_id, owner=person)
