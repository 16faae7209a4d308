"""Which lanes share a call and whose turn it is: arithmetic."""

from __future__ import annotations

import random

from studio.engine.fairness import FairShare, RunningLane, waiting_order


def lane(owner: str, job: str = "", key: str = "k", rows: int = 2, alone: bool = False) -> RunningLane:
    return RunningLane(owner=owner, job=job or owner, key=key, rows=rows, alone=alone)


def share_of(*lanes: RunningLane) -> FairShare:
    share = FairShare()
    for one in lanes:
        share.enter(one)
    return share


def test_lanes_of_one_key_share_a_call_and_others_do_not() -> None:
    here, there = [lane("a"), lane("b")], [lane("c", key="other")]
    share = share_of(*here, *there)
    first = share.next_tick()
    assert first == here
    share.charge(first, 1.0)
    assert share.next_tick() == there


def test_exact_lanes_have_calls_of_their_own() -> None:
    alone, shared = lane("a", alone=True), [lane("b"), lane("c")]
    share = share_of(alone, *shared)
    assert share.next_tick() == [alone]
    share.charge([alone], 1.0)
    assert share.next_tick() == shared


def test_the_last_of_eight_visitors_is_served_within_four_ticks_however_little_pays() -> None:
    for paying in (1, 2, 3, 4, 8, 16):
        share = share_of(*[lane(f"visitor {k}") for k in range(8)])
        served: set[str] = set()
        for _ in range(4):
            tick = share.next_tick({"k": paying})
            served |= {s.owner for s in tick}
            share.charge(tick, 0.1)
        assert len(served) == 8, f"{paying} rows pay, {len(served)} visitors had a preview after 4 ticks"


def test_sixteen_images_of_one_do_not_starve_the_other() -> None:
    many = [lane("a", job="sixteen") for _ in range(16)]
    one = lane("b")
    share = share_of(*many, one)
    for _ in range(20):
        tick = share.next_tick({"k": 4})
        assert one in tick
        share.charge(tick, 0.1)


def test_device_time_is_shared_by_owner_not_by_job_or_image() -> None:
    share = share_of(*[lane("a", job=f"job {k}") for k in range(6)], lane("b"))
    time = {"a": 0.0, "b": 0.0}
    for _ in range(200):
        tick = share.next_tick({"k": 2})
        share.charge(tick, 0.1)
        for one in tick:
            time[one.owner] += 0.1 / len(tick)
    assert abs(time["a"] - time["b"]) < 0.2


def test_time_is_shared_between_keys_of_different_cost() -> None:
    large, small = lane("a", key="2048x2048"), lane("b", key="64x64")
    share = share_of(large, small)
    seconds = {"2048x2048": 10.0, "64x64": 0.1}
    spent = {"2048x2048": 0.0, "64x64": 0.0}
    for _ in range(1000):
        [one] = share.next_tick()
        spent[str(one.key)] += seconds[str(one.key)]
        share.charge([one], seconds[str(one.key)])
    assert abs(spent["2048x2048"] - spent["64x64"]) <= 10.0


def test_a_newcomer_is_next_but_has_no_credit_from_before() -> None:
    old = lane("old")
    share = share_of(old)
    for _ in range(100):
        share.charge(share.next_tick(), 1.0)
    new = lane("new")
    share.enter(new)
    turns = []
    for _ in range(6):
        [one] = share.next_tick({"k": 1}, default=1)[:1]
        turns.append(one.owner)
        share.charge([one], 1.0)
    assert turns == ["new", "old", "new", "old", "new", "old"]


def test_an_owners_jobs_take_turns_and_images_come_in_order() -> None:
    first = [lane("a", job="first") for _ in range(3)]
    second = [lane("a", job="second")]
    share = share_of(*first, *second)
    assert share.next_tick({"k": 4}) == [first[0], second[0]]
    assert share.next_tick({"k": 6}) == [first[0], second[0], first[1]]


def test_nobody_starves_whatever_comes_and_goes() -> None:
    """Random arrivals and departures: everybody who stays is served again within as many ticks as there are lanes."""
    dice = random.Random(3)
    share = FairShare()
    waited: dict[int, int] = {}
    lanes: dict[int, RunningLane] = {}
    for moment in range(3000):
        if dice.random() < 0.2 and len(lanes) < 24:
            new = lane(f"owner {dice.randrange(8)}", key=dice.choice("xyz"), rows=dice.choice((1, 2)))
            share.enter(new)
            lanes[id(new)], waited[id(new)] = new, 0
        if dice.random() < 0.1 and lanes:
            gone = dice.choice(list(lanes.values()))
            share.leave(gone)
            del lanes[id(gone)], waited[id(gone)]
        tick = share.next_tick({}, default=dice.choice((1, 2, 8)))
        assert bool(tick) == bool(lanes), moment
        assert len({s.key for s in tick}) <= 1
        if not tick:
            continue
        share.charge(tick, 1.0)
        owners_served = {s.owner for s in tick}
        for key, one in lanes.items():
            waited[key] = 0 if one.owner in owners_served else waited[key] + 1
            assert waited[key] <= 40, "an owner waits and waits"


def test_jobs_wait_in_turn_by_owner() -> None:
    jobs = [("a1", "a"), ("a2", "a"), ("b1", "b"), ("a3", "a"), ("b2", "b"), ("c1", "c")]
    assert waiting_order(jobs, {}) == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert waiting_order(jobs, {"a": 9, "b": 3})[:3] == ["c1", "b1", "a1"], "admitted longest ago comes first"
