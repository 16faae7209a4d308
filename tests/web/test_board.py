"""The owner decides what guests may use: it is remembered, and what is not allowed is not told to them."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from studio.answered.engine import EngineStatus, Refused, TokensAnswer
from studio.answered.models import MemoryUse, ModelsNow
from studio.asked.few_steps import FewSteps, FewStepsOfMap
from studio.asked.fields import TextToImage
from studio.asked.guest_rules import Rules
from studio.asked.orders import ModelList, ModelPicture, PrepareCheckpoint, Speed, SubmitRun, Tokens
from studio.asked.problems import InvalidRequest
from studio.asked.questions import Architecture, LossCurve
from studio.asked.upscale import MAX_PIXELS, Upscale
from studio.ui.text import say
from studio.web.access import Access
from studio.web.board import NAME, Board, Decisions
from studio.web.limits import NewVisitors, with_limits
from tests.ui.fake_models import CATALOG, MODELS
from tests.web.asgi import Visitor
from tests.web.test_enter import enter
from tests.web.test_share_routes import Panel

BUILT_IN, TINY, QUICK = CATALOG


class Engine:
    """Has the models of the fake page, and remembers what it is asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.models = MODELS
        self.doing = EngineStatus(state="ready", message="Ready", checkpoint=TINY.name, next=TINY.name)

    def catalog(self) -> Any:
        return CATALOG

    def status(self) -> EngineStatus:
        return self.doing

    async def submit(self, job: Any, *, owner: str, origin: str) -> str:
        self.asked.append(job)
        return "id"

    async def order(self, order: Any) -> None:
        self.asked.append(order)

    async def ask(self, question: Any, *, owner: str = "") -> Any:
        self.asked.append(question)
        if isinstance(question, ModelList):
            memory = MemoryUse(device_label="A large GPU", ram_total=2**35)
            return ModelsNow(models=self.models, memory=memory, message=f"{TINY.name} is too large")
        if isinstance(question, Tokens):
            return TokensAnswer(count=1, chunks=1, pieces=("x",))
        return b"answer"


class Studio:
    """An engine as a guest and its owner have it."""

    def __init__(self, board: Board | None = None) -> None:
        self.inner, self.visitor, self.board = Engine(), "", board or Board()
        access = Access()
        keys = access.share()
        entered = access.by_key(keys.guest, "")
        assert entered is not None
        self.guest = entered[1].person
        self.engine: Any = with_limits(self.inner, access, NewVisitors(), self.board, lambda: self.visitor)[0]  # type: ignore[arg-type]

    def ask(self, question: Any) -> Any:
        return asyncio.run(self.engine.ask(question))


@pytest.fixture
def studio() -> Studio:
    studio = Studio()
    studio.board.decide({"models": [BUILT_IN.id, MODELS[5].id], "refused_words": ["nude"]})
    studio.visitor = studio.guest
    return studio


def test_a_guests_lists_hold_what_they_may_use_and_the_owners_all(studio: Studio) -> None:
    assert [one.name for one in studio.engine.catalog()] == [BUILT_IN.name]
    assert studio.engine.catalog()[0].controlnets == (), "nor a ControlNet that is not ticked"
    assert {one.id for one in studio.ask(ModelList()).models} == {BUILT_IN.id}, "nor what cannot be used"
    assert studio.ask(ModelList()).message == ""
    studio.visitor = "the owner"
    assert studio.engine.catalog() == CATALOG
    assert studio.ask(ModelList()).models == MODELS
    studio.visitor = ""
    assert [one.name for one in studio.engine.catalog()] == [BUILT_IN.name], "what the page is served to everybody with"


def test_with_all_models_allowed_those_that_can_be_used_are_seen(studio: Studio) -> None:
    studio.board.decide({"models": None})
    assert studio.engine.catalog() == CATALOG
    assert [one.id for one in studio.ask(ModelList()).models] == [one.id for one in MODELS if one.state == "usable"]
    assert studio.engine.status() == studio.inner.doing


@pytest.mark.parametrize("allowed", [None, [one.id for one in MODELS]])
def test_a_guest_is_told_names_and_kinds_and_nothing_of_the_machine(studio: Studio, allowed: list[str] | None) -> None:
    studio.board.decide({"models": allowed})
    secret = {"where": "stable-diffusion-webui/models", "note": "my aunt's face", "origin": "me/private"}
    facts = {"metadata": (("ss_output_dir", "/home/anna/loras"),), "notes": ("From /home/anna.",)}
    studio.inner.models = tuple(replace(m, **secret, facts=replace(m.facts, **facts)) for m in MODELS)
    seen = studio.ask(ModelList())
    told = repr(seen)
    for value in ("webui", "aunt", "me/private", "anna"):
        assert value not in told, value
    assert seen.memory == MemoryUse()
    assert all(one.reason == "" and one.state == "usable" for one in seen.models)
    assert {one.name for one in seen.models} == {one.name for one in MODELS if one.state == "usable"}
    studio.visitor = "the owner"
    assert "my aunt's face" in repr(studio.ask(ModelList()))


@pytest.mark.parametrize(
    ("doing", "message"),
    [
        (EngineStatus(state="loading", message=f"Loading {TINY.name}", checkpoint=TINY.name), "header.guest.loading"),
        (EngineStatus(state="ready", message=f"{TINY.name} is too large", checkpoint=TINY.name), "header.guest.ready"),
        (EngineStatus(state="failed", message=f"{TINY.name} is damaged"), "header.guest.failed"),
    ],
)
def test_what_the_engine_does_names_no_other_checkpoint(studio: Studio, doing: EngineStatus, message: str) -> None:
    studio.inner.doing = replace(doing, next=TINY.name)
    told = studio.engine.status()
    assert told == replace(doing, message=say(message), checkpoint=None, next=None)
    studio.inner.doing = EngineStatus(state="loading", message="Loading Small World", checkpoint=BUILT_IN.name)
    assert studio.engine.status() == studio.inner.doing


def test_questions_by_name_are_answered_as_if_there_were_no_other_model(studio: Studio) -> None:
    for question in (Tokens(checkpoint=TINY.name, text="x"), Architecture(checkpoint=TINY.name)):
        with pytest.raises(InvalidRequest) as hidden:
            studio.ask(question)
        with pytest.raises(InvalidRequest) as absent:
            studio.ask(replace(question, checkpoint="absent"))
        assert str(hidden.value).replace(TINY.name, "absent") == str(absent.value)
    assert studio.ask(Speed(checkpoint=TINY.name)) is None
    assert studio.ask(ModelPicture(model_id=TINY.id)) is None
    asyncio.run(studio.engine.order(PrepareCheckpoint(checkpoint=TINY.name)))
    assert studio.inner.asked == []
    asyncio.run(studio.engine.order(PrepareCheckpoint(checkpoint=BUILT_IN.name)))
    studio.ask(Tokens(checkpoint=BUILT_IN.name, text="x"))
    assert studio.inner.asked[1].models == (BUILT_IN.id, MODELS[5].id), "nor is an embedding read that is hidden"


def test_a_caption_of_the_viewer_has_no_refused_word(studio: Studio) -> None:
    with pytest.raises(InvalidRequest, match="wrong_caption: the word 'nude'"):
        studio.ask(LossCurve(checkpoint=BUILT_IN.name, image=b"x", caption="a lake", wrong_caption="a NUDE"))
    studio.ask(LossCurve(checkpoint=BUILT_IN.name, image=b"x", caption="a lake"))


def test_a_picture_that_a_question_makes_is_bound_by_what_binds_a_run(studio: Studio) -> None:
    question = FewSteps(checkpoint=BUILT_IN.name, prompt="a lake", guidance_scale=3)
    studio.ask(question)
    with pytest.raises(InvalidRequest, match="'nude'"):
        studio.ask(replace(question, prompt="a NUDE"))
    with pytest.raises(InvalidRequest, match="control"):  # one that they may not use
        studio.ask(FewStepsOfMap(checkpoint=BUILT_IN.name, control="hidden", image=b"x"))
    studio.board.decide({"locked": {"guidance_scale": 7}})
    with pytest.raises(InvalidRequest, match="guidance_scale"):
        studio.ask(question)
    studio.board.decide({"locked": {}, "safety_checker": True})
    with pytest.raises(Refused, match="safety checker"):
        studio.ask(question)
    studio.board.decide({"safety_checker": False, "frozen": True})
    with pytest.raises(Refused):
        studio.ask(question)


def test_a_guest_enlarges_with_what_they_may_use_and_not_while_the_studio_is_frozen(studio: Studio) -> None:
    studio.ask(Upscale(image=b"x", upscaler="4x"))
    (asked,) = studio.inner.asked
    assert asked.models == (BUILT_IN.id, MODELS[5].id)
    assert asked.most_pixels < MAX_PIXELS
    studio.board.decide({"frozen": True})
    with pytest.raises(Refused):
        studio.ask(Upscale(image=b"x"))


def test_a_guests_job_carries_the_rules_and_the_owners_none(studio: Studio) -> None:
    for owner in (studio.guest, "the owner"):
        asyncio.run(studio.engine.submit(SubmitRun(request=TextToImage(prompt="x")), owner=owner))
    guests, owners = studio.inner.asked
    assert guests.allowance.rules == Rules(models=(BUILT_IN.id, MODELS[5].id), refused_words=("nude",), wildcards=False)
    assert owners.allowance is None


# ---------------------------------------------------------------------------------------------------------- the file


def test_decisions_survive_a_restart_in_a_file_for_the_owner_alone(tmp_path: Path) -> None:
    made = Board(tmp_path).decide({"models": ["a", "b", "a"], "refused_words": [" red  fox ", "", "裸体", "RED FOX"]})
    assert made == Decisions(models=("a", "b"), refused_words=("RED FOX", "裸体"))
    assert Board(tmp_path).now == made
    file = tmp_path / NAME
    assert os.name == "nt" or file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text(encoding="utf-8"))["version"] == 1
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"version": 2, "models": null}', '{"version": 1, "models": 5}'])
def test_a_file_that_cannot_be_read_opens_nothing(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / NAME).write_text(content)
    with caplog.at_level(logging.WARNING):
        assert Board(tmp_path).now == Decisions(models=())
    assert "cannot be read" in caplog.text
    assert (tmp_path / NAME).read_text() == content, "it is left alone"


@pytest.mark.parametrize(
    "changes",
    [
        {"models": "all"},
        {"models": [1]},
        {"models": ["x" * 101]},
        {"refused_words": "nude"},
        {"refused_words": ["x"] * 1001},
        {"refused_words": ["?!"]},
        {"refused_words": ["\ud800"]},
        {"colour": "red"},
    ],
)
def test_a_decision_that_cannot_be_is_named_and_changes_nothing(changes: dict[str, object]) -> None:
    board = Board()
    with pytest.raises(InvalidRequest, match=next(iter(changes))):
        board.decide({"refused_words": ["fine"], **changes})
    assert board.now == Decisions()


# --------------------------------------------------------------------------------------------------------- the routes


def test_the_panel_decides_and_guests_neither_see_nor_decide(tmp_path: Path) -> None:
    panel = Panel(tmp_path)
    here, guest = Visitor(panel.app), Visitor(panel.app)
    here("/")
    enter(guest, panel.shared(here)["link"].partition("#")[2])
    body = json.dumps({"models": None, "refused_words": ["裸体"]}).encode()
    assert guest("/share/board").status == guest("/share/board", method="POST", body=body).status == 403
    assert here("/share/board").json()["refused_words"] == []
    answer = here("/share/board", method="POST", body=body)
    assert (answer.status, answer.json()["refused_words"]) == (200, ["裸体"])
    assert panel.limits.board.now.refused_words == ("裸体",)
    wrong = here("/share/board", method="POST", body=b'{"models": 1}')
    assert (wrong.status, wrong.body.decode()[:6]) == (400, "models")


# ---------------------------------------------------------------------------------------------------------- a lesson


def test_a_lesson_is_what_suits_the_guests_checkpoints(studio: Studio) -> None:
    locked = {"num_inference_steps": 12, "scheduler": "ddim", "checkpoint": "QUICK"}
    studio.board.decide({"models": None, "locked": locked, "examples": ["a red fox", " "]})
    [one] = studio.engine.catalog()
    assert (one.name, one.num_inference_steps, one.scheduler, one.noise_schedule) == (
        QUICK.name,
        12,
        "ddim",
        "automatic",
    )
    assert one.examples == ("a red fox",)
    assert dict(one.locked) == locked
    studio.visitor = "the owner"
    assert studio.engine.catalog() == CATALOG
    asyncio.run(studio.engine.submit(SubmitRun(request=TextToImage(prompt="x")), owner=studio.guest))
    assert studio.inner.asked[-1].allowance.rules.locked_values == locked


def test_a_lesson_survives_a_restart_and_ends_with_the_share(tmp_path: Path) -> None:
    board = Board(tmp_path)
    board.decide({"locked": {"seed": 7, "guidance_scale": 2.5}, "examples": ["a lake"], "refused_words": ["nude"]})
    assert Board(tmp_path).now == board.now
    board.end_share()
    assert Board(tmp_path).now == Decisions(refused_words=("nude",))


@pytest.mark.parametrize(
    ("locked", "says"),
    [
        ({"prompt": "x"}, "locked"),
        ("seed", "locked"),
        ({"num_inference_steps": 0}, "num_inference_steps: 0 is not allowed"),
        ({"scheduler": "nothing"}, "scheduler"),
        ({"scheduler": "lcm", "num_inference_steps": 150}, "num_inference_steps"),
        ({"seed": ""}, "seed: nothing is not allowed"),
        ({"width": 100}, "width"),
    ],
)
def test_a_value_that_cannot_be_locked_is_named(locked: object, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        Board().decide({"locked": locked})


def test_the_owner_ends_a_lesson_with_the_share(tmp_path: Path) -> None:
    panel = Panel(tmp_path)
    here = Visitor(panel.app)
    here("/")
    panel.shared(here)
    body = json.dumps({"locked": {"num_inference_steps": 12}, "examples": ["a lake"]}).encode()
    view = here("/share/board", method="POST", body=body).json()
    assert view["locked"] == {"num_inference_steps": 12}
    assert {one["field"] for one in view["lockable"]} >= {"seed", "checkpoint", "scheduler"}
    panel.act(here, "end")
    assert here("/share/board").json()["locked"] == {}
