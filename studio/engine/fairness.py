"""Whose turn it is: which lanes share the next U-Net call, and in which order jobs are admitted.

Arithmetic only: no torch, no event. Device time is shared by owner, not by job or image.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from studio.engine import batching

FIRST_PREVIEW_TICKS = 4  # every visitor has been served once within so many ticks


@dataclass(eq=False)
class RunningLane:
    """What the scheduler knows of an image that is being denoised."""

    owner: str
    job: str  # id of its job
    key: Hashable  # lanes with equal keys fit into one call
    rows: int
    alone: bool = False  # exact lanes, and those whose shared call failed, get a call of their own
    number: int = field(default=0)  # order of admission, given by `FairShare.enter`
    priority: int = 0  # the larger goes first among its owner's lanes
    comparison: str = ""  # id of the comparison that its job is a cell of: its cells take one turn together


class FairShare:
    """Each owner's account of device seconds; the least served owner comes first. A newcomer starts level with the
    least served, so they neither starve nor stay ahead for long."""

    def __init__(self) -> None:
        self._lanes: list[RunningLane] = []
        self._served_seconds: dict[str, float] = {}
        self._last_tick: dict[str, int] = {}
        self._tick = 0
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._lanes)

    @property
    def lanes(self) -> Sequence[RunningLane]:
        return tuple(self._lanes)

    def owners(self) -> set[str]:
        """Owners with a lane."""
        return {s.owner for s in self._lanes}

    def enter(self, lane: RunningLane) -> None:
        """Admit a lane."""
        if lane.owner not in self._served_seconds:
            self._served_seconds[lane.owner] = min(self._served_seconds.values(), default=0.0)
            self._last_tick[lane.owner] = -1  # never: before everybody with an equal account
        lane.number = next(self._numbers)
        self._lanes.append(lane)

    def leave(self, lane: RunningLane) -> None:
        """A lane is done or gone; an owner without lanes has no account."""
        self._lanes = [s for s in self._lanes if s is not lane]
        if all(s.owner != lane.owner for s in self._lanes):
            self._served_seconds.pop(lane.owner, None)
            self._last_tick.pop(lane.owner, None)

    def next_tick(self, limits: Mapping[Hashable, int] | None = None, default: int | None = None) -> list[RunningLane]:
        """The lanes of the next U-Net call: the leader's key, owners in turn, each owner's jobs in turn.

        `limits` says how many rows a call of a key may have, `default` (MAX_ROWS) is for the others. The leader is
        always served, even when their rows are more than the limit.
        """
        if not self._lanes:
            return []
        leader = min(self._turns(self._lanes), key=lambda lane: self._account(lane.owner))
        if leader.alone:
            return [leader]
        room = self._room(leader, (limits or {}).get(leader.key, batching.MAX_ROWS if default is None else default))
        lanes_of_tick = [leader]
        room -= leader.rows
        for lane in self._turns([s for s in self._lanes if s.key == leader.key and not s.alone]):
            if lane is not leader and lane.rows <= room:
                lanes_of_tick.append(lane)
                room -= lane.rows
        return lanes_of_tick

    def charge(self, lanes: Iterable[RunningLane], seconds: float) -> dict[str, float]:
        """Book the device time of a tick on those who had it, by their rows. Returns the seconds of each owner."""
        all_lanes = list(lanes)
        rows = sum(s.rows for s in all_lanes)
        self._tick += 1
        shares: dict[str, float] = {}
        for lane in all_lanes:
            shares[lane.owner] = shares.get(lane.owner, 0.0) + seconds * lane.rows / rows
            self._last_tick[lane.owner] = self._tick
        for owner, share in shares.items():
            self._served_seconds[owner] = self._served_seconds.get(owner, 0.0) + share
        return shares

    def _account(self, owner: str) -> tuple[float, int]:
        return self._served_seconds[owner], self._last_tick[owner]

    def _room(self, leader: RunningLane, paying: int) -> int:
        """Rows of this call: those that pay, or more where the owners would otherwise not come round in time."""
        first_lanes: dict[str, int] = {}
        for lane in self._lanes:
            if lane.key == leader.key and not lane.alone:
                first_lanes.setdefault(lane.owner, lane.rows)
        in_time = -(-sum(first_lanes.values()) // FIRST_PREVIEW_TICKS)
        # Whole lanes only: three guided lanes do not fit into five rows.
        return min(batching.MAX_ROWS, max(paying, in_time + (in_time % max(first_lanes.values(), default=1))))

    def _turns(self, lanes: list[RunningLane]) -> list[RunningLane]:
        """Round after round: each owner's next lane, least served owner first; an owner's jobs in turn, images in
        order, so that the first picture of a large request is there before the last is begun."""
        by_owner: dict[str, list[RunningLane]] = {}
        for owner in sorted(dict.fromkeys(s.owner for s in lanes), key=self._account):
            by_owner[owner] = _jobs_in_turn([s for s in lanes if s.owner == owner])
        in_order: list[RunningLane] = []
        for turn in range(max(map(len, by_owner.values()))):
            in_order += [mine[turn] for mine in by_owner.values() if turn < len(mine)]
        return in_order


def _jobs_in_turn(lanes: list[RunningLane]) -> list[RunningLane]:
    place: dict[str, int] = {}
    ranks: list[tuple[int, int, int, RunningLane]] = []
    for lane in sorted(lanes, key=lambda s: s.number):
        turn = lane.comparison or lane.job
        place[turn] = place.get(turn, -1) + 1
        ranks.append((-lane.priority, place[turn], lane.number, lane))
    return [entry[-1] for entry in sorted(ranks, key=lambda entry: entry[:3])]


def waiting_order(jobs: Sequence[tuple[str, str]], admission_numbers: Mapping[str, int]) -> list[str]:
    """Job ids in the order of admission. `jobs` are (job id, owner) as they came.

    The owner admitted longest ago comes first, `admission_numbers` being their last number; then everybody's second
    job.
    """
    rank: dict[str, int] = {}
    ranks = []
    for place, (job_id, owner) in enumerate(jobs):
        rank[owner] = rank.get(owner, -1) + 1
        ranks.append((rank[owner], admission_numbers.get(owner, -1), place, job_id))
    return [entry[-1] for entry in sorted(ranks)]
