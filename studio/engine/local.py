"""The engine of this process, as the page holds it: `studio.answered.engine.Engine` over a `DiffusionEngine`."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from studio.answered.engine import EngineStatus, Events
from studio.answered.events import JobSummary
from studio.answered.models import Checkpoint
from studio.asked import orders
from studio.asked.problems import InvalidRequest
from studio.asked.question import Question
from studio.asked.upscale import Upscale
from studio.engine.engine import DiffusionEngine


class LocalEngine:
    """Implements `studio.answered.engine.Engine`. What decodes pictures or asks the disk gets a thread meanwhile."""

    def __init__(self, engine: DiffusionEngine) -> None:
        self.engine = engine

    @property
    def id(self) -> str:
        """See `Engine.id`."""
        return self.engine.name

    def start(self) -> None:
        """See `Engine.start`."""
        self.engine.start()

    def close(self) -> None:
        """See `Engine.close`."""
        self.engine.close()

    def status(self) -> EngineStatus:
        """See `Engine.status`."""
        return self.engine.status()

    def catalog(self) -> tuple[Checkpoint, ...]:
        """See `Engine.catalog`."""
        return self.engine.catalog()

    async def submit(self, job: orders.Submission, *, owner: str, origin: str = "api") -> str:
        """See `Engine.submit`."""
        take = partial(self.engine.take, job, owner=owner, origin=origin)
        match job:
            case orders.SubmitRun():
                _check(job.request.problems())
                if not job.request.file_bytes and not self.engine.keeps_jobs:
                    return take()
            case orders.SubmitComparison():
                _check(job.comparison.base.problems())
        return await asyncio.to_thread(take)

    def watch(self, job_id: str, *, owner: str) -> Events:
        """See `Engine.watch`."""
        return self.engine.watch_any(job_id, owner=owner)

    async def cancel(self, job_id: str, *, owner: str) -> bool:
        """See `Engine.cancel`."""
        return self.engine.cancel(job_id, owner=owner)

    async def prioritize(self, job_id: str, cell: int, *, owner: str) -> bool:
        """See `Engine.prioritize`."""
        return self.engine.prioritize(job_id, cell, owner=owner)

    async def jobs(self, *, owner: str) -> tuple[JobSummary, ...]:
        """See `Engine.jobs`."""
        return await asyncio.to_thread(self.engine.jobs, owner=owner)

    async def record(self, job_id: str, part: orders.RecordPart = orders.WHOLE_RECORD, *, owner: str) -> bytes:
        """See `Engine.record`."""
        return await asyncio.to_thread(
            self.engine.record,
            job_id,
            owner=owner,
            image=part.image,
            since=part.since,
            until=part.until,
            lean=part.lean,
        )

    async def ask(self, question: Any, *, owner: str = "") -> Any:
        """See `Engine.ask`."""
        match question:
            case Question():
                return await self.engine.inquire(question, owner=owner)
            case Upscale():
                return await self.engine.upscale(question, owner=owner)
            case orders.Tokens():
                return await self.engine.ask(question)
            case orders.WildcardNames():
                return await asyncio.to_thread(self.engine.wildcard_names) if question.allowed else ()
            case orders.Speed():
                return self.engine.pace(question.checkpoint, question.width, question.height)
            case orders.Cells():
                return self.engine.comparison(question.job_id, owner=owner)
            case orders.BranchTree():
                return self.engine.branches(question.job_id, owner=owner)
            case orders.Work():
                return self.engine.work()
            case orders.ModelList():
                return await asyncio.to_thread(self.engine.models.now, refresh=question.refresh)
            case orders.ModelPicture():
                return await asyncio.to_thread(self.engine.models.picture, question.model_id)
            case orders.RepositoryFiles():
                return await asyncio.to_thread(
                    self.engine.models.repository,
                    question.repository,
                    revision=question.revision,
                    token=question.token,
                )
        raise TypeError(f"{type(question).__name__} is no question to an engine")

    async def order(self, order: orders.ModelOrder) -> None:
        """See `Engine.order`."""
        if isinstance(order, orders.PrepareCheckpoint):
            self.engine.prepare(order.checkpoint)
        else:
            await asyncio.to_thread(self.engine.models.order, order)

    def visitor(self, owner: str, *, here: bool) -> None:
        """See `Engine.visitor`."""
        self.engine.visitor(owner, here=here)


def _check(problems: list[Any]) -> None:
    """A request that came as bytes was not checked when it was made."""
    if problems:
        raise InvalidRequest(*problems)
