"""The page as Gradio sees it: fields and ranges, what is public, what is off; and the endpoints called for real."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from studio.asked.compare import FORM_ROWS
from studio.asked.fields import PREVIEWS, TextToImage
from studio.asked.requests import RANGES, REQUEST_KINDS, ROWS
from studio.asked.schedulers import SCHEDULERS
from studio.picture.gallery import Gallery
from studio.ui import assets, blocks, language, theme
from studio.ui.generate import api, controls, following, stored_fields, upscaler, vae, widgets
from studio.ui.page import build
from tests.audit import addresses_asked
from tests.ui.fake_app import launch
from tests.ui.fake_engine import FakeEngine
from tests.ui.fake_models import CATALOG


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[gr.Blocks, str, FakeEngine]]:
    gallery = Gallery(tmp_path_factory.mktemp("outputs"))
    engine = FakeEngine(gallery, seconds_per_step=0.005)
    site, url = launch(engine, gallery)
    yield site.page, url, engine
    site.close()
    engine.close()


@pytest.fixture(scope="module")
def demo(served: tuple[gr.Blocks, str, FakeEngine]) -> gr.Blocks:
    return served[0]


@pytest.fixture
def client(served: tuple[gr.Blocks, str, FakeEngine]) -> Client:
    return Client(served[1], verbose=False)


def component(demo: gr.Blocks, elem_id: str) -> Any:
    return next(block for block in demo.blocks.values() if getattr(block, "elem_id", None) == elem_id)


# Where the page begins with something else than a program's call.
ON_THE_PAGE = {"upscale": "automatic"}


@pytest.mark.parametrize("kind", REQUEST_KINDS.values(), ids=REQUEST_KINDS)
def test_every_field_of_a_request_has_its_control_with_its_default(demo: gr.Blocks, kind: Any) -> None:
    for field in fields(kind):
        block = component(demo, f"{kind.kind}-{field.name}")
        if field.default not in (MISSING, None) and field.name not in controls.FILES:
            assert block.value == ON_THE_PAGE.get(field.name, field.default), field.name


@pytest.mark.parametrize("kind", REQUEST_KINDS.values(), ids=REQUEST_KINDS)
def test_sliders_have_the_ranges_of_the_one_table(demo: gr.Blocks, kind: Any) -> None:
    for name, allowed in RANGES.items():
        if name not in kind.rows() or not kind.rows()[name].step:  # a number that is typed
            continue
        block = component(demo, f"{kind.kind}-{name}")
        assert (block.minimum, block.maximum) == (allowed.low, allowed.high)
        for value, _ in widgets.LANDMARKS.get(name, ()):
            assert allowed.holds(value), (name, value)


@pytest.mark.parametrize(
    ("steps", "scale", "marked"),
    [
        (25, 5.0, ([(10, "draft"), (25, "good"), (50, "fine")], [(1, "free"), (5, "balanced"), (12, "strict")])),
        (25, 3.0, ([(10, "draft"), (25, "good"), (50, "fine")], [(1, "free"), (3, "balanced"), (7, "strict")])),
        (4, 1.0, ([(2, "draft"), (4, "good"), (8, "fine")], [(1, "free")])),
    ],
)
def test_landmarks_of_steps_and_guidance_stand_around_what_suits_the_checkpoint(
    tmp_path: Path, steps: int, scale: float, marked: Any
) -> None:
    suited = replace(CATALOG[0], num_inference_steps=steps, guidance_scale=scale)
    marks = widgets.suited_marks(suited)
    assert ([*marks["num_inference_steps"]], [*marks["guidance_scale"]]) == marked
    for name, points in marks.items():
        assert all(RANGES[name].holds(value) for value, _ in points)


def test_landmarks_are_those_of_few_steps_while_fast_is_on() -> None:
    few = {"num_inference_steps": ((2, "draft"), (4, "good")), "guidance_scale": ((1, "free"),)}
    assert widgets.suited_marks(CATALOG[0], fast=True) == few
    plain = replace(CATALOG[0], fast_lora="")  # the checkpoint was changed just now
    assert widgets.suited_marks(plain, fast=True) == widgets.suited_marks(plain)


def test_bad_numbers_reach_the_gate_as_they_were_typed(demo: gr.Blocks) -> None:
    assert component(demo, "text_to_image-num_inference_steps").preprocess(2.5) == 2.5
    assert component(demo, "text_to_image-num_inference_steps").preprocess(9999) == 9999
    assert component(demo, "text_to_image-width").preprocess(513) == 513


def test_choices_are_those_of_the_tables(demo: gr.Blocks) -> None:
    assert [name for _, name in component(demo, "text_to_image-scheduler").choices] == list(SCHEDULERS)
    assert [name for _, name in component(demo, "text_to_image-preview").choices] == list(PREVIEWS)
    for scheduler, facts in SCHEDULERS.items():
        assert tuple(name for _, name in widgets.schedule_choices(scheduler)) == facts.noise_schedules


@pytest.mark.parametrize("native", [(128, 128), (512, 512), (1024, 1024), (768, 512)])
@pytest.mark.parametrize("aspect", controls.ASPECTS)
def test_preset_sizes_are_allowed_and_keep_the_area(aspect: str, native: tuple[int, int]) -> None:
    width, height = following.size_for(aspect, *native)
    assert RANGES["width"].holds(width)
    assert RANGES["height"].holds(height)
    assert width * height == pytest.approx(native[0] * native[1], rel=0.2)


def test_only_the_endpoints_are_public(demo: gr.Blocks) -> None:
    public = {fn.api_name for fn in demo.fns.values() if fn.api_visibility != "private"}
    assert public == {*REQUEST_KINDS, "compare", "models", "choose_vae", "merge", "add_by_link", "picture_settings"}


def test_the_settings_of_a_picture_are_read_by_a_program(client: Client, tmp_path: Path) -> None:
    cases = Path(__file__).parents[1] / "cases"
    taken = client.predict(image=handle_file(cases / "sampler_DPM_fast.png"), api_name="/picture_settings")
    assert taken["program"] == "AUTOMATIC1111"
    assert taken["settings"].items() >= {"noise_schedule": "karras", "guidance_scale": 7.0, "seed": 5}.items()
    left = {one["key"]: one for one in taken["left_out"]}
    assert (left["Sampler"]["value"], left["Sampler"]["reason"]) == ("'DPM fast'", "not_allowed")
    assert left["Sampler"]["why"].startswith("not allowed here; one of DPM++ 2M (dpmpp_2m)")
    made, _ = client.predict(prompt="a fox", num_inference_steps=3, seed=8, api_name="/text_to_image")
    again = client.predict(image=handle_file(made[0]), api_name="/picture_settings")
    assert (again["program"], again["left_out"]) == ("Latent Studio", [])
    assert (again["settings"]["seed"], again["settings"]["num_inference_steps"]) == (8, 3)
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.png")
    nothing = client.predict(image=handle_file(tmp_path / "plain.png"), api_name="/picture_settings")
    assert nothing == {"program": "", "settings": {}, "left_out": [], "notes": []}
    (tmp_path / "words.png").write_text("no picture")
    with pytest.raises(AppError, match="image: a file that begins with b'no picture' is not allowed"):
        client.predict(image=handle_file(tmp_path / "words.png"), api_name="/picture_settings")
    for bad in (None, "x.png", {"path": "/etc/passwd"}):
        with pytest.raises((AppError, ValueError)):
            client.predict(image=bad, api_name="/picture_settings")


def test_of_an_events_functions_one_is_put_off_until_the_last(demo: gr.Blocks) -> None:
    """Two would bring each other the event again without end."""
    put_off = [function for function in demo.fns.values() if function.trigger_mode == "always_last" and function.fn]
    events = [target for function in put_off for target in function.targets]
    assert len(events) == len(set(events))
    checkpoints = {b._id for b in demo.blocks.values() if str(b.elem_id).endswith("-checkpoint")}
    assert {(one, "input") for one in checkpoints} <= set(events)  # the last of two choices is followed


def test_watching_events_have_no_limit_and_nothing_leaves_the_page(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)
    engine = FakeEngine(gallery)
    made, arguments = build(engine, gallery)
    engine.close()
    # That a visitor leaves is told beside the queue.
    queued = [fn for fn in made.fns.values() if fn.queue and all(event != "unload" for _, event in fn.targets)]
    assert all(fn.concurrency_limit is None for fn in queued)
    assert arguments["run_history"] is False
    assert arguments["enable_monitoring"] is False
    assert arguments["footer_links"] == []
    assert arguments["allowed_paths"] == []
    assert made.analytics_enabled is False


def test_the_page_reaches_no_torch() -> None:
    code = "import sys, studio.ui.page; sys.exit('torch' in sys.modules or 'diffusers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


def test_kept_settings_come_back_and_bad_ones_do_not(demo: gr.Blocks, tmp_path: Path) -> None:
    engine = FakeEngine(Gallery(tmp_path))
    with gr.Blocks():
        made = controls.build(engine, "text_to_image")
    kept = {"prompt": "a fox", "width": 168, "height": 96, "scheduler": "ddim", "noise_schedule": "karras", "seed": "7"}
    updates = stored_fields.restore(engine, made, kept | {"num_inference_steps": 9999, "checkpoint": "gone", "x": 1})
    engine.close()
    by_name = {name: updates[block] for name, block in made.fields.items() if block in updates}
    assert by_name["prompt"] == "a fox"
    assert by_name["noise_schedule"]["value"] == "automatic"  # DDIM cannot run Karras
    assert "num_inference_steps" not in by_name
    assert "checkpoint" not in by_name
    assert stored_fields.restore(engine, made, "nonsense") == {}


def test_a_vae_can_be_chosen_where_one_fits_and_leaves_with_its_checkpoint(demo: gr.Blocks, tmp_path: Path) -> None:
    engine = FakeEngine(Gallery(tmp_path))
    with gr.Blocks():
        made = controls.build(engine, "text_to_image")
    first = made.fields["vae_name"]
    assert (first.value, first.interactive) == ("", False)  # the built-in model's latents are its own
    assert "No other VAE fits" in str(first.info)
    fits = vae.update(engine, "tiny-test", "soft-vae")
    assert (fits["value"], fits["interactive"]) == ("soft-vae", True)
    assert [value for _, value in fits["choices"]] == ["", "soft-vae"]
    assert vae.update(engine, "quick", "soft-vae")["value"] == ""
    kept = stored_fields.restore(engine, made, {"checkpoint": "tiny-test", "vae_name": "soft-vae"})
    assert kept[first]["value"] == "soft-vae"
    gone = stored_fields.restore(engine, made, {"checkpoint": "quick", "vae_name": "soft-vae"})
    assert gone[first]["value"] == ""
    engine.close()


def test_an_upscaler_can_be_chosen_where_there_is_one(tmp_path: Path) -> None:
    engine = FakeEngine(Gallery(tmp_path))
    with gr.Blocks():
        made = controls.build(engine, "text_to_image")
    first = made.fields["upscaler_name"]
    assert (first.value, first.interactive) == ("", False)
    assert "models/upscalers" in str(first.info)
    offer = upscaler.update(engine, "tiny-test", "small-world-4x")
    assert (offer["value"], offer["interactive"]) == ("small-world-4x", True)
    assert [value for _, value in offer["choices"]] == ["", "small-world-4x"]
    back = stored_fields.restore(engine, made, {"checkpoint": "tiny-test", "upscaler_name": "small-world-4x"})
    assert back[first]["value"] == "small-world-4x"
    gone = stored_fields.restore(engine, made, {"checkpoint": "tiny-test", "upscaler_name": "gone-4x"})
    assert gone[first]["value"] == ""
    engine.close()


# ---------------------------------------------------------------------------------------------------- endpoints


@pytest.mark.parametrize("kind", REQUEST_KINDS.values(), ids=REQUEST_KINDS)
def test_arguments_are_the_fields_of_the_request(kind: Any) -> None:
    arguments = api.parameters(kind)
    assert {p.name for p in arguments} == {f.name for f in fields(kind)}
    needed = [p.name for p in arguments if p.default is p.empty]
    assert needed == (["prompt"] if kind is TextToImage else ["image", "prompt"])
    assert [p.name for p in arguments if p.name == "mask"] == (["mask"] if kind.kind == "inpaint" else [])


def test_a_call_streams_steps_and_ends_with_files_and_everything_needed_to_make_them_again(client: Client) -> None:
    job = client.submit(
        "a fox", num_inference_steps=12, scheduler="Euler A", seed=5, num_images_per_prompt=2, api_name="/text_to_image"
    )
    answers = list(job)
    steps = [info for files, info in answers if info["state"] == "running"]
    assert len(steps) >= 3
    assert steps[-1]["preview"].startswith("data:image/jpeg;base64,")
    files, info = answers[-1]
    assert [Image.open(file).size for file in files] == [(128, 128)] * 2
    assert (info["state"], info["seeds"], info["seed"], info["scheduler"]) == ("finished", [5, 6], 5, "euler_a")
    again = {name: info["images"][1][name] for name in ("seed", "num_inference_steps", "scheduler", "noise_schedule")}
    second, _ = client.predict("a fox", **again, api_name="/text_to_image")
    assert Image.open(second[0]).tobytes() == Image.open(files[1]).tobytes()


def test_a_calls_result_says_what_of_the_prompt_was_not_understood(client: Client) -> None:
    _, info = client.predict("a ${fox} cat", num_inference_steps=2, api_name="/text_to_image")
    assert info["state"] == "finished"
    assert [note[:5] for note in info["notes"]] == ['"${fo']
    assert client.predict("a fox", num_inference_steps=2, api_name="/text_to_image")[1]["notes"] == []
    dropped = client.predict("a f\x07ox", num_inference_steps=2, negative_prompt="\x00", api_name="/text_to_image")[1]
    assert dropped["notes"] == [
        "U+0007 is a control character and is left out.",
        "In the negative prompt, U+0000 is a control character and is left out.",
    ]


def test_a_picture_can_be_the_start(client: Client, tmp_path: Path) -> None:
    start = tmp_path / "start.png"
    Image.new("RGB", (64, 64), "teal").save(start)
    files, info = client.predict(
        image=handle_file(str(start)), prompt="a whale", strength=0.5, seed=1, api_name="/image_to_image"
    )
    assert len(files) == 1
    assert (info["kind"], info["strength"]) == ("image_to_image", 0.5)


def test_a_mask_or_a_larger_canvas_is_inpainted(
    served: tuple[gr.Blocks, str, FakeEngine], client: Client, tmp_path: Path
) -> None:
    start, mask = tmp_path / "start.png", tmp_path / "mask.png"
    Image.new("RGB", (64, 64), "teal").save(start)
    Image.new("L", (64, 64), 255).save(mask)
    picture = handle_file(str(start))
    _, info = client.predict(
        image=picture, mask=handle_file(str(mask)), prompt="a whale", mask_fill="Noise", api_name="/inpaint"
    )
    assert (info["kind"], info["mask_fill"], info["strength"]) == ("inpaint", "noise", 1.0)
    _, info = client.predict(image=picture, prompt="a whale", extend_left=32, api_name="/inpaint")
    assert info["extend_left"] == 32
    with pytest.raises(
        AppError, match=r"mask: nothing is not allowed[.] Allowed: a painted mask, or an extended canvas"
    ):
        client.predict(image=picture, prompt="a whale", api_name="/inpaint")
    with pytest.raises(AppError, match=r"mask: .*/etc/passwd"):
        client.predict(image=picture, mask={"path": "/etc/passwd"}, prompt="x", api_name="/inpaint")


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"width": 513}, "width: 513 is not allowed. Allowed: whole numbers from 64 to 2048 in multiples of 8"),
        ({"num_inference_steps": 2.5}, "num_inference_steps: 2.5 is not allowed"),
        ({"variation_strength": None}, "variation_strength: None is not allowed"),
        ({"guidance_scale": [5]}, "guidance_scale: [5] is not allowed"),
        ({"scheduler": "foo", "seed": -7}, "seed: -7 is not allowed"),
        ({"checkpoint": "nowhere"}, "checkpoint: 'nowhere' is not allowed"),
        ({"prompt": "fail: oom"}, "The device ran out of memory."),
    ],
)
def test_errors_name_field_value_and_what_is_allowed(client: Client, bad: dict[str, Any], said: str) -> None:
    with pytest.raises(AppError) as caught:
        client.predict(**({"prompt": "x"} | bad), api_name="/text_to_image")
    assert said in str(caught.value)
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize("image", [{"path": "/etc/passwd"}, {"path": "../../etc/passwd"}, "abc", 7, {}])
def test_only_an_upload_can_be_the_start(client: Client, image: object) -> None:
    with pytest.raises(AppError) as caught:
        client.predict(image=image, prompt="x", api_name="/image_to_image")
    assert "an uploaded PNG, JPEG, WebP or GIF file" in str(caught.value)


@pytest.mark.parametrize(
    "image",
    [
        {"path": "http://127.0.0.1/x.png"},
        {"path": "http://203.0.113.1/x.png"},
        {"path": "x.png", "url": "http://203.0.113.1/x.png"},
        {"url": "https://studio.invalid/x.png", "meta": {"_type": "gradio.FileData"}},
        {"url": "data:,"},
    ],
)
def test_addresses_and_data_urls_are_refused_before_anything_runs(
    served: tuple[gr.Blocks, str, FakeEngine], client: Client, image: object
) -> None:
    jobs = len(served[2].asked)
    with pytest.raises((AppError, httpx.HTTPStatusError)), addresses_asked() as addresses:
        client.predict(image=image, prompt="x", api_name="/image_to_image")
    assert addresses == [], "nothing is fetched"
    assert len(served[2].asked) == jobs


def test_controls_come_with_their_pictures(
    served: tuple[gr.Blocks, str, FakeEngine], client: Client, tmp_path: Path
) -> None:
    file = tmp_path / "map.png"
    Image.new("RGB", (64, 64), "teal").save(file)
    lines = {"model": "lines", "image": handle_file(str(file)), "preprocessor": "canny", "scale": 0.5}
    _, info = client.predict("steered", controls=[lines, lines | {"start": 0.5}], api_name="/text_to_image")
    assert [one["start"] for one in info["controls"]] == [0.0, 0.5]
    request = next(j.request for j in served[2].asked if j.request.prompt == "steered")
    assert [(c.model, c.preprocessor, c.scale) for c in request.controls] == [("lines", "canny", 0.5)] * 2
    assert request.controls[0].image == file.read_bytes()
    for bad, said in (
        (lines | {"scale": 3}, "controls: scale 3.0 of control 1 is not allowed. Allowed: numbers from 0 to 2"),
        (lines | {"image": {"path": "/etc/passwd"}}, "an uploaded PNG, JPEG, WebP or GIF file"),
        (lines | {"image": None}, "image nothing of control 1"),
        ("lines", "'lines' as control 1 is not allowed"),
    ):
        with pytest.raises(AppError) as caught:
            client.predict("x", controls=[bad], api_name="/text_to_image")
        assert said in str(caught.value)


def test_a_call_that_is_given_up_stops_its_run(served: tuple[gr.Blocks, str, FakeEngine], client: Client) -> None:
    _, _, engine = served
    job = client.submit("slow given up", num_inference_steps=150, api_name="/text_to_image")
    for _ in job:
        if len(job.outputs()) > 4:
            break
    job.cancel()
    mine = next(j for j in engine.asked if j.request.prompt == "slow given up")
    until = time.monotonic() + 10
    while mine.job.stop_reason is None and time.monotonic() < until:
        time.sleep(0.05)
    assert mine.job.stop_reason is not None


def test_a_broken_upload_is_named(client: Client, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(io.BytesIO(b"no picture").read())
    with pytest.raises(AppError, match=r"image: a file that begins with .* is not allowed\. Allowed: a PNG"):
        client.predict(image=handle_file(str(broken)), prompt="x", api_name="/image_to_image")


def test_compare_has_every_field_of_the_table_that_says_so(served: tuple[gr.Blocks, str, FakeEngine]) -> None:
    demo, _, _ = served
    ids = {str(block.elem_id) for block in demo.blocks.values()}
    drawn = {one.removeprefix("compare-") for one in ids if one.startswith("compare-")}
    assert {"num_inference_steps", "clip_skip", "strength", "noise_schedule"} <= set(FORM_ROWS)
    assert set(FORM_ROWS) <= drawn
    assert not {name for name, row in ROWS.items() if not row.is_compared} & drawn


def test_every_style_sheet_and_script_of_the_page_is_in_what_it_loads() -> None:
    page, replay = assets.source(assets.PAGE), assets.source(assets.REPLAY)
    for path in assets.ROOT.rglob("*.js"):
        name = path.relative_to(assets.ROOT).as_posix()
        if name == "static/head.js":  # runs before Gradio's scripts
            assert assets.read(name) in theme.head()
            continue
        if name == "static/language.js":  # behind the texts, before Gradio's scripts
            assert all(assets.read(name).encode() in assets.texts(one).content for one in language.TAGS)
            continue
        assert f"// {name}\n" in (replay if name == assets.REPLAY else page), name
    assert sorted(assets.STYLES) == sorted(
        path.relative_to(assets.ROOT).as_posix() for path in assets.ROOT.rglob("*.css")
    )
    assert assets.styles().address in theme.head()
    assert assets.script().address in blocks.html_block("sentence").js_on_load


def test_no_endpoint_runs_past_the_queue(served: tuple[gr.Blocks, str, FakeEngine]) -> None:
    demo, url, _ = served
    count = next(len(fn.inputs) for fn in demo.fns.values() if fn.api_name == "text_to_image")
    for way in ("run", "api"):
        answer = httpx.post(f"{url}gradio_api/{way}/text_to_image", json={"data": ["x", *[None] * (count - 1)]})
        assert answer.status_code == 404
        assert "join the queue" in answer.json()["detail"]
