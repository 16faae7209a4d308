"""Jobs as the owner's board lists them: what each is and takes, how many stand before it, and how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from studio.answered.engine import JobLoad
from studio.answered.events import Queued, Started, Step
from studio.asked.branch import BranchNode
from studio.asked.requests import Request
from studio.engine.allowances import Entry, Load
from studio.engine.mailbox import Mailbox


class ListedJob(Protocol):
    """What is read of a job (`studio.engine.jobs`)."""

    id: str
    origin: str
    request: Request
    node: BranchNode | None
    mailbox: Mailbox

    @property
    def state(self) -> str: ...

    @property
    def load(self) -> Load: ...

    def parts(self) -> Sequence[ListedJob]: ...


def job_load(job: ListedJob, entry: Entry) -> JobLoad:
    """A job that waits or runs, by its entry in the account. Nothing of its words or pictures is in it."""
    queued = job.mailbox.get(Queued) if job.state == "queued" else None
    done, total = _evaluations(job)
    return JobLoad(
        job_id=job.id,
        owner=entry.owner,
        group=entry.allowance.group if entry.allowance else "",
        state=job.state,
        origin=job.origin,
        images=entry.load.images,
        steps=entry.load.steps,
        pixels=entry.load.pixels,
        kind=_kind(job),
        checkpoint=job.request.checkpoint,
        ahead=queued.ahead if isinstance(queued, Queued) else None,
        done=done,
        total=total,
    )


def _kind(job: ListedJob) -> str:
    if job.parts():
        return "compare"
    return "branch" if job.node is not None else job.request.kind


def _evaluations(job: ListedJob) -> tuple[int, int]:
    """Those done, and all: of all its images, or of all cells of a comparison. What has not started counts with the
    steps that it asks for."""
    done = total = 0
    for part in job.parts() or (job,):
        started = part.mailbox.get(Started)
        images = part.request.num_images_per_prompt
        total += started.total * images if isinstance(started, Started) else part.load.steps
        done += sum(event.index + 1 for event in part.mailbox.events() if isinstance(event, Step))
    return done, total
