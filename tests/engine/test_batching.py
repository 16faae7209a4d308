"""Which lanes share a call, how many rows, whose turn: arithmetic."""

from __future__ import annotations

import random

from studio.engine.batching import MAX_ROWS, Curve, Rota, Seat, waiting_order


def seat(owner: str, job: str = "", key: str = "k", rows: int = 2, alone: bool = False) -> Seat:
    return Seat(owner=owner, job=job or owner, key=key, rows=rows, alone=alone)


def rota_of(*seats: Seat) -> Rota:
    rota = Rota()
    for one in seats:
        rota.enter(one)
    return rota


def measured(seconds_per_row: dict[int, float]) -> Curve:
    curve = Curve()
    for rows, seconds in seconds_per_row.items():
        for _ in range(5):
            curve.record(rows, rows * seconds)
    return curve


def test_nothing_known_one_guided_lane() -> None:
    assert Curve().paying_rows() == 2


def test_rows_grow_as_long_as_they_pay() -> None:
    # Two CPU cores and the built-in model's size: 29 ms a row at 2, 16 at 8, 12 at 32.
    assert measured({2: 0.029, 4: 0.021, 8: 0.016, 16: 0.014, 32: 0.012}).paying_rows() == MAX_ROWS
    assert measured({2: 0.029, 4: 0.021, 8: 0.024}).paying_rows() == 4


def test_a_call_is_not_so_large_that_everybody_waits_for_it() -> None:
    assert measured({2: 0.5}).paying_rows() == 4
    assert measured({2: 20.0}).paying_rows() == 1


def test_the_first_measurement_of_a_size_is_set_up_and_not_judged() -> None:
    curve = measured({2: 0.02})
    curve.record(8, 8 * 0.2)
    for _ in range(4):
        curve.record(8, 8 * 0.01)
    assert curve.seconds_per_row(8) == 0.01


def test_a_size_that_did_not_pay_is_tried_again_later() -> None:
    curve = measured({2: 0.02, 4: 0.03})
    assert curve.paying_rows() == 2
    for _ in range(500):
        curve.record(2, 0.04)
    assert curve.paying_rows() > 2


def test_a_call_that_did_not_fit_is_not_tried_again() -> None:
    curve = measured({2: 0.01})
    curve.ran_out_of_memory(16)
    assert curve.paying_rows() == 8
    for _ in range(5):
        curve.ran_out_of_memory(2)
    assert curve.paying_rows() == 1


def test_free_memory_limits_the_rows_and_may_change() -> None:
    curve = measured({2: 0.01})
    curve.fit(4)
    assert curve.paying_rows() == 4
    curve.fit(None)
    assert curve.paying_rows() == MAX_ROWS


def test_lanes_of_one_key_share_a_call_and_others_do_not() -> None:
    here, there = [seat("a"), seat("b")], [seat("c", key="other")]
    rota = rota_of(*here, *there)
    first = rota.next_tick()
    assert first == here
    rota.charge(first, 1.0)
    assert rota.next_tick() == there


def test_exact_lanes_have_calls_of_their_own() -> None:
    alone, shared = seat("a", alone=True), [seat("b"), seat("c")]
    rota = rota_of(alone, *shared)
    assert rota.next_tick() == [alone]
    rota.charge([alone], 1.0)
    assert rota.next_tick() == shared


def test_the_last_of_eight_visitors_is_served_within_four_ticks_however_little_pays() -> None:
    for paying in (1, 2, 3, 4, 8, 16):
        rota = rota_of(*[seat(f"visitor {k}") for k in range(8)])
        served: set[str] = set()
        for _ in range(4):
            tick = rota.next_tick({"k": paying})
            served |= {s.owner for s in tick}
            rota.charge(tick, 0.1)
        assert len(served) == 8, f"{paying} rows pay, {len(served)} visitors had a preview after 4 ticks"


def test_sixteen_images_of_one_do_not_starve_the_other() -> None:
    many = [seat("a", job="sixteen") for _ in range(16)]
    one = seat("b")
    rota = rota_of(*many, one)
    for _ in range(20):
        tick = rota.next_tick({"k": 4})
        assert one in tick
        rota.charge(tick, 0.1)


def test_device_time_is_shared_by_owner_not_by_job_or_image() -> None:
    rota = rota_of(*[seat("a", job=f"job {k}") for k in range(6)], seat("b"))
    time = {"a": 0.0, "b": 0.0}
    for _ in range(200):
        tick = rota.next_tick({"k": 2})
        rota.charge(tick, 0.1)
        for one in tick:
            time[one.owner] += 0.1 / len(tick)
    assert abs(time["a"] - time["b"]) < 0.2


def test_time_is_shared_between_keys_of_different_cost() -> None:
    large, small = seat("a", key="2048x2048"), seat("b", key="64x64")
    rota = rota_of(large, small)
    seconds = {"2048x2048": 10.0, "64x64": 0.1}
    spent = {"2048x2048": 0.0, "64x64": 0.0}
    for _ in range(1000):
        [one] = rota.next_tick()
        spent[str(one.key)] += seconds[str(one.key)]
        rota.charge([one], seconds[str(one.key)])
    assert abs(spent["2048x2048"] - spent["64x64"]) <= 10.0


def test_a_newcomer_is_next_but_has_no_credit_from_before() -> None:
    old = seat("old")
    rota = rota_of(old)
    for _ in range(100):
        rota.charge(rota.next_tick(), 1.0)
    new = seat("new")
    rota.enter(new)
    turns = []
    for _ in range(6):
        [one] = rota.next_tick({"k": 1}, default=1)[:1]
        turns.append(one.owner)
        rota.charge([one], 1.0)
    assert turns == ["new", "old", "new", "old", "new", "old"]


def test_an_owners_jobs_take_turns_and_images_come_in_order() -> None:
    first = [seat("a", job="first") for _ in range(3)]
    second = [seat("a", job="second")]
    rota = rota_of(*first, *second)
    assert rota.next_tick({"k": 4}) == [first[0], second[0]]
    assert rota.next_tick({"k": 6}) == [first[0], second[0], first[1]]


def test_nobody_starves_whatever_comes_and_goes() -> None:
    """Random arrivals and departures: everybody who stays is served again within as many ticks as there are seats."""
    dice = random.Random(3)
    rota = Rota()
    waited: dict[int, int] = {}
    seats: dict[int, Seat] = {}
    for moment in range(3000):
        if dice.random() < 0.2 and len(seats) < 24:
            new = seat(f"owner {dice.randrange(8)}", key=dice.choice("xyz"), rows=dice.choice((1, 2)))
            rota.enter(new)
            seats[id(new)], waited[id(new)] = new, 0
        if dice.random() < 0.1 and seats:
            gone = dice.choice(list(seats.values()))
            rota.leave(gone)
            del seats[id(gone)], waited[id(gone)]
        tick = rota.next_tick({}, default=dice.choice((1, 2, 8)))
        assert bool(tick) == bool(seats), moment
        assert len({s.key for s in tick}) <= 1
        if not tick:
            continue
        rota.charge(tick, 1.0)
        owners_served = {s.owner for s in tick}
        for key, one in seats.items():
            waited[key] = 0 if one.owner in owners_served else waited[key] + 1
            assert waited[key] <= 40, "an owner waits and waits"


def test_jobs_wait_in_turn_by_owner() -> None:
    jobs = [("a1", "a"), ("a2", "a"), ("b1", "b"), ("a3", "a"), ("b2", "b"), ("c1", "c")]
    assert waiting_order(jobs, {}) == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert waiting_order(jobs, {"a": 9, "b": 3})[:3] == ["c1", "b1", "a1"], "admitted longest ago comes first"
