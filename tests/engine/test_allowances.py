"""Three quotas hold at once: of a visitor, of their group, of the machine; and device time is of the last hour."""

from __future__ import annotations

import pytest

from studio.answered.engine import Refused
from studio.asked.fields import TextToImage
from studio.asked.orders import Allowance, Quota
from studio.engine.allowances import HOUR, load_of
from studio.engine.jobs import JobBook, Limits


class Clock:
    now = 10_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def book(clock: Clock) -> JobBook:
    return JobBook(Limits(per_owner=100, waiting_or_running=100), clock)


def request(**fields: object) -> TextToImage:
    return TextToImage(**{"prompt": "x", "width": 512, "height": 512, "num_inference_steps": 20} | fields)  # type: ignore[arg-type]


def add(book: JobBook, owner: str, allowance: Allowance | None, **fields: object) -> str:
    return book.add(request(**fields), owner=owner, origin="api", allowance=allowance).id


@pytest.mark.parametrize("scope", ["visitor", "together", "machine"])
@pytest.mark.parametrize(
    ("quota", "fits", "too_much", "says"),
    [
        (Quota(jobs=2), {}, {}, "2 jobs"),
        (Quota(images=8), {"num_images_per_prompt": 4}, {"num_images_per_prompt": 4}, "8 images"),
        (Quota(steps=100), {"num_inference_steps": 50}, {"num_inference_steps": 50}, "100 steps"),
        (Quota(pixels=2**20), {"width": 512, "height": 1024}, {"width": 512, "height": 1024}, "1.0 megapixels"),
        (Quota(pixels=2**20), {"num_images_per_prompt": 2}, {"hires_scale": 2.0}, "1.0 megapixels"),
    ],
)
def test_each_quota_holds_in_each_scope(
    book: JobBook, scope: str, quota: Quota, fits: dict[str, object], too_much: dict[str, object], says: str
) -> None:
    owners = {"visitor": ["ann"] * 3, "together": ["ann", "bob", "cy"], "machine": ["ann", "bob", "cy"]}[scope]
    groups = ["a", "b", "c"] if scope == "machine" else ["a"] * 3
    allowances = [Allowance(group=group, **{scope: quota}) for group in groups]  # type: ignore[arg-type]
    for owner, allowance in list(zip(owners, allowances))[:2]:
        add(book, owner, allowance, **fits)
    with pytest.raises(Refused, match=says) as refused:
        add(book, owners[2], allowances[2], **too_much)
    assert "2 are before you" in str(refused.value) or "1 is before you" in str(refused.value)
    add(book, "owner", None, num_images_per_prompt=16)  # whoever has no allowance is not counted and not refused


def test_who_takes_their_jobs_back_may_ask_again(book: JobBook) -> None:
    allowance = Allowance(group="a", visitor=Quota(jobs=1))
    first = add(book, "ann", allowance)
    with pytest.raises(Refused):
        add(book, "ann", allowance)
    book.get(first, owner="ann").stop()
    add(book, "ann", allowance)


@pytest.mark.parametrize("scope", ["visitor", "together", "machine"])
def test_device_time_is_of_the_last_hour(book: JobBook, clock: Clock, scope: str) -> None:
    allowance = Allowance(group="a", **{scope: Quota(device_seconds=60.0)})  # type: ignore[arg-type]
    other = "ann" if scope == "visitor" else "bob"
    add(book, "ann", allowance)
    add(book, "owner", None)
    book.charge({"ann": 61.0, "owner": 1000.0})
    with pytest.raises(Refused, match=r"1 minutes of this computer's time within an hour.*about 61 minutes"):
        add(book, other, allowance)
    assert book.work().device_seconds == {"ann": 61.0, "owner": 1000.0}
    clock.now += HOUR + 60
    add(book, other, allowance)


def test_two_hundred_visitors_of_one_group_gain_nothing(book: JobBook) -> None:
    allowance = Allowance(group="a", visitor=Quota(jobs=4), together=Quota(jobs=40))
    taken = 0
    for k in range(200):
        try:
            add(book, f"guest {k}", allowance)
            taken += 1
        except Refused:
            continue
    assert taken == 40
    add(book, "owner", None)


def test_a_full_queue_says_how_many_are_before_one_and_how_long(clock: Clock) -> None:
    book = JobBook(Limits(waiting_or_running=3), clock)
    first = add(book, "ann", None)
    book.charge({"ann": 90.0})
    book.get(first, owner="ann").stop()
    book.sweep()
    for k in range(3):
        add(book, f"guest {k}", None)
    with pytest.raises(Refused) as refused:
        add(book, "ann", None)
    assert str(refused.value) == "The queue is full: 3 are before you. Try again in about 5 minutes."


def test_the_account_is_bounded(book: JobBook, clock: Clock) -> None:
    for k in range(500):
        clock.now += 30
        job_id = add(book, f"guest {k}", Allowance(group="a"))
        book.charge({f"guest {k}": 1.0})
        book.get(job_id, owner=f"guest {k}").stop()
        book.sweep()
    assert len(book.work().device_seconds) <= 122
    assert book.work().jobs == ()
    assert len(book._allowances._bookings) <= 62


def test_the_load_of_a_second_pass_is_that_of_the_larger_picture() -> None:
    load = load_of(request(hires_scale=2.0, hires_steps=5, num_images_per_prompt=2), None)
    assert (load.images, load.steps, load.pixels) == (2, 50, 2 * 1024 * 1024)
