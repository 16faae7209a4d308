"""Live mode: when a slider is released, a new run replaces the newest run of its tab.

The page asks twice, and the second request finds the run that the first has begun. First it says which slider has moved
(POST /again), without the form or its queue. Then the whole form follows, as for every run, and decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace

from studio.answered.engine import Engine, Refused, UnknownJob
from studio.asked.fields import TextToImage
from studio.asked.messages import Message
from studio.asked.orders import SubmitRun
from studio.asked.problems import InvalidRequest, Problem, quoted_value
from studio.asked.requests import Request


async def take_place(engine: Engine, request: Request, *, owner: str, origin: str) -> str:
    """The job of this request: the tab's newest if it asks for the same and was neither stopped nor failed; else a new
    one, and the tab's running jobs are stopped. Raises InvalidRequest or Refused as `Engine.submit`."""
    jobs = [job for job in await engine.jobs(owner=owner) if job.origin == origin]
    if jobs and _asks_the_same(request, jobs[0].request) and jobs[0].state in ("queued", "running", "finished"):
        return jobs[0].job_id
    for job in jobs:
        if job.state in ("queued", "running"):
            await engine.cancel(job.job_id, owner=owner)
    return await engine.submit(SubmitRun(request=request, live=True), owner=owner, origin=origin)


def _asks_the_same(request: Request, running: Request) -> bool:
    """Whether a request asks for what already runs. Fields that it leaves open may have any value there."""
    if type(request) is not type(running):
        return False
    left_open = {name: getattr(running, name) for name, row in request.rows().items() if row.suits}
    return replace(request, **{n: v for n, v in left_open.items() if getattr(request, n) is None}) == running


async def again(engine: Engine, job_id: str, changes: Mapping[str, str], *, owner: str) -> str:
    """The id of a run that replaces this one, with the numbers in `changes` (field => its text).

    Raises UnknownJob; InvalidRequest for a field that takes no number, or a number out of its range; Refused for a run
    that cannot be repeated from its record, since its noise was random or it started from pictures.
    """
    job = next((job for job in await engine.jobs(owner=owner) if job.job_id == job_id), None)
    if job is None:
        raise UnknownJob
    if not isinstance(job.request, TextToImage) or job.request.controls or job.request.seed is None or job.comparison:
        raise Refused(Message("Only a run from words and a given seed is begun again by its sliders."))
    values = {field.name: getattr(job.request, field.name) for field in fields(job.request)}
    values |= {name: _number(name, text) for name, text in changes.items()}
    return await take_place(engine, TextToImage.parse(values), owner=owner, origin=job.origin)


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidRequest(Problem(name, quoted_value(text), Message("a number"))) from None
