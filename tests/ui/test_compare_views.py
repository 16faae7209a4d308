"""A comparison's events as the page shows them, its cost in words, and the endpoint /compare."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from studio.answered.events import ComparisonEnded
from studio.asked.compare import Comparison
from studio.asked.orders import SubmitComparison
from studio.asked.problems import InvalidRequest
from studio.picture import sheet
from studio.picture.gallery import Gallery
from studio.ui.compare import axes, views
from studio.ui.compare.around import comparison_around
from studio.ui.compare.tab import link_or_problem, opening_sentence
from studio.ui.render import View
from studio.ui.text import say
from tests.ui.fake_app import launch
from tests.ui.fake_engine import FakeEngine


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[FakeEngine]:
    engine = FakeEngine(Gallery(tmp_path / "outputs"), seconds_per_step=0.005)
    yield engine
    engine.close()


def comparison(**given: object) -> Comparison:
    plain = {"prompt": "a fox", "x": "num_inference_steps", "x_values": "2, 3", "y": "scheduler", "y_values": "euler"}
    return Comparison.parse(plain | given)


def views_of(engine: FakeEngine, asked: Comparison) -> list[View]:
    async def read() -> list[View]:
        return [view async for view in views.run(engine, "anna", "compare", lambda: asked, 0)]

    return asyncio.run(read())


def test_the_views_tell_of_every_cell_to_its_end(engine: FakeEngine) -> None:
    seen = views_of(engine, comparison(y_values="euler, lcm", x_values="2, 60"))
    assert (seen[0]["x"]["name"], seen[0]["x"]["labels"], seen[0]["y"]["labels"]) == (
        "Steps",
        ["2", "60"],
        ["Euler", "LCM"],
    )
    assert [cell["state"] for cell in seen[-1]["cells"]] == ["finished", "finished", "finished", "impossible"]
    assert "LCM" in seen[-1]["cells"][3]["message"]
    assert seen[-1]["state"] == "finished"
    assert seen[-1]["message"].startswith("3 of 3 pictures in ")
    assert "euler" not in str(seen[-1]["link"].get("scheduler"))
    assert any(cell.get("preview", "").startswith("data:image/jpeg") for view in seen for cell in view["cells"])
    assert len(seen[-1]["cells"][0]["id"]) == 32


def test_what_of_the_prompts_is_not_understood_is_said_once(engine: FakeEngine) -> None:
    asked = comparison(prompt="a ${fox} cat", negative_prompt="(bad", x="Prompt S/R", x_values="fox, [owl")
    last = views_of(engine, asked)[-1]
    assert last["state"] == "finished"
    said = [note.removeprefix("In the negative prompt, ").split(" ")[0] for note in last["notes"]]
    assert said == ['"${fox}"', '"(bad"', '"${[owl}"', '"[owl}']
    assert last["notes"][1].startswith("In the negative prompt, ")
    assert last["message"].endswith(" ".join(last["notes"]))
    assert views_of(engine, comparison())[-1]["notes"] == []


def test_a_failed_cell_and_a_refused_comparison_are_said(engine: FakeEngine) -> None:
    last = views_of(engine, comparison(prompt="fail: oom", y=None))[-1]
    assert [cell["state"] for cell in last["cells"]] == ["failed", "failed"]
    assert "ran out of memory" in last["cells"][0]["message"]
    assert last["message"].endswith("2 failed.")

    async def bad() -> list[View]:
        asked = {"prompt": "", "x": "seed", "x_values": "1.5"}
        return [view async for view in views.run(engine, "anna", "compare", lambda: Comparison.parse(asked), 0)]

    (told,) = asyncio.run(bad())
    assert told["problems"][0]["field"] == "x_values"


def test_what_a_tab_showed_is_found_again_by_its_owner_alone(engine: FakeEngine) -> None:
    job = asyncio.run(engine.submit(SubmitComparison(comparison=comparison()), owner="anna", origin="compare"))

    async def found(owner: str) -> View:
        return [view async for view in views.attach(engine, owner, "compare")][-1]

    assert asyncio.run(found("anna"))["job"] == job
    assert asyncio.run(found("bob")) == views.EMPTY


def test_the_cost_is_one_line(engine: FakeEngine) -> None:
    given = {"prompt": "", "x": "num_inference_steps", "x_values": "10, 60", "y": "scheduler", "y_values": "euler, lcm"}
    line = asyncio.run(views.cost_line(engine, given))
    assert line.startswith("3 pictures, 80 U-Net evaluations. Pairs that cannot be run: 1. About ")
    assert "y_values" in asyncio.run(views.cost_line(engine, given | {"y_values": "nothing"}))


def test_the_endpoint_gives_the_sheet_and_every_picture(engine: FakeEngine) -> None:
    demo, url = launch(engine, engine.gallery)
    try:
        client = Client(url, verbose=False)
        files, info = client.predict(
            "a f\x07ox", "Steps", "2, 3", "guidance_scale", "1, 5", "a {tail}", seed=7, api_name="/compare"
        )
        assert len(files) == 5
        made = sheet.read(Path(files[0]).read_bytes())
        assert made is not None
        assert (made.base.prompt, made.base.negative_prompt, made.base.seed) == ("a fox", "a {tail}", 7)
        assert [note.split(" is ")[0] for note in info["notes"]] == ["U+0007", 'In the negative prompt, "{tail}"']
        assert [cell["state"] for cell in info["cells"]] == ["finished"] * 4
        assert info["cells"][3]["info"]["guidance_scale"] == 5
        with pytest.raises(AppError, match=r"x_values: 'ten' is not allowed\. Allowed: whole numbers from 1 to 150"):
            client.predict("a fox", "Steps", "ten", api_name="/compare")
    finally:
        demo.close()


def test_the_endpoint_takes_maps_and_varies_their_scale(engine: FakeEngine, tmp_path: Path) -> None:
    file = tmp_path / "map.png"
    Image.new("RGB", (64, 64), "teal").save(file)
    held = {"model": "lines", "image": handle_file(str(file)), "preprocessor": "none"}
    demo, url = launch(engine, engine.gallery)
    try:
        client = Client(url, verbose=False)
        files, info = client.predict(
            "held", "control_scale", "0, 0.5, 1.5", controls=[held, held | {"scale": 0.25}], api_name="/compare"
        )
        assert len(files) == 4
        told = [cell["info"]["controls"] for cell in info["cells"]]
        assert [[one["scale"] for one in row] for row in told] == [[0.0, 0.25], [0.5, 0.25], [1.5, 0.25]]
        jobs = len(engine.asked)
        for controls, said in (
            ([held | {"image": {"path": "/etc/passwd"}}], "an uploaded PNG, JPEG, WebP or GIF file"),
            ([held | {"scale": 3}], "controls: scale 3.0 of control 1 is not allowed. Allowed: numbers from 0 to 2"),
            ([], "a control whose scale is varied; add one"),
        ):
            with pytest.raises(AppError) as caught:
                client.predict("held", "control_scale", "0, 1", controls=controls, api_name="/compare")
            assert said in str(caught.value)
        assert len(engine.asked) == jobs
    finally:
        demo.close()


def test_a_sheet_says_which_of_its_settings_the_form_does_not_hold() -> None:
    assert opening_sentence(comparison()) == say("compare.opened")
    assert opening_sentence(comparison(hires_strength=0.3, hires_upscaler="latent")) == say("compare.opened"), (
        "without a say"
    )
    guided = {"y": "guidance_scale", "y_values": "3", "scheduler": "euler_a"}
    twice = comparison(**guided, hires_scale=2, hires_strength=0.3, eta=0.25, noise_seed_delta=7)
    comparison_of_sheet = sheet.read(sheet.png(twice, {}, {}))
    assert comparison_of_sheet is not None
    remark = opening_sentence(comparison_of_sheet)
    for setting in (
        "Hires fix, Scale: 2;",
        "Hires fix, Strength of the second pass: 0.3",
        "Eta: 0.25",
        "ENSD: 7",
    ):
        assert setting in remark
    assert say("hires_upscaler.label") not in remark, "it is as the form has it"


@pytest.mark.parametrize(
    ("steps", "guidance", "columns", "rows", "cell"),
    [
        (25, 3.0, (6, 12, 25, 50), (1.0, 2.0, 3.0, 5.0), 10),
        (4, 1.0, (1, 2, 4, 8), (1.0, 2.0, 4.0), 2),  # without guidance: the first row is its own
        (1, 7.5, (1, 2), (1.0, 4.2, 7.5, 14.0), 4),
        (150, 30.0, (38, 75, 150), (1.0, 15.5, 30.0), 8),  # no value beyond what is allowed
    ],
)
def test_around_a_picture_its_own_settings_are_one_of_the_cells(
    steps: int, guidance: float, columns: tuple[int, ...], rows: tuple[float, ...], cell: int
) -> None:
    settings = {"prompt": "a fox", "seed": "7", "num_inference_steps": steps, "guidance_scale": guidance}
    asked, own = comparison_around(settings | {"kind": "text_to_image"})
    assert asked.y is not None
    assert (asked.x.values, asked.y.values, own) == (columns, rows, cell)
    request = asked.request(own)
    assert request is not None
    assert (request.num_inference_steps, request.guidance_scale, request.seed) == (steps, guidance, 7)


def test_around_a_picture_that_began_with_another_says_what_is_missing() -> None:
    with pytest.raises(InvalidRequest, match="a picture made from words alone"):
        comparison_around({"prompt": "a fox", "kind": "image_to_image"})


def test_a_comparison_begins_with_what_suits_its_checkpoint(engine: FakeEngine) -> None:
    (entry,) = engine.catalog()[:1]
    named = {"checkpoint": entry.name, "x_values": "2, 20, 40, 100", "y": "guidance_scale", "y_values": "1, 4, 9, 20"}
    assert (entry.suits.num_inference_steps, axes.middle(comparison(**named), engine.catalog())) == (25, 5)
    assert axes.middle(comparison(**named | {"y": "seed", "y_values": "1-5"}), engine.catalog()) == 2 * 4 + 1
    views = views_of(engine, comparison(**named))
    assert views[1]["focus"] == 0  # as this caller asked


def test_what_only_the_runs_of_the_cells_know_is_said_once() -> None:
    view = views.planned_view(comparison(), "job")
    cell = {"state": "finished", "notes": ['"__none__" is read as words.']}
    over = ComparisonEnded(job_id="job", state="finished", reason="", finished_cells=2, failed_cells=0, seconds=1.0)
    said = views.follow(view | {"cells": [cell, cell]}, over)["message"]
    assert said == '2 of 2 pictures in 1.0 s. "__none__" is read as words.'


def test_a_link_of_a_newer_version_is_named_and_no_error_of_the_page() -> None:
    link, problem = link_or_problem({"x": "seed", "x_values": "1, 2", "v": "99"})
    assert link is None
    assert problem == "v: '99' is not allowed. Allowed: links of the versions 1 to 2."
    assert link_or_problem({"settings": "inpaint"}) == (None, "")
    assert link_or_problem({"x": "seed", "x_values": "1, 2", "v": "2"})[0] == {"x": "seed", "x_values": "1, 2"}
