"""What an exported page takes along of the studio's answers: those to its own panels' questions, and no others."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from studio.answered.engine import Answer, Refused
from studio.asked.question import Question
from studio.export.replay import Replay
from studio.ui.viewer.replay_page import replay_page
from studio.web.replay_answers import replay_answers
from tests.export.test_files import recording

RUN = {
    "scheduler": "dpmpp_2m",
    "noise_schedule": "karras",
    "steps": 3,
    "tokens": {"prompt": [{"text": "a fox"}, {"text": "a fox"}], "negative_prompt": [{"text": ""}]},
}


class Studio:
    """Answers every question but those of `refuses`."""

    def __init__(self, *refuses: str) -> None:
        self.refuses = refuses
        self.asked: list[Question] = []

    async def ask(self, question: Question, *, owner: str) -> Answer:
        assert owner == "ann"
        self.asked.append(question)
        if question.name in self.refuses:
            raise Refused("another model is loaded")
        return Answer(content=json.dumps({"of": question.name}).encode(), media_type="application/json")


def panels(page: bytes) -> list[str]:
    text = page.decode()
    start = text.index('id="props">') + len('id="props">')
    props: dict[str, Any] = json.loads(text[start : text.index("</script>", start)])
    return list(props["languages"]["en"]["panels"])


def test_the_answers_are_those_that_the_panels_ask_for() -> None:
    data = recording(**RUN)
    studio = Studio()
    answers = asyncio.run(replay_answers(studio, data, "ann"))  # type: ignore[arg-type]
    schedule = {"checkpoint": "tiny", "scheduler": "dpmpp_2m", "num_inference_steps": "3"}
    assert [(one.name, dict(one.fields)) for one in answers] == [
        ("architecture", {"checkpoint": "tiny"}),
        *(("schedule", schedule | {"noise_schedule": name}) for name in ("exponential", "normal", "karras")),
        ("embeddings", {"checkpoint": "tiny", "prompt": "a fox"}),
        ("embeddings", {"checkpoint": "tiny", "prompt": ""}),
    ]  # without a finished picture nothing is asked about one
    shown = panels(replay_page(data, Replay(data).run, answers))
    assert {"architecture", "schedules"} < set(shown)
    assert not {"forward", "vae", "branches", "runs", "export"} & set(shown)


def test_a_refused_answer_leaves_its_panel_out_alone() -> None:
    data = recording(**RUN)
    answers = asyncio.run(replay_answers(Studio("architecture"), data, "ann"))  # type: ignore[arg-type]
    shown = panels(replay_page(data, Replay(data).run, answers))
    assert "architecture" not in shown
    assert "schedules" in shown
