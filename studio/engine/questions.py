"""The noise viewer's questions, and pictures to be enlarged, one slice of work at a time between the ticks."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch

from studio.answered.engine import Refused
from studio.asked.messages import Message
from studio.asked.questions import LookAgain
from studio.asked.upscale import Upscale
from studio.engine import failures, upscale_work
from studio.engine.executor import Executor
from studio.engine.viewer import answers, looking
from studio.engine.viewer.inquiries import Inquiries, Inquiry, Slices


@torch.inference_mode()
def answer_one_slice(inquiries: Inquiries, executor: Executor, tokenizer_lock: AbstractContextManager[Any]) -> bool:
    """Work on the question whose turn it is. False when there was none."""

    def begin(inquiry: Inquiry) -> Slices:
        if isinstance(inquiry.question, Upscale):
            return upscale_work.slices(inquiry, executor.manager, executor.device)
        if executor.loaded != inquiry.question.checkpoint:
            raise Refused(Message("Another checkpoint has been loaded meanwhile. Ask again."))
        components = executor.components
        if isinstance(inquiry.question, LookAgain):
            assert inquiry.fork is not None
            components = executor.components_at(inquiry.fork)
            return looking.slices(inquiry, components, executor.lane_at, executor.denoise, tokenizer_lock)
        return answers.slices(
            inquiry,
            components,
            executor.denoise,
            tokenizer_lock,
            executor.device.synchronize,
            lambda name: executor.conditioner.extras.controlnet(components, name),
        )

    return inquiries.work(begin, lambda error: failures.refusal(error, executor.device))
