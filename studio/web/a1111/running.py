"""Runs of this API: begun, watched until they end, and looked at meanwhile by the progress of their visitor."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from studio.answered.engine import Engine, UnknownJob, run_events
from studio.answered.events import TERMINAL, Event, Failed, Finished, Loading, Queued, Started, Step, Stopped
from studio.asked.orders import SubmitRun
from studio.asked.requests import Request

Ending = Finished | Stopped | Failed


@dataclass
class Run:
    """One call on its way, as far as its events have told."""

    job_id: str
    kind: str
    images: int
    start_time: datetime = field(default_factory=lambda: datetime.now(UTC))
    step: Step | None = None
    evaluations: dict[int, int] = field(default_factory=dict)  # done so far, by image
    preview: bytes = b""  # the newest, a JPEG
    text: str = ""  # what it waits for
    notes: tuple[str, ...] = ()
    total: int = 0  # U-Net evaluations of one image
    is_interrupted: bool = False  # and still on its way to its end

    def see(self, event: Event) -> None:
        """Take in what has happened."""
        match event:
            case Queued():
                self.text = f"In queue: {event.ahead} before this one"
            case Loading():
                self.text = event.message
            case Started():
                self.text, self.notes, self.total = "", event.notes, event.total
            case Step():
                self.step = event
                self.evaluations[event.image] = max(event.index + 1, self.evaluations.get(event.image, 0))
                self.preview = event.preview.jpeg if event.preview is not None else self.preview
            case Finished():
                self.notes = (*self.notes, *event.notes)

    @property
    def share(self) -> float:
        """How much of it is done, 0 to 1."""
        if self.step is None:
            return 0.0
        by_steps = sum(self.evaluations.values()) / (self.step.total * self.images)  # images advance side by side
        return min(1.0, max(by_steps, self.step.images_done / self.images))


class Runs:
    """The runs that visitors' calls wait for. Touched by the event loop alone."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._all: dict[str, list[Run]] = {}

    def of(self, owner: str) -> list[Run]:
        """This visitor's, the oldest first."""
        return self._all.get(owner, [])

    async def make(
        self, request: Request, *, owner: str, kind: str, caller_left: Callable[[], Awaitable[None]]
    ) -> tuple[Ending, Run] | None:
        """Run it to its end; None where the caller has left (`caller_left` returns), which stops it. Raises as
        `Engine.submit`."""
        job_id = await self._engine.submit(SubmitRun(request=request, ephemeral=True), owner=owner)
        run = Run(job_id, kind, request.num_images_per_prompt)
        self._all.setdefault(owner, []).append(run)
        watching = asyncio.ensure_future(self._ending(run, owner))
        leaving = asyncio.ensure_future(caller_left())
        try:
            await asyncio.wait({watching, leaving}, return_when=asyncio.FIRST_COMPLETED)
            return (watching.result(), run) if watching.done() else None
        finally:
            leaving.cancel()
            over = watching.done()
            watching.cancel()
            self._all[owner].remove(run)
            if not self._all[owner]:
                del self._all[owner]
            if not over:
                with suppress(UnknownJob):
                    await self._engine.cancel(job_id, owner=owner)

    async def _ending(self, run: Run, owner: str) -> Ending:
        async for event in run_events(self._engine, run.job_id, owner=owner):
            run.see(event)
            if isinstance(event, TERMINAL):
                return event
        raise UnknownJob("The job has ended without an end.")

    async def interrupt(self, owner: str) -> None:
        """Stop every run that this visitor's calls wait for; the calls answer with what there is."""
        for run in list(self.of(owner)):
            run.is_interrupted = True
            with suppress(UnknownJob):
                await self._engine.cancel(run.job_id, owner=owner)
