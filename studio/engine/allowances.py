"""What a visitor may have waiting, running and computed: alone, with their group, and with everybody of this machine.

Plain Python, no lock of its own: the job book holds one. Device time is that of ticks, which share it by rows; encoding
prompts and decoding pictures is not counted.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields

from studio.answered.engine import Refused
from studio.asked.fields import TextToImage
from studio.asked.messages import Message
from studio.asked.orders import Allowance, Quota
from studio.asked.requests import Request
from studio.picture.framing import Start

HOUR = 3600.0
GRAIN = 60.0  # seconds that are booked as one
RETRY_SECONDS = 10  # after which a program may try again, while nothing is known of how long jobs take

_NAMES = {
    "jobs": (Message("jobs"), "{:.0f}"),
    "images": (Message("images"), "{:.0f}"),
    "steps": (Message("steps"), "{:.0f}"),
    "pixels": (Message("megapixels"), "{:.1f}"),
}


@dataclass(frozen=True)
class Load:
    """What jobs take: numbers of jobs and images, steps and pixels of all their images together."""

    jobs: int = 0
    images: int = 0
    steps: int = 0
    pixels: int = 0

    def __add__(self, other: Load) -> Load:
        return Load(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


def load_of(request: Request, start: Start | None) -> Load:
    """The load of one run. `start`: what it begins with, where that is a picture; its size is the picture's."""
    width, height = start.picture.size if start is not None else (request.width or 0, request.height or 0)
    steps = request.num_inference_steps or 0
    if isinstance(request, TextToImage) and request.has_second_pass:
        width, height = request.hires_size(width, height)
        steps += request.hires_steps or steps
    images = request.num_images_per_prompt
    return Load(jobs=1, images=images, steps=images * steps, pixels=images * width * height)


@dataclass(frozen=True)
class Entry:
    """A job in the account: whose it is, by which allowance, and its load."""

    owner: str
    allowance: Allowance | None
    load: Load


class Allowances:
    """Device time of the last hour, and the check of a new job. `clock` in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._bookings: deque[tuple[float, Counter[tuple[str, str]]]] = deque()  # (minute, seconds by owner and group)
        self._seconds = self._jobs = 0.0  # of device, for so many jobs that have ended

    def charge(self, owner: str, group: str, seconds: float) -> None:
        """Somebody had the device for so long."""
        minute = self._clock() // GRAIN
        if not self._bookings or self._bookings[-1][0] != minute:
            self._bookings.append((minute, Counter()))
        self._bookings[-1][1][owner, group] += seconds  # type: ignore[assignment]  # a Counter of seconds
        self._seconds += seconds
        while self._bookings[0][0] * GRAIN < self._clock() - HOUR:
            self._bookings.popleft()

    def count_job(self) -> None:
        """One more job is over."""
        self._jobs += 1
        if self._jobs >= 200:  # what is long past counts less and less
            self._jobs, self._seconds = self._jobs / 2, self._seconds / 2

    def device_seconds(self) -> dict[str, float]:
        """Of each visitor, within the last hour."""
        total: Counter[str] = Counter()
        for (owner, _), seconds in self._within_the_hour():
            total[owner] += seconds  # type: ignore[assignment]
        return dict(total)

    def seconds_of(self, jobs: int) -> int | None:
        """When so many jobs are done, as it has gone so far; None while nothing is known."""
        if not self._jobs or not self._seconds:
            return None
        return max(1, math.ceil(jobs * self._seconds / self._jobs))

    def wait(self, jobs: int) -> str:
        """The same in words: "about 2 minutes"; empty while nothing is known."""
        seconds = self.seconds_of(jobs)
        if seconds is None:
            return ""
        minutes = math.ceil(seconds / 60)
        return Message("about {count} minute" if minutes == 1 else "about {count} minutes", count=minutes)

    def check(self, new: Entry, there: Iterable[Entry]) -> None:
        """Raises Refused, saying what is allowed, for a job that is more than one of the three quotas allows."""
        allowance = new.allowance
        if allowance is None:
            return
        limited_jobs = [one for one in there if one.allowance is not None]
        in_group = [one for one in limited_jobs if one.allowance is not None and one.allowance.group == allowance.group]
        mine = [one for one in in_group if one.owner == new.owner]
        hour = list(self._within_the_hour())
        scopes = (
            (
                Message("You may have"),
                allowance.visitor,
                mine,
                sum(s for (owner, _), s in hour if owner == new.owner),
            ),
            (
                Message("All guests of this invitation together may have"),
                allowance.together,
                in_group,
                sum(s for (_, group), s in hour if group == allowance.group),
            ),
            (
                Message("All guests together may have"),
                allowance.machine,
                limited_jobs,
                sum(s for (_, group), s in hour if group),
            ),
        )
        for who, quota, entries, seconds in scopes:
            self._check(who, quota, entries, new.load, seconds)

    def _check(self, who: str, quota: Quota, entries: list[Entry], new: Load, seconds: float) -> None:
        there = sum((entry.load for entry in entries), Load())
        both = there + new
        for name, (words, form) in _NAMES.items():
            most = getattr(quota, name)
            if most is None or getattr(both, name) <= most:
                continue
            scale = 2**20 if name == "pixels" else 1
            amounts = [form.format(value / scale) for value in (most, getattr(there, name), getattr(new, name))]
            never = getattr(new, name) > most  # however long it waits
            values = {"who": who, "most": amounts[0], "words": words, "there": amounts[1], "this": amounts[2]}
            allowed = Message("{who} {most} {words} waiting or running: there are {there}, this has {this}", **values)
            wait = self.wait(there.jobs) if there.jobs else ""
            raise Refused(
                _with_jobs_before(allowed, there.jobs, wait),
                kind="forbidden" if never else "limit",
                retry_after=None if never else self.seconds_of(1) or RETRY_SECONDS,
            )
        if quota.device_seconds is not None and seconds >= quota.device_seconds:
            raise Refused(
                Message(
                    "{who} {minutes} minutes of this computer's time within an hour, and they are "
                    "used. Try again in about {wait} minutes.",
                    who=who,
                    minutes=f"{quota.device_seconds / 60:.0f}",
                    wait=self._minutes_until_less(),
                ),
                kind="limit",
                retry_after=60 * self._minutes_until_less(),
            )

    def _minutes_until_less(self) -> int:
        oldest = self._bookings[0][0] * GRAIN if self._bookings else self._clock()
        return max(1, math.ceil((oldest + HOUR + GRAIN - self._clock()) / 60))

    def _within_the_hour(self) -> list[tuple[tuple[str, str], float]]:
        since = self._clock() - HOUR
        return [
            pair
            for minute, seconds_by_pair in self._bookings
            if minute * GRAIN >= since
            for pair in seconds_by_pair.items()
        ]


def _with_jobs_before(allowed: Message, jobs: int, wait: str) -> Message:
    """A sentence about what is allowed, with how many jobs are before this one and how long they take."""
    if not jobs:
        return Message("{allowed}.", allowed=allowed)
    before = Message("1 is before you") if jobs == 1 else Message("{count} are before you", count=jobs)
    if not wait:
        return Message("{allowed}; {before}.", allowed=allowed, before=before)
    return Message("{allowed}; {before}, {wait}.", allowed=allowed, before=before, wait=wait)
