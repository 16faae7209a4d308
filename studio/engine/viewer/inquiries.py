"""Questions that wait for the engine's thread: taken in from any thread, worked on in slices between ticks.

No torch. An answer is a generator that yields after each slice of work (one model call, one tile of a picture that is
enlarged) and returns the answer, so a question never holds up the pictures of others for longer than one call.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from PIL import Image

from studio.answered.engine import Answer, Refused
from studio.asked.messages import Message
from studio.asked.question import Question
from studio.asked.upscale import Upscale
from studio.checkpoints.catalog import Entry
from studio.engine.forks import Fork

if TYPE_CHECKING:
    import torch

    from studio.diffusion.unet_call import UnetCall

logger = logging.getLogger(__name__)

WAITING = 32
WAITING_OF_ONE = 4

Result: TypeAlias = Answer | Image.Image  # an enlarged picture is written to its file on another thread
Slices = Generator[None, None, Result]
Denoise = Callable[[Sequence["UnetCall"]], "torch.Tensor"]  # the calls of several lanes as one: a row per row of them


@dataclass(eq=False)
class Inquiry:
    """One question with its picture decoded or its evaluation found, and the promise of an answer."""

    question: Question | Upscale
    owner: str
    picture: Image.Image | None = None
    fork: Fork | None = None  # what is asked about, for a question about a recorded evaluation
    upscaler: Entry | None = None  # the file that enlarges the picture, for an `Upscale`
    future: Future[Result] = field(default_factory=Future)
    slices: Slices | None = None


class Inquiries:
    """The questions that wait or are worked on, served in turn."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[Inquiry] = deque()
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, inquiry: Inquiry) -> None:
        """Take a question in. Raises Refused when too many wait."""
        with self._lock:
            mine = sum(i.owner == inquiry.owner for i in self._waiting)
            if self._is_closed or mine >= WAITING_OF_ONE or len(self._waiting) >= WAITING:
                sentence = Message("The studio is still busy with earlier questions. Try again in a moment.")
                raise Refused(sentence, kind="limit" if mine >= WAITING_OF_ONE else "full", retry_after=1)
            self._waiting.append(inquiry)

    def work(self, begin: Callable[[Inquiry], Slices], refusal: Callable[[Exception], Exception]) -> bool:
        """One slice of the question whose turn it is; `begin` makes its generator. False when none waits.

        `refusal` turns an error into what the visitor is told; InvalidRequest and Refused go through as they are.
        """
        with self._lock:
            if not self._waiting:
                return False
            inquiry = self._waiting.popleft()
        if inquiry.future.cancelled():
            return True
        try:
            if inquiry.slices is None:
                inquiry.slices = begin(inquiry)
            next(inquiry.slices)
        except StopIteration as done:
            _settle(inquiry.future, answer=done.value)
        except Exception as error:
            _settle(inquiry.future, error=refusal(error))
        else:
            with self._lock:
                self._waiting.append(inquiry)
        return True

    def close(self) -> None:
        """Refuse everything that waits, and everything that comes."""
        with self._lock:
            self._is_closed = True
            waiting, self._waiting = list(self._waiting), deque()
        for inquiry in waiting:
            _settle(inquiry.future, error=Refused(Message("The studio is closing."), kind="unavailable"))


def _settle(future: Future[Result], *, answer: Result | None = None, error: Exception | None = None) -> None:
    if not future.set_running_or_notify_cancel():  # whoever asked has gone
        return
    if answer is not None:
        future.set_result(answer)
    else:
        future.set_exception(error or Refused(Message("There is no answer.")))
