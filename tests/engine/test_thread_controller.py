"""As many threads as there are free cores: imagined machines and programs, with a clock of their own."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

from studio.engine import compute_threads, cpu_use
from studio.engine.compute_threads import ComputeThreads
from studio.engine.cpu_use import CpuReading, CpuUse
from studio.engine.thread_controller import HOLD_SECONDS, LONGEST_HOLD, ThreadController
from tests.engine.conftest import EngineFactory, OneThread, ask, finish, pixels

WINDOW = 0.25


def over_time(controller: ThreadController, others: Callable[[float], float], seconds: float, cores: int) -> list[int]:
    """The threads after each reading of so many seconds in which other programs use `others(time)` of the cores."""
    threads = []
    for number in range(1, round(seconds / WINDOW) + 1):
        now = number * WINDOW
        controller.heed(CpuReading(WINDOW, cores, others(now)), now)
        threads.append(controller.threads)
    return threads


@pytest.mark.parametrize(
    ("cores", "others", "threads"),
    [(2, 0.0, 2), (2, 0.4, 2), (2, 0.6, 1), (2, 1.0, 1), (2, 2.0, 1), (4, 1.0, 3), (4, 4.0, 1), (64, 40.0, 4)],
)
def test_one_reading_tells_how_many_cores_are_free(cores: int, others: float, threads: int) -> None:
    controller = ThreadController(min(cores, 4))
    controller.heed(CpuReading(WINDOW, cores, others), 1.0)
    assert controller.threads == threads


def test_the_threads_come_back_when_the_machine_is_free() -> None:
    threads = over_time(ThreadController(2), lambda now: 2.0 if now < 5 else 0.0, 10, cores=2)
    assert threads[0] == 1
    assert threads[int(4.9 / WINDOW)] == 1
    assert threads[int(5.6 / WINDOW)] == 2
    assert sum(a != b for a, b in itertools.pairwise(threads)) == 1


def test_what_comes_and_goes_makes_the_threads_change_less_and_less() -> None:
    """A program that uses a core every other second: at first the threads follow it, then they wait."""
    threads = over_time(ThreadController(2), lambda now: 1.0 if int(now) % 2 else 0.0, 120, cores=2)
    changes = [number * WINDOW for number, (a, b) in enumerate(itertools.pairwise(threads)) if a != b]
    assert len(changes) <= 6
    assert all(change < 10 for change in changes)


def test_a_use_between_the_two_bars_changes_nothing() -> None:
    controller = ThreadController(2)
    assert set(over_time(controller, lambda now: 0.35, 10, cores=2)) == {2}
    controller.heed(CpuReading(WINDOW, 2, 1.0), 11.0)
    assert set(over_time(controller, lambda now: 0.35, 10, cores=2)) == {1}


def test_with_one_thread_nothing_is_decided() -> None:
    controller = ThreadController(1)
    assert set(over_time(controller, lambda now: now % 3, 10, cores=1)) == {1}
    for seconds in (0.1, 0.1, 5.0, 5.0, 5.0, 5.0):
        controller.record("unet", 2, seconds, 20.0)
    assert controller.threads == 1


class Machine:
    """Calls in turn on a machine where nobody says what others use. `seconds(threads, now)` is what a call takes."""

    def __init__(self, controller: ThreadController, seconds: Callable[[int, float], float]) -> None:
        self.controller, self.seconds, self.now = controller, seconds, 0.0

    def run(self, until: float) -> list[int]:
        threads = []
        while self.now < until:
            threads.append(self.controller.threads)
            seconds = self.seconds(self.controller.threads, self.now)
            self.now += seconds
            self.controller.record("unet", 2, seconds, self.now)
        return threads


def crowded(threads: int, now: float) -> float:
    """Two cores; from second 1 to 60 somebody unseen is on one of them."""
    unseen = 1 < now < 60
    return (1.0 if unseen else 0.025) if threads == 2 else 0.03


def test_calls_that_are_slow_for_no_visible_reason_get_fewer_threads_and_then_all_again() -> None:
    machine = Machine(ThreadController(2), crowded)
    assert set(machine.run(1.0)) == {2}
    during = machine.run(60.0)
    assert during.count(2) <= 4, "one call tells; all threads are tried again ever more seldom"
    machine.run(60 + 8 * HOLD_SECONDS)
    assert machine.controller.threads == 2
    assert set(machine.run(machine.now + 10)) == {2}


def test_where_fewer_threads_are_no_faster_all_come_back() -> None:
    """A laptop that slows down for its heat is no faster with one thread."""
    machine = Machine(
        ThreadController(2), lambda threads, now: (0.1 if now < 1 else 0.3) * (1 if threads == 2 else 1.8)
    )
    threads = machine.run(LONGEST_HOLD)
    assert threads.count(1) == 3
    assert threads[-1] == 2


def test_a_few_slow_calls_change_nothing() -> None:
    controller = ThreadController(2)
    for number, seconds in enumerate([0.02] * 5 + [0.05, 0.02, 0.06, 0.06, 0.02]):
        controller.record("unet", 2, seconds, float(number))
    assert controller.threads == 2


def test_calls_of_another_kind_are_not_compared() -> None:
    controller = ThreadController(2)
    for number, (key, rows, seconds) in enumerate([("a", 2, 0.02), ("a", 8, 0.3), ("b", 2, 1.0)] * 5):
        controller.record(key, rows, seconds, float(number))
    assert controller.threads == 2


# ------------------------------------------------------------------------------------------------------ readings


def use(samples: list[tuple[float, float, float]], cores: int = 2) -> CpuUse:
    """Of (time, seconds that all programs have used of each core, seconds of this process)."""
    at = iter(samples)
    now: list[tuple[float, float, float]] = []

    def clock() -> float:
        now[:] = [next(at)]
        return now[0][0]

    return CpuUse(clock, lambda: [SimpleNamespace(user=now[0][1], idle=9.0)] * cores, lambda: now[0][2])


def test_what_this_process_uses_is_not_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cpu_use.os, "sched_getaffinity", raising=False)
    reader = use([(0.0, 10.0, 5.0), (0.1, 10.1, 5.1), (1.0, 10.75, 6.0), (2.0, 10.75, 6.1)])
    assert reader.read() is None, "nothing to compare it with"
    assert reader.read() is None, "too soon after the one before"
    assert reader.read() == CpuReading(1.0, 2, 0.5)
    assert reader.read() == CpuReading(1.0, 2, 0.0)


def test_only_cores_that_this_process_may_run_on_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_use.os, "sched_getaffinity", lambda pid: {1, 2}, raising=False)
    reader = use([(0.0, 0.0, 0.0), (1.0, 1.0, 0.0)], cores=4)
    reader.read()
    assert reader.read() == CpuReading(1.0, 2, 2.0)


def test_where_the_system_says_nothing_there_is_no_reading() -> None:
    def fails() -> list[object]:
        raise FileNotFoundError("/proc/stat")

    assert CpuUse(times=fails).read() is None


def test_this_machine_can_be_read() -> None:
    now = [0.0]
    reader = CpuUse(clock=lambda: now[0])
    reader.read()
    now[0] = 1.0
    reading = reader.read()
    assert reading is None or 0 <= reading.others <= reading.cores


# ---------------------------------------------------------------------------------------------------- the engine


class Busy(CpuUse):
    """Other programs use both of two cores."""

    def read(self) -> CpuReading | None:
        return CpuReading(WINDOW, 2, 2.0)


class TwoThreads(OneThread):
    """The CPU with two threads, whatever this machine has."""

    def __init__(self, *settings: str) -> None:
        super().__init__(*settings)
        torch.set_num_threads(2)


def test_beside_busy_programs_a_picture_is_made_with_one_thread_and_an_exact_one_with_all(
    make_engine: EngineFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    idle = make_engine(make_device=TwoThreads)
    monkeypatch.setattr(compute_threads, "CpuUse", Busy)
    busy = make_engine(make_device=TwoThreads)
    for engine, exact, threads in ((idle, True, [2]), (busy, True, [2]), (busy, False, [1])):
        finished = finish(engine, ask(exact=exact))
        assert finished.pictures[0].info["threads"] == threads
        picture = pixels(engine, finished)
        if engine is idle:
            reference = picture
        elif exact:
            assert (picture == reference).all()
        else:
            assert abs(picture - reference).max() <= 1


def test_a_number_that_was_asked_for_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr(compute_threads, "CpuUse", Busy)
    try:
        torch.set_num_threads(2)
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        ComputeThreads.of(OneThread()).settle()
        torch.set_num_threads(2)
        asked = ComputeThreads.of(OneThread())
        torch.set_num_threads(2)
        asked.settle()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
