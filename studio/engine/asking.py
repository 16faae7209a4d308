"""Short questions to a running engine: how a text is tokenized, and what the noise viewer asks beside a run."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from PIL import Image

from studio.answered.engine import Answer, Refused, TokensAnswer, UnknownJob
from studio.asked.branch import Branch
from studio.asked.messages import Message
from studio.asked.orders import Tokens
from studio.asked.problems import InvalidRequest, Problem, clean_text, quoted_value
from studio.asked.prompt import parse_prompt
from studio.asked.question import Question
from studio.asked.questions import LookAgain, NoisedStart, Plane, ScheduleCurves, StepCost
from studio.asked.rows import MAX_PROMPT_CHARACTERS
from studio.asked.template import NoWildcards, resolve_template, template_notices
from studio.checkpoints.catalog import Catalog
from studio.checkpoints.wildcards import NOT_FOR_GUESTS, WildcardFiles
from studio.engine.comparisons import ComparisonJob
from studio.engine.forks import Fork, fork
from studio.engine.jobs import Job, JobBook
from studio.engine.viewer.inquiries import Inquiries, Inquiry
from studio.engine.viewer.recorder import Recorder
from studio.picture import decode
from studio.picture.framing import resize

if TYPE_CHECKING:
    from studio.diffusion.components import Components

NOT_RECORDED = Message("Nothing was recorded of this image, or it has been dropped meanwhile.")


class Asking:
    """Answers on the caller's event loop, and leaves to the engine's thread what needs the device."""

    def __init__(
        self,
        catalog: Catalog,
        book: JobBook,
        recorder: Recorder,
        inquiries: Inquiries,
        *,
        components: Callable[[], Components | None],
        tokenizer_lock: threading.Lock,
        wake: Callable[[], None],
    ) -> None:
        """`components`: what is on the device now; `wake`: a question waits for the engine's thread."""
        self._catalog = catalog
        self._wildcards = WildcardFiles(catalog.models_dirs)
        self._book = book
        self._recorder = recorder
        self._inquiries = inquiries
        self._components = components
        self._tokenizer_lock = tokenizer_lock
        self._wake = wake

    async def tokens(self, question: Tokens) -> TokensAnswer:
        """Answered beside the ticks: a tokenizer needs no device. Raises InvalidRequest or Refused."""
        text = question.text
        if not isinstance(text, str) or text != clean_text(text) or len(text) > MAX_PROMPT_CHARACTERS:
            expectation = Message(
                "text of at most {most} characters, without control characters",
                most=f"{MAX_PROMPT_CHARACTERS:,}",
            )
            raise InvalidRequest(Problem("text", quoted_value(text), expectation))
        self._check(question.checkpoint)
        components = self._components()
        if components is None or components.name != question.checkpoint:
            raise Refused(Message("Tokens are counted once the checkpoint is loaded."))
        return await asyncio.to_thread(self._tokens, components, question)

    def _tokens(self, components: Components, question: Tokens) -> TokensAnswer:
        from studio.diffusion.tokens import tokenize  # torch: there already, since components are

        wildcards = self._wildcards if question.wildcards else NoWildcards(NOT_FOR_GUESTS)
        resolved = resolve_template(question.text, 0, wildcards, field="text")
        with self._tokenizer_lock:
            prompt = parse_prompt(resolved.text, negative=question.negative, emphasis=question.emphasis)
            answer = tokenize(components, prompt, question.models)
        notices = (*template_notices(question.text), *resolved.notices, *answer.notices)
        places = answer.places if resolved.text == question.text else ()
        return TokensAnswer(**{**dataclasses.asdict(answer), "notices": notices, "places": places})

    def wildcard_names(self) -> tuple[str, ...]:
        """The wildcard files that a prompt may name."""
        return self._wildcards.names()

    async def inquire(self, question: Question, *, owner: str) -> Answer:
        """An uploaded picture is decoded on a thread of its own. Raises InvalidRequest, UnknownJob or Refused."""
        self._check(question.checkpoint)
        picture = await asyncio.to_thread(self._picture_of, question) if question.needs_image else None
        looked_at = self._looked_at(question, owner) if isinstance(question, LookAgain) else None
        if isinstance(question, Plane):
            return await asyncio.to_thread(self._plane, question)
        components = self._components()
        if components is None or components.name != question.checkpoint:
            sentence = Message("This can be seen once the checkpoint is loaded. Make a picture with it first.")
            raise Refused(sentence, retry_after=1)
        if isinstance(question, ScheduleCurves):
            return await asyncio.to_thread(self._schedule, question, components)
        if isinstance(question, StepCost):
            return await asyncio.to_thread(self._cost, components)
        inquiry = Inquiry(question, owner, picture, looked_at)
        self._inquiries.add(inquiry)
        self._wake()
        answer = await asyncio.wrap_future(inquiry.future)
        assert isinstance(answer, Answer)
        return answer

    def image_of(self, job_id: str, owner: str, image: int) -> tuple[Job, int]:
        """The job that made an image, and which of its images: the image of a comparison is a job of its own."""
        job = self._book.get(job_id, owner=owner)
        if not isinstance(job, ComparisonJob):
            return job, image
        cell = job.cell(image)
        if cell is None:
            raise UnknownJob(Message("There is no such cell."))
        return cell, 0

    def _check(self, checkpoint: str) -> None:
        if checkpoint not in self._catalog.checkpoints():
            raise InvalidRequest(Problem("checkpoint", quoted_value(checkpoint), Message("an installed checkpoint")))

    def _looked_at(self, question: LookAgain, owner: str) -> Fork:
        """The evaluation that a question is about, in the run in which it was made: a branch shares its first ones with
        the run that it left. Raises UnknownJob or InvalidRequest."""
        job, image = self.image_of(question.job, owner, question.which)
        while job.node is not None and job.node.parent is not None and question.evaluation < job.node.evaluation:
            job, image = self.image_of(job.node.parent, owner, job.node.image)
        past = self._recorder.past(job.id, image)
        if past is None:
            raise UnknownJob(NOT_RECORDED)
        past_run = fork(job.id, image, Branch(evaluation=question.evaluation), *past)
        if past_run.recipe.resolved.request.checkpoint != question.checkpoint:
            expectation = Message("the run's own, {checkpoint}", checkpoint=past_run.recipe.resolved.request.checkpoint)
            raise InvalidRequest(Problem("checkpoint", quoted_value(question.checkpoint), expectation))
        return past_run

    def _picture_of(self, question: Question) -> Image.Image:
        picture = decode.read_picture(question.image)
        if not isinstance(question, NoisedStart):
            return picture
        checkpoint = self._catalog.checkpoints()[question.checkpoint].checkpoint
        native = checkpoint.native_width, checkpoint.native_height
        return resize(picture, question.resize_mode, question.width, question.height, native)

    def _cost(self, components: Components) -> Answer:
        from studio.engine.viewer.answers import cost_answer  # torch: there already, since components are

        return cost_answer(components)

    def _plane(self, question: Plane) -> Answer:
        from studio.engine.viewer.plane_answer import plane_answer  # torch, which some engines read late

        return plane_answer(question)

    def _schedule(self, question: ScheduleCurves, components: Components) -> Answer:
        from studio.engine.viewer.answers import schedule_answer  # torch: there already, since components are

        try:
            return schedule_answer(question, components)
        except ValueError as error:  # a scheduler that cannot run what this checkpoint predicts
            raise Refused(str(error)) from None
