"""What an exported replay page takes along of the studio's answers, for the panels that ask the studio on the page.

They are the questions that the panels open with, about the recorded run and its finished picture. What the studio
cannot answer now, as while another model is loaded, stays out, and so does the panel that shows it.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator, Mapping
from typing import Any

from PIL import Image

from studio.answered.engine import Answer, Engine, Refused, UnknownJob
from studio.asked.problems import InvalidRequest
from studio.asked.questions import QUESTION_KINDS, parse
from studio.asked.schedulers import SCHEDULERS
from studio.export.page_answers import PICTURE, PageAnswer
from studio.export.replay import Replay

SECONDS = 30  # for one answer: who exports a page waits for it
MAX_TEXTS = 4  # of a prompt that changes from step to step
OTHER_SCHEDULES = ("exponential", "normal")  # beside the run's own, as in schedules.js


async def replay_answers(engine: Engine, recording: bytes, owner: str) -> list[PageAnswer]:
    """The answers to these questions, in their order. `recording` is one from its first evaluation on."""
    replay = Replay(recording)
    picture = replay.finished_picture
    image = b"" if picture is None else await asyncio.to_thread(_png, picture)
    answers = []
    for name, fields in _questions(replay.run):
        answer = await _answer(engine, owner, name, fields, image)
        if answer is not None:
            shown = fields | ({"picture": PICTURE} if QUESTION_KINDS[name].needs_image else {})
            answers.append(PageAnswer(name, shown, answer.media_type, answer.content))
    return answers


def _questions(run: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    """Each question's name and fields, as a page would send them."""
    checkpoint = str(run["checkpoint"])
    yield "architecture", {"checkpoint": checkpoint}
    scheduler = str(run.get("scheduler", ""))
    if scheduler in SCHEDULERS and run.get("noise_schedule") and run.get("steps"):
        able = SCHEDULERS[scheduler].noise_schedules
        own = str(run["noise_schedule"])
        for noise_schedule in [*(one for one in OTHER_SCHEDULES if one in able and one != own), own]:
            yield (
                "schedule",
                {
                    "checkpoint": checkpoint,
                    "scheduler": scheduler,
                    "noise_schedule": noise_schedule,
                    "num_inference_steps": str(run["steps"]),
                },
            )
    texts: dict[str, None] = {}
    for several in (run.get("tokens") or {}).values():
        texts |= dict.fromkeys(str(one["text"]) for one in several[:MAX_TEXTS])
    for text in texts:
        yield "embeddings", {"checkpoint": checkpoint, "prompt": text}
    yield "forward", {"checkpoint": checkpoint}
    yield "vae", {"checkpoint": checkpoint}


async def _answer(engine: Engine, owner: str, name: str, fields: dict[str, str], image: bytes) -> Answer | None:
    """The answer, or None where there is none now."""
    try:
        question = parse(name, fields, image if QUESTION_KINDS[name].needs_image else b"")
        answer: Answer = await asyncio.wait_for(engine.ask(question, owner=owner), SECONDS)
    except (InvalidRequest, Refused, UnknownJob, TimeoutError):
        return None
    return answer


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
