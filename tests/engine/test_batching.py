"""How many rows a call should have: arithmetic."""

from __future__ import annotations

from studio.engine.batching import MAX_ROWS, Curve


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
