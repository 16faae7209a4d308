"""What strangers may have of this computer: the three quotas of a guest, and the one share of all clients without a
cookie. The engine keeps the account (studio.engine.allowances)."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any, cast

from studio.answered.engine import Engine, Refused
from studio.asked.orders import Allowance, Quota, Submission
from studio.ui.text import say
from studio.web.access import PASSWORD, PROGRAMS, Access

MEGAPIXEL = 2**20
NO_COOKIE = "no cookie"  # the group of clients that are another visitor with each request
MAX_REMEMBERED = 10_000

# Of one guest: a comparison of 32 pictures with 30 steps each, or eight of 1024 x 1024.
VISITOR = Quota(jobs=4, images=32, steps=1000, pixels=8 * MEGAPIXEL, device_seconds=15 * 60)
# Of all guests of one invitation, and of all guests: the queue has 64 places, so that the owner always finds some free.
TOGETHER = Quota(jobs=40, images=320, steps=10_000, pixels=64 * MEGAPIXEL, device_seconds=45 * 60)
MACHINE = Quota(jobs=48, images=384, steps=12_000, pixels=80 * MEGAPIXEL, device_seconds=50 * 60)
WITHOUT_COOKIE = Quota(jobs=24)


@dataclass(frozen=True)
class UploadLimits:
    """Bytes of uploads on the disk at once."""

    visitor: int = 64 * 2**20
    together: int = 256 * 2**20


class NewVisitors:
    """The newest visitors that came without a cookie and have not come again with the one they got. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._new: OrderedDict[str, None] = OrderedDict()

    def record(self, owner: str, *, with_cookie: bool) -> None:
        """A request of this visitor has arrived."""
        with self._lock:
            if with_cookie:
                self._new.pop(owner, None)
                return
            self._new[owner] = None
            while len(self._new) > MAX_REMEMBERED:
                self._new.popitem(last=False)

    def __contains__(self, owner: object) -> bool:
        with self._lock:
            return owner in self._new


class LimitedEngine:
    """An engine whose jobs carry the allowance of whoever asks for them; everything else is the engine itself."""

    def __init__(self, engine: Engine, access: Access, new_visitors: NewVisitors) -> None:
        self._engine = engine
        self._access = access
        self._new_visitors = new_visitors
        self.is_frozen = False  # the owner lets guests begin nothing now

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def submit(self, job: Submission, *, owner: str, origin: str = "api") -> str:
        """As `Engine.submit`. Raises Refused also for what is more than the allowance."""
        allowance = self.allowance(owner)
        if allowance is not None and self.is_frozen and allowance.group != NO_COOKIE:
            raise Refused(say("share.frozen"), kind="unavailable")
        return await self._engine.submit(replace(job, allowance=allowance), owner=owner, origin=origin)

    def allowance(self, owner: str) -> Allowance | None:
        """What a visitor may have; None for the owner, and for whoever has a cookie while the studio is open."""
        group = self._access.limited_group(owner)
        if group is not None:
            ends = group not in (PASSWORD, PROGRAMS)  # those of an invitation cannot come back after the next start
            return Allowance(group=group, visitor=VISITOR, together=TOGETHER, machine=MACHINE, ends_with_studio=ends)
        if owner in self._new_visitors:
            return Allowance(group=NO_COOKIE, together=WITHOUT_COOKIE)
        return None


def with_limits(engine: Engine, access: Access, new_visitors: NewVisitors) -> tuple[Engine, LimitedEngine]:
    """The same object twice: as the engine that the page is given, and as what the owner's board freezes."""
    one = LimitedEngine(engine, access, new_visitors)
    return cast(Engine, one), one
