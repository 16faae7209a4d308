"""Which lanes share the next U-Net call, how many rows fit and pay, and whose turn it is.

Arithmetic only: no torch, no job, no event. A seat stands for an admitted lane; the rota picks the seats of a tick.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

MAX_ROWS = 64  # of one U-Net call, whatever the memory
FIRST_CALL_ROWS = 2  # while nothing is known of a model's speed: one guided lane
TICK_SECONDS = 2.0  # a call is not made larger than this: who asks, and who stops, waits for one tick
BUCKETS = (1, 2, 4, 8, 16, 32, 64)
# A larger call pays until a row of it costs this much more than one of a smaller call. An even row is no loss: as many
# rows are done, and everybody sees his picture move. The tenth is for clocks on a busy machine.
PAYS = 1.1
FIRST_PREVIEW_TICKS = 4  # every visitor has been served once within so many ticks
_TRIES = 3  # measurements before a call size is judged
_KEPT = 15
_FORGET_AFTER = 200  # measurements after which a size that did not pay is tried again: the machine may be idle now


class Curve:
    """Seconds of a U-Net call by its number of rows, measured while working; one per checkpoint and batch key."""

    def __init__(self) -> None:
        self._seconds_per_row: dict[int, deque[float]] = {}
        self._seen: dict[int, int] = {}
        self._measured = 0
        self._last: float | None = None
        self._rows_that_fit = MAX_ROWS  # lowered when a call ran out of memory
        self._rows_in_memory = MAX_ROWS  # by the free memory of now

    def record(self, rows: int, seconds: float) -> None:
        """Take a measurement. The first of each size is not judged: it pays for set-up that later ones do not need."""
        bucket = _bucket(rows)
        self._last = seconds / rows
        self._seen[bucket] = self._seen.get(bucket, 0) + 1
        if self._seen[bucket] > 1:
            self._seconds_per_row.setdefault(bucket, deque(maxlen=_KEPT)).append(seconds / rows)
        self._measured += 1
        if self._measured % _FORGET_AFTER == 0:
            paying = self.paying_rows()
            for larger in [b for b in self._seconds_per_row if b > paying]:
                del self._seconds_per_row[larger]

    def seconds_per_row(self, bucket: int) -> float | None:
        """The least of the last measurements, None while there are too few: what else the machine does only adds."""
        found = self._seconds_per_row.get(bucket, ())
        return min(found) if len(found) >= _TRIES else None

    def paying_rows(self) -> int:
        """The most rows one call should have: what fits, pays and does not make everybody wait for the tick.

        A size not yet measured is tried. One that did not pay ends the search: kernels change with size, so a larger
        one may pay again, but each try costs everybody.
        """
        if self._last is None:
            return FIRST_CALL_ROWS
        allowed = min(self._rows_that_fit, self._rows_in_memory, TICK_SECONDS / self._last)
        best, smaller = 1, None
        for bucket in BUCKETS:
            here = self.seconds_per_row(bucket)
            if bucket > allowed or (here is not None and smaller is not None and here > PAYS * smaller):
                break
            best = bucket
            smaller = here if here is not None else smaller
        return best

    def fit(self, rows: int | None) -> None:
        """Take what the free memory is good for; None: unknown."""
        self._rows_in_memory = MAX_ROWS if rows is None else rows

    def ran_out_of_memory(self, rows: int) -> None:
        """Remember that a call of so many rows did not fit."""
        self._rows_that_fit = max(1, min(self._rows_that_fit, rows // 2))


def _bucket(rows: int) -> int:
    return max(b for b in BUCKETS if b <= max(1, min(rows, MAX_ROWS)))


@dataclass(eq=False)
class Seat:
    """One admitted lane as the rota sees it."""

    owner: str
    job: str
    key: Hashable  # lanes with equal keys fit into one call
    rows: int
    alone: bool = False  # exact lanes, and those whose shared call failed, get a call of their own
    number: int = field(default=0)  # order of admission, given by the rota
    hurry: int = 0  # the larger goes first among its owner's seats, for whoever looks at one lane now


class Rota:
    """Whose turn it is: each owner's account of device seconds, the least served first; a newcomer starts level with
    the least served, so he is neither starved nor ahead for long."""

    def __init__(self) -> None:
        self._seats: list[Seat] = []
        self._served: dict[str, float] = {}
        self._last_tick: dict[str, int] = {}
        self._tick = 0
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._seats)

    @property
    def seats(self) -> Sequence[Seat]:
        return tuple(self._seats)

    def owners(self) -> set[str]:
        """Owners with a seat."""
        return {s.owner for s in self._seats}

    def enter(self, seat: Seat) -> None:
        """Admit a lane."""
        if seat.owner not in self._served:
            self._served[seat.owner] = min(self._served.values(), default=0.0)
            self._last_tick[seat.owner] = -1  # never: before everybody with an equal account
        seat.number = next(self._numbers)
        self._seats.append(seat)

    def leave(self, seat: Seat) -> None:
        """A lane is done or gone; an owner without lanes has no account."""
        self._seats = [s for s in self._seats if s is not seat]
        if all(s.owner != seat.owner for s in self._seats):
            self._served.pop(seat.owner, None)
            self._last_tick.pop(seat.owner, None)

    def next_tick(self, limits: Mapping[Hashable, int] | None = None, default: int = MAX_ROWS) -> list[Seat]:
        """The seats of the next U-Net call: the leader's key, owners in turn, each owner's jobs in turn.

        `limits` says how many rows a call of a key may have, `default` is for the others. The leader is always
        served, even when his rows are more than the limit.
        """
        if not self._seats:
            return []
        leader = min(self._turns(self._seats), key=lambda seat: self._account(seat.owner))
        if leader.alone:
            return [leader]
        room = self._room(leader, (limits or {}).get(leader.key, default))
        chosen = [leader]
        room -= leader.rows
        for seat in self._turns([s for s in self._seats if s.key == leader.key and not s.alone]):
            if seat is not leader and seat.rows <= room:
                chosen.append(seat)
                room -= seat.rows
        return chosen

    def charge(self, seats: Iterable[Seat], seconds: float) -> None:
        """Book the device time of a tick on those who had it, by their rows."""
        served = list(seats)
        rows = sum(s.rows for s in served)
        self._tick += 1
        for seat in served:
            self._served[seat.owner] = self._served.get(seat.owner, 0.0) + seconds * seat.rows / rows
            self._last_tick[seat.owner] = self._tick

    def _account(self, owner: str) -> tuple[float, int]:
        return self._served[owner], self._last_tick[owner]

    def _room(self, leader: Seat, paying: int) -> int:
        """Rows of this call: those that pay, or more where the owners would otherwise not come round in time."""
        first_lanes: dict[str, int] = {}
        for seat in self._seats:
            if seat.key == leader.key and not seat.alone:
                first_lanes.setdefault(seat.owner, seat.rows)
        in_time = -(-sum(first_lanes.values()) // FIRST_PREVIEW_TICKS)
        # Whole lanes only: three guided lanes do not fit into five rows.
        return min(MAX_ROWS, max(paying, in_time + (in_time % max(first_lanes.values(), default=1))))

    def _turns(self, seats: list[Seat]) -> list[Seat]:
        """Round after round: each owner's next lane, least served owner first; an owner's jobs in turn, images in
        order, so that the first picture of a large request is there before the last is begun."""
        by_owner: dict[str, list[Seat]] = {}
        for owner in sorted(dict.fromkeys(s.owner for s in seats), key=self._account):
            by_owner[owner] = _jobs_in_turn([s for s in seats if s.owner == owner])
        ordered: list[Seat] = []
        for turn in range(max(map(len, by_owner.values()))):
            ordered += [mine[turn] for mine in by_owner.values() if turn < len(mine)]
        return ordered


def _jobs_in_turn(seats: list[Seat]) -> list[Seat]:
    place: dict[str, int] = {}
    ranked: list[tuple[int, int, int, Seat]] = []
    for seat in sorted(seats, key=lambda s: s.number):
        place[seat.job] = place.get(seat.job, -1) + 1
        ranked.append((-seat.hurry, place[seat.job], seat.number, seat))
    return [entry[-1] for entry in sorted(ranked, key=lambda entry: entry[:3])]


def waiting_order(jobs: Sequence[tuple[str, str]], last_admitted: Mapping[str, int]) -> list[str]:
    """Job ids in the order of admission. `jobs` are (job id, owner) as they came.

    The owner admitted longest ago comes first, `last_admitted` being his last number; then everybody's second job.
    """
    rank: dict[str, int] = {}
    ranked = []
    for place, (job_id, owner) in enumerate(jobs):
        rank[owner] = rank.get(owner, -1) + 1
        ranked.append((rank[owner], last_admitted.get(owner, -1), place, job_id))
    return [entry[-1] for entry in sorted(ranked)]
