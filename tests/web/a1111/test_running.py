"""How far a run is, as its events tell it."""

from __future__ import annotations

from studio.answered.events import Loading, Queued, Started, Step
from studio.web.a1111.running import Run


def step(image: int, index: int, images_done: int = 0) -> Step:
    return Step(
        job_id="a", image=image, index=index, total=10, timestep=500.0, sigma=1.0, seconds_per_step=0.1,
        seconds_left=1.0, images_done=images_done,
    )  # fmt: skip


def test_images_that_advance_side_by_side_are_counted_together() -> None:
    run = Run("a", "txt2img", images=4)
    assert run.share == 0
    for image in range(4):
        run.see(step(image, 0))
    assert run.share == 0.1
    run.see(step(3, 9, images_done=1))
    assert run.share == (3 + 10) / 40
    run.see(step(0, 1, images_done=2))  # others ended unseen
    assert run.share == 0.5


def test_what_it_waits_for_is_said_until_it_begins() -> None:
    run = Run("a", "txt2img", images=1)
    run.see(Queued(job_id="a", ahead=2))
    assert run.text == "In queue: 2 before this one"
    run.see(Loading(job_id="a", checkpoint="x", message="Loading x"))
    assert run.text == "Loading x"
    started = Started(
        job_id="a", seeds=(1,), width=64, height=64, total=10, prompt_tokens=1, negative_prompt_tokens=0, chunks=1,
        notes=("a note",),
    )  # fmt: skip
    run.see(started)
    assert (run.text, run.total, run.notes) == ("", 10, ("a note",))
