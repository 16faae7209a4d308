"""A template in a run: each picture has its own words, its file makes it again to the bit, and guests' rules hold for
the words that are chosen."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from studio.answered.events import Finished, Started
from studio.asked.axes import Axis
from studio.asked.compare import Comparison
from studio.asked.guest_rules import Rules
from studio.asked.orders import Allowance, Tokens
from studio.asked.problems import InvalidRequest
from studio.engine.engine import DiffusionEngine
from studio.engine.jobs import Limits
from studio.picture.gallery import Gallery
from studio.picture.infotext import parse_parameters
from studio.picture.metadata import own_info, read_png
from tests.engine.conftest import MakeDevice, ask, events_of, finish, outcome, pixels, run
from tests.tiny import save_tiny_checkpoint

TEMPLATE = "a {red|blue|green|black|white} fox, __place__"
SETTINGS = {"num_inference_steps": 2, "exact": True}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, make_device: MakeDevice) -> Iterator[DiffusionEngine]:
    home = tmp_path_factory.mktemp("home")
    save_tiny_checkpoint(home / "models" / "checkpoints" / "tiny")
    (home / "wildcards").mkdir()
    (home / "wildcards" / "place.txt").write_text("in the snow\nat the sea\nin [a|the] wood\n")
    limits = Limits(unwatched_seconds=None, per_owner=100)
    engine = DiffusionEngine([home / "models"], Gallery(home / "outputs"), limits=limits, make_device=make_device)
    engine.start()
    yield engine
    engine.close()


def file_of(engine: DiffusionEngine, finished: Finished, image: int) -> Path:
    path = engine._gallery.path(finished.pictures[image].id, "anna")
    assert path is not None
    return path


def test_each_picture_has_its_own_words_and_its_file_makes_it_again(engine: DiffusionEngine) -> None:
    request = ask(prompt=TEMPLATE, negative_prompt="{bad|ugly}", num_images_per_prompt=3, seed=11, **SETTINGS)
    finished = finish(engine, request)
    prompts = [str(picture.info["prompt"]) for picture in finished.pictures]
    assert len(set(prompts)) > 1
    for number, prompt in enumerate(prompts):
        path = file_of(engine, finished, number)
        info = own_info(path)
        assert info is not None
        assert (info["prompt_template"], info["negative_prompt_template"]) == (TEMPLATE, "{bad|ugly}")
        again = read_png(path)
        assert again is not None
        assert (again.prompt, again.seed) == (prompt, 11 + number)
        remade = finish(engine, again)
        assert np.array_equal(pixels(engine, remade), pixels(engine, finished, number))
        assert "prompt_template" not in remade.pictures[0].info
        text, negative, pairs = parse_parameters(finished.pictures[number].parameters)
        assert (text, negative) == (prompt, info["negative_prompt"])
        assert (pairs["Template"], pairs["Negative Template"]) == (TEMPLATE, "{bad|ugly}")
    template_again = finish(engine, ask(prompt=TEMPLATE, negative_prompt="{bad|ugly}", seed=12, **SETTINGS))
    assert template_again.pictures[0].info["prompt"] == prompts[1]
    assert np.array_equal(pixels(engine, template_again), pixels(engine, finished, 1))


def test_the_words_of_each_picture_are_said(engine: DiffusionEngine) -> None:
    events = run(engine, ask(prompt="a {red|blue} fox __none__", num_images_per_prompt=2, **SETTINGS))
    [started] = [event for event in events if isinstance(event, Started)]
    assert sum(note.startswith("Picture ") and " fox " in note for note in started.notes) == 2
    assert any('"__none__" is read as words: no wildcard file' in note for note in started.notes)
    last = events[-1]
    assert isinstance(last, Finished)
    assert any("__none__" in str(note) for note in last.pictures[0].info["prompt_notes"])  # type: ignore[attr-defined]


def test_an_escaped_wildcard_reaches_the_encoder_without_its_backslash(engine: DiffusionEngine) -> None:
    """ "\\__place__" is the words "__place__": for the picture, for the count of tokens, and in what is said of it."""
    finish(engine, ask(prompt="x", **SETTINGS))
    escaped = asyncio.run(engine.ask(Tokens(checkpoint="tiny", text=r"a \__place__ fox")))
    absent = asyncio.run(engine.ask(Tokens(checkpoint="tiny", text="a __none__ fox")))
    assert "".join(escaped.pieces).replace("</w>", "").replace(" ", "") == "a__place__fox"
    assert "".join(absent.pieces).replace("</w>", "").replace(" ", "") == "a__none__fox"
    assert escaped.notices == ()
    assert any('"__none__" is read as words' in notice for notice in absent.notices)
    assert not any("\\" in notice for notice in (*escaped.notices, *absent.notices))


def test_a_second_pass_and_a_recording_have_the_words_of_their_picture(engine: DiffusionEngine) -> None:
    request = ask(prompt="a {red|blue} fox", num_images_per_prompt=2, seed=2, hires_scale=1.5, **SETTINGS)
    finished = finish(engine, request)
    for number, picture in enumerate(finished.pictures):
        again = read_png(file_of(engine, finished, number))
        assert again is not None
        assert again.prompt == picture.info["prompt"]
        assert np.array_equal(pixels(engine, finish(engine, again)), pixels(engine, finished, number))


def test_a_seed_that_is_left_open_chooses_too(engine: DiffusionEngine) -> None:
    finished = finish(engine, ask(prompt=TEMPLATE, seed=None, **SETTINGS))
    seed = finished.pictures[0].seed
    assert (
        finish(engine, ask(prompt=TEMPLATE, seed=seed, **SETTINGS)).pictures[0].info["prompt"]
        == (finished.pictures[0].info["prompt"])
    )


def test_the_cells_of_a_comparison_choose_by_their_seeds(engine: DiffusionEngine) -> None:
    comparison = Comparison(base=ask(prompt=TEMPLATE, **SETTINGS), x=Axis(field="seed", values=(1, 2, 3)))
    job = engine.submit_comparison(comparison, owner="anna")
    asyncio.run(events_of_comparison(engine, job))
    events = engine.comparison(job, owner="anna").cells
    cells = [events[index].event.pictures[0] for index in range(3)]  # type: ignore[union-attr]
    alone = [finish(engine, ask(prompt=TEMPLATE, seed=seed, **SETTINGS)).pictures[0] for seed in (1, 2, 3)]
    assert [cell.info["prompt"] for cell in cells] == [one.info["prompt"] for one in alone]


async def events_of_comparison(engine: DiffusionEngine, job: str) -> None:
    async for _ in engine.watch_comparison(job, owner="anna"):
        pass


def test_a_refused_word_is_found_among_what_is_chosen(engine: DiffusionEngine) -> None:
    rules = Allowance(group="g", rules=Rules(refused_words=("sea", "nude")))
    with pytest.raises(InvalidRequest, match="the word 'nude'"):
        engine.submit(ask(prompt="n{u|u}de", num_inference_steps=1), owner="guest", allowance=rules)
    with pytest.raises(InvalidRequest, match="the word 'sea'"):
        engine.submit(ask(prompt="{3$$__place__}", seed=None, num_inference_steps=1), owner="guest", allowance=rules)


def test_guests_have_no_wildcards_unless_the_owner_lets_them(engine: DiffusionEngine) -> None:
    closed, opened = (Allowance(group="g", rules=Rules(wildcards=one)) for one in (False, True))
    prompts = []
    for allowance in (closed, opened):
        job = engine.submit(ask(prompt="fox __place__", **SETTINGS), owner="guest", allowance=allowance)
        finished = outcome(engine, job, owner="guest")
        assert isinstance(finished, Finished)
        prompts.append(str(finished.pictures[0].info["prompt"]))
    assert prompts[0] == r"fox \__place__"
    assert "__" not in prompts[1]
    question = Tokens(checkpoint="tiny", text="__place__", wildcards=False)
    assert "keeps the wildcard files" in " ".join(asyncio.run(engine.ask(question)).notices)


def test_a_template_without_end_is_refused_at_once(engine: DiffusionEngine) -> None:
    (engine.models.catalog.models_dirs[0].parent / "wildcards" / "loop.txt").write_text("__loop__\n")
    with pytest.raises(InvalidRequest, match="at most 10 wildcards"):
        engine.submit(ask(prompt="__loop__", seed=None), owner="anna")
    assert asyncio.run(events_of(engine, engine.submit(ask(prompt="fox", **SETTINGS), owner="anna")))
