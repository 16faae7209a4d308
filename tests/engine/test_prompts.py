"""A prompt in a run: the second pass goes on with its schedule, and what is not understood is said with the result."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import torch

from studio.answered.events import Failed, Finished, Started
from studio.asked.orders import Tokens
from studio.engine.engine import DiffusionEngine
from studio.picture.metadata import own_info, read_png
from tests.engine.conftest import Calls, ask, finish, pixels, run


def notes(engine: DiffusionEngine, **fields: Any) -> tuple[str, ...]:
    events = run(engine, ask(num_inference_steps=2, **fields))
    assert isinstance(events[-1], Finished), events[-1]
    [started] = [event for event in events if isinstance(event, Started)]
    return started.notes


@pytest.mark.parametrize(
    ("prompt", "second"),
    [
        ("[fox:cat:0.5]", ["cat"] * 4),
        ("[fox:cat:1.5]", ["fox", "fox", "cat", "cat"]),
        ("[fox:cat:7]", ["fox", "cat", "cat", "cat"]),
        ("[fox:cat:3]", ["cat"] * 4),
    ],
)
def test_the_second_pass_goes_on_with_the_schedule_of_the_prompt(
    engine: DiffusionEngine, calls: Calls, monkeypatch: pytest.MonkeyPatch, prompt: str, second: list[str]
) -> None:
    real, seen = calls._real, []

    def listen(components: Any, asked: Any, *rest: Any) -> torch.Tensor:
        seen.append(asked[0].prompt_embeds.clone())
        return real(components, asked, *rest)

    monkeypatch.setattr(calls, "_real", listen)
    settings = {"scheduler": "euler", "num_inference_steps": 6, "guidance_scale": 1.0}
    finish(engine, ask(prompt="fox", **settings | {"num_inference_steps": 1}))
    finish(engine, ask(prompt="cat", **settings | {"num_inference_steps": 1}))
    fox, cat = seen
    seen.clear()
    finish(engine, ask(prompt=prompt, hires_scale=1.5, hires_steps=8, hires_strength=0.5, **settings))
    named = ["fox" if torch.equal(one, fox) else "cat" if torch.equal(one, cat) else "?" for one in seen]
    assert len(named) == 10
    assert named[6:] == second
    assert torch.equal(seen[0], fox)


def test_what_is_not_understood_is_said_with_the_result(engine: DiffusionEngine) -> None:
    said = " ".join(notes(engine, prompt="a fox AND a __beast__ <hypernet:x:1>", negative_prompt="__bad__ snow"))
    for part in (
        "AND: the noise viewer shows",
        '"__beast__" is read as words: no wildcard file has this name',
        "<hypernet:x:1> is left out",
        'In the negative prompt, "__bad__" is read',
    ):
        assert part in said
    assert notes(engine, prompt="a (red:1.2) fox, [sea:snow:0.5]") == ()


def test_what_is_not_understood_stays_in_the_pictures_file(engine: DiffusionEngine) -> None:
    picture = finish(engine, ask(prompt="a ${fox} cat", negative_prompt="{bad}", num_inference_steps=2)).pictures[0]
    path = engine._gallery.path(picture.id, "anna")
    assert path is not None
    info = own_info(path)
    assert info is not None
    assert info == json.loads(json.dumps(dict(picture.info)))
    remarks = info["prompt_notes"]
    assert isinstance(remarks, list)
    assert [remark.split(" is ")[0] for remark in remarks] == ['"${fox}"', 'In the negative prompt, "{bad}"']
    assert read_png(path) is not None, "the remarks are no setting"
    plain = finish(engine, ask(prompt="a fox", num_inference_steps=2)).pictures[0]
    assert "prompt_notes" not in plain.info


def test_tags_that_are_left_out_change_no_word(engine: DiffusionEngine) -> None:
    plain = pixels(engine, finish(engine, ask(prompt="a red  fox")))
    assert (pixels(engine, finish(engine, ask(prompt="a red <hypernet:x:1> fox"))) == plain).all()


def test_a_switch_behind_the_last_step_and_a_negative_prompt_without_guidance_are_said(engine: DiffusionEngine) -> None:
    assert '"[sea:snow:7]" does not switch' in notes(engine, prompt="[sea:snow:7]")[0]
    assert "does not switch" in notes(engine, prompt="[sea:snow:1.5]")[0]
    assert notes(engine, prompt="[sea:snow:1.5]", hires_scale=1.5, hires_steps=4, hires_strength=0.5) == ()
    assert "negative prompt does nothing" in notes(engine, negative_prompt="snow", guidance_scale=1.0)[0]


def test_an_embedding_that_is_not_here_is_said(engine: DiffusionEngine) -> None:
    said = " ".join(notes(engine, prompt="embedding:easynegative, <cat-toy> fox"))
    assert '"embedding:easynegative" is read as words' in said
    assert '"<cat-toy>" is read as words' in said


def test_a_lora_weight_that_cannot_be_run_is_the_visitors_error(engine: DiffusionEngine) -> None:
    last = run(engine, ask(prompt="fox <lora:x:nan>"))[-1]
    assert isinstance(last, Failed)
    assert last.kind == "bad_request"
    assert "prompt: the weight 'nan' of the LoRA 'x'" in last.message


def test_the_remarks_stand_with_the_count(engine: DiffusionEngine) -> None:
    answer = asyncio.run(engine.ask(Tokens(checkpoint="tiny", text="a fox AND a cat")))
    assert (answer.notices, answer.chunks) == ((), 2)
    negative = Tokens(checkpoint="tiny", text="a fox AND a cat", negative=True)
    assert "AND" in asyncio.run(engine.ask(negative)).notices[0]


def test_and_makes_the_same_picture_as_one_text_where_the_texts_are_the_same(engine: DiffusionEngine) -> None:
    """Two equal texts of half the weight are one text, but for rounding; another text makes another picture."""
    one = pixels(engine, finish(engine, ask(prompt="a fox")))
    halves = pixels(engine, finish(engine, ask(prompt="a fox :0.5 AND a fox :0.5")))
    other = pixels(engine, finish(engine, ask(prompt="a fox AND the sea")))
    assert abs(one.astype(int) - halves).max() <= 1
    assert (one != other).any()
    commented = pixels(engine, finish(engine, ask(prompt="# what it shows\na fox # or a cat")))
    assert (one == commented).all()


def test_and_without_guidance_asks_with_the_negative_prompt_too(engine: DiffusionEngine) -> None:
    settings = {"guidance_scale": 1.0, "num_inference_steps": 3}
    one = pixels(engine, finish(engine, ask(prompt="a fox", **settings)))
    halves = pixels(engine, finish(engine, ask(prompt="a fox :0.5 AND a fox :0.5", negative_prompt="sea", **settings)))
    assert abs(one.astype(int) - halves).max() <= 1
