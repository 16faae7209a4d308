"""The jobs that wait and run, as the owner's board lists them, and the end of one of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from studio.answered.engine import Engine, JobLoad, UnknownJob, WorkNow
from studio.answered.models import Checkpoint
from studio.asked.orders import Work
from studio.ui.visible import visible
from studio.web.access import digest
from studio.web.programs import Program

MOST_ROWS = 50


def guest_name(person: str) -> str:
    """What the board calls a guest: not the id, with which their browser shows who it is."""
    return digest(person)[:6]


def job_rows(work: WorkNow, viewer: str, programs: Iterable[Program], catalog: Iterable[Checkpoint]) -> dict[str, Any]:
    """The first `MOST_ROWS` jobs: those that run, and then those that wait, in the order in which they come. `more`:
    how many others there are. `whose`: "you" (the `viewer`), "program" or "guest", with its `name`. Nothing of a job's
    words or pictures is in it."""
    labels = {one.name: one.label for one in catalog}
    names = {one.person: one.name for one in programs}
    jobs = sorted(work.jobs, key=lambda job: (job.state != "running", job.ahead or 0))
    rows = [
        {
            **_whose(job.owner, viewer, names),
            "id": job.job_id,
            "kind": job.kind,
            "checkpoint": visible(labels.get(job.checkpoint, job.checkpoint)),
            "state": job.state,
            "place": _place(job),
            "done": job.done,
            "total": job.total,
        }
        for job in jobs[:MOST_ROWS]
    ]
    return {"rows": rows, "more": len(jobs) - len(rows)}


def _whose(person: str, viewer: str, program_names: dict[str, str]) -> dict[str, str]:
    if person == viewer:
        return {"whose": "you", "name": ""}
    if person in program_names:
        return {"whose": "program", "name": program_names[person]}
    return {"whose": "guest", "name": guest_name(person)}


def _place(job: JobLoad) -> int | None:
    """1 is the next that runs; None for one that runs, or whose place is not known yet."""
    return job.ahead + 1 if job.ahead is not None and job.state == "queued" else None


async def stop_job(engine: Engine, job_id: object) -> None:
    """Stop one job, whoever's it is, and no other. Raises UnknownJob for what neither waits nor runs."""
    work: WorkNow = await engine.ask(Work())
    for job in work.jobs:
        if job.job_id == job_id:
            await engine.cancel(job.job_id, owner=job.owner)
            return
    raise UnknownJob
