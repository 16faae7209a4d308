"""Live mode's runs: a slider that was let go of has the newest run of its tab take the place of the one before.

Two ways lead here, and the second finds what the first has begun. The page says at once which slider moved (POST
/again), which needs neither the form nor its queue; then the form comes whole, as for every run, and has the last word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace

from studio.answered.engine import Engine, Refused, UnknownJob
from studio.asked.requests import InvalidRequest, Problem, Request, TextToImage, shown


def take_place(engine: Engine, request: Request, *, owner: str, origin: str) -> str:
    """The job of this request: the tab's newest if it asks the very same (and was not stopped, and did not fail), else
    a new one, for which those still under way are stopped. Raises InvalidRequest or Refused as `Engine.submit`."""
    jobs = [job for job in engine.jobs(owner=owner) if job.origin == origin]
    if jobs and _asks_the_same(request, jobs[0].request) and jobs[0].state in ("queued", "running", "finished"):
        return jobs[0].job_id
    for job in jobs:
        if job.state in ("queued", "running"):
            engine.cancel(job.job_id, owner=owner)
    return engine.submit(request, owner=owner, origin=origin)


def _asks_the_same(request: Request, running: Request) -> bool:
    """Whether a request asks for what is running; what it leaves open is filled in there."""
    if type(request) is not type(running):
        return False
    left_open = {name: getattr(running, name) for name, row in request.rows().items() if row.suits}
    return replace(request, **{n: v for n, v in left_open.items() if getattr(request, n) is None}) == running


def again(engine: Engine, job_id: str, changed: Mapping[str, str], *, owner: str) -> str:
    """The id of the run that takes the place of this one, with the numbers in `changed` (field => as it is written).

    Raises UnknownJob; InvalidRequest for what is no field with a number, or out of its range; Refused for a run that
    cannot be told again from what is kept of it: random noise, or pictures to start from.
    """
    job = next((job for job in engine.jobs(owner=owner) if job.job_id == job_id), None)
    if job is None:
        raise UnknownJob
    if not isinstance(job.request, TextToImage) or job.request.controls or job.request.seed is None or job.surface:
        raise Refused("Only a run from words and a given seed is begun again by its sliders.")
    values = {field.name: getattr(job.request, field.name) for field in fields(job.request)}
    values |= {name: _number(name, text) for name, text in changed.items()}
    return take_place(engine, TextToImage.parse(values), owner=owner, origin=job.origin)


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidRequest(Problem(name, shown(text), "a number")) from None
