"""What the owner's board is told of a job: what it is, how many stand before it, how far it is, and no word of it."""

from __future__ import annotations

from dataclasses import replace

from studio.answered.engine import JobLoad
from studio.answered.events import Queued, Started, Step
from studio.asked.axes import Axis
from studio.asked.branch import BranchNode
from studio.asked.compare import Comparison
from studio.asked.fields import ImageToImage, TextToImage
from studio.engine.comparisons import ComparisonJob
from studio.engine.jobs import Job, JobBook

REQUEST = TextToImage(
    prompt="a secret", checkpoint="c", width=64, height=64, num_inference_steps=10, num_images_per_prompt=2
)
STARTED = Started(
    job_id="", seeds=(1, 2), width=64, height=64, total=12, prompt_tokens=1, negative_prompt_tokens=0, chunks=1
)


def step(image: int, index: int) -> Step:
    return Step(
        job_id="", image=image, index=index, total=12, timestep=1.0, sigma=1.0, seconds_per_step=1.0, seconds_left=1.0,
        images_done=0,
    )  # fmt: skip


def loads(*jobs: Job) -> tuple[JobLoad, ...]:
    book = JobBook()
    for job in jobs:
        book.take(job)
    return book.work().jobs


def new_job(request: TextToImage | ImageToImage = REQUEST) -> Job:
    return Job(request, owner="ann", origin="api", clock=lambda: 0.0)


def test_a_job_that_waits_has_its_place_and_the_steps_that_it_asks_for() -> None:
    job = new_job()
    [before] = loads(job)
    assert (before.ahead, before.done, before.total) == (None, 0, 20), "nobody has said its place yet"
    job.publish(Queued(job_id=job.id, ahead=3))
    [load] = loads(job)
    assert (load.state, load.kind, load.checkpoint, load.ahead) == ("queued", "text_to_image", "c", 3)
    assert "secret" not in repr(load)


def test_a_job_that_runs_counts_the_evaluations_of_all_its_images() -> None:
    job = new_job()
    job.publish(Queued(job_id=job.id, ahead=0))
    job.publish(STARTED)
    job.publish(step(0, 11))
    job.publish(step(1, 3))
    [load] = loads(job)
    assert (load.state, load.ahead, load.done, load.total) == ("running", None, 16, 24)


def test_a_comparison_counts_the_evaluations_of_all_its_cells() -> None:
    comparison = Comparison(
        base=replace(REQUEST, num_images_per_prompt=1), x=Axis(field="guidance_scale", values=(3.0, 7.0))
    )
    job = ComparisonJob(comparison, owner="ann", origin="compare", clock=lambda: 0.0)
    cell = job.cell(1)
    assert cell is not None
    cell.publish(replace(STARTED, seeds=(1,)))
    cell.publish(step(0, 4))
    [load] = loads(job)
    assert (load.state, load.kind, load.done, load.total) == ("running", "compare", 5, 12 + 10)


def test_the_kind_is_that_of_the_request_but_for_a_branch() -> None:
    job = new_job(ImageToImage(prompt="x", image=b"\x89PNG\r\n\x1a\n"))
    [load] = loads(job)
    assert load.kind == "image_to_image"
    job.node = BranchNode(job_id=job.id, state="queued", prompt="x", guidance_scale=5.0)
    [load] = loads(job)
    assert load.kind == "branch"
