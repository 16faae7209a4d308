"""The noise viewer in Chromium, on an engine that only draws: moving through a run, panes, shaders, modes, address."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, Route, expect
from safetensors.numpy import load

from studio.engine.recorded_evaluation import RecordedAttention
from studio.engine.viewer import record_format, recorder
from tests.browser.conftest import MODULES, Studio, place_of, quiet, ready
from tests.browser.test_page import finished, generate, stage
from tests.engine.test_recorder import evaluation

Visitor = Callable[..., Page]


@pytest.fixture
def viewer(visitor: Visitor) -> Page:
    """The viewer at the end of a finished run."""
    page = visitor(width=1440, height=900)
    generate(page, "to look into")
    finished(page)
    stage(page).get_by_role("button", name="Noise viewer").click()
    expect(page.locator(".ls-where")).to_have_text("Evaluation 25 of 25")
    return page


def test_a_key_press_changes_the_picture_before_the_next_frame_and_asks_the_server_nothing(viewer: Page) -> None:
    quiet(viewer)
    requests: list[str] = []
    viewer.on("request", lambda request: requests.append(request.url))
    viewer.get_by_role("slider", name="Evaluations of this run").focus()
    viewer.keyboard.press("Home")
    # The picture is compared in the animation frame that follows the key: it is already the new one there.
    changed = viewer.evaluate(
        """() => new Promise((done) => {
          const canvas = document.querySelector('.ls-pane canvas[data-quantity=x_t]');
          const seen = [canvas.toDataURL()];
          const press = (left) => {
            if (!left) return done(seen.length === new Set(seen).size);
            document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true}));
            requestAnimationFrame(() => { seen.push(canvas.toDataURL()); press(left - 1); });
          };
          press(12);
        })"""
    )
    assert changed
    expect(viewer.locator(".ls-where")).to_have_text("Evaluation 13 of 25")
    assert requests == []


def test_shaders_and_plain_code_draw_the_same_pictures(viewer: Page) -> None:
    """The two are separate programs; they may differ by the rounding of one grey level."""
    found: dict[str, Any] = viewer.evaluate(
        f"async () => {{ const {{ Painter }} = {MODULES}['viewer/static/painter.js'];"
        """
          const [C, H, W] = [4, 7, 5];
          let seed = 1;
          const random = () => { seed = (seed * 16807) % 2147483647; return seed / 1073741823.5 - 1; };
          const many = (n, size) => Float32Array.from({length: n}, () => random() * size);
          const latents = many(C * H * W, 3);
          const decoder = {weight: many(192 * C * 9, 0.2), bias: many(192, 0.5), scale: 8};
          const painter = new Painter();
          const draw = (by, how) => {
            const canvas = document.createElement('canvas');
            how(by, canvas);
            by.finish();
            return {size: [canvas.width, canvas.height],
                    data: canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data};
          };
          const ways = {
            picture: (by, canvas) => by.picture(canvas, latents, [C, H, W], decoder),
            change: (by, canvas) => by.picture(canvas, latents, [C, H, W], decoder, {gain: 0.5, hasBias: false}),
            thumbnail: (by, canvas) => by.picture(canvas, latents, [C, H, W], decoder, {stride: 8}),
            tiles: (by, canvas) => by.tiles(canvas, latents, [C, H, W], 3),
            heat: (by, canvas) => by.heat(canvas, latents.subarray(0, H * W), [H, W], 2),
          };
          const out = {shaders: !!painter.shaders};
          for (const [name, how] of Object.entries(ways)) {
            const [one, other] = [draw(painter.shaders, how), draw(painter.plain, how)];
            let worst = 0;
            for (let k = 0; k < one.data.length; k++) worst = Math.max(worst, Math.abs(one.data[k] - other.data[k]));
            out[name] = {one: one.size, other: other.size, worst, colours: new Set(one.data).size};
          }
          return out;
        }"""
    )
    assert found.pop("shaders"), "this Chromium has no WebGL 2"
    sizes = {"picture": [40, 56], "change": [40, 56], "thumbnail": [5, 7], "tiles": [10, 14], "heat": [5, 7]}
    for name, size in sizes.items():
        assert found[name]["one"] == found[name]["other"] == size
        # Neighbouring colours of the signed and the sequential map are up to five levels apart.
        assert found[name]["worst"] <= (1 if name in ("picture", "change", "thumbnail") else 5), name
        assert found[name]["colours"] > 20, name


def test_all_pictures_of_a_step_are_one_call_of_the_shaders_and_those_of_plain_code(viewer: Page) -> None:
    found: dict[str, Any] = viewer.evaluate(
        """() => {
          const { painter } = document.querySelector('.ls-viewer');
          const canvases = () => [...document.querySelectorAll('.ls-viewer .ls-pane canvas[data-quantity]')];
          const pixels = () => canvases().map((canvas) =>
            canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data);
          const press = (key) => {
            const event = new KeyboardEvent('keydown', {key, bubbles: true});
            document.querySelector('.ls-timeline').dispatchEvent(event);
          };
          const { gl } = painter.shaders;
          const draw = gl.drawArraysInstanced.bind(gl);
          let pictures = [];
          gl.drawArraysInstanced = (...asked) => { pictures.push(asked[3]); return draw(...asked); };
          press('Home');
          press('ArrowRight');
          const plain = pixels();
          const before = pictures.length;
          painter.isPlain = false;
          press('Home');
          pictures = [];
          press('ArrowRight');
          const shaders = pixels();
          painter.isPlain = true;
          let worst = 0;
          plain.forEach((data, k) => data.forEach((value, at) => {
            worst = Math.max(worst, Math.abs(value - shaders[k][at]));
          }));
          return {before, pictures, panes: canvases().length, worst};
        }"""
    )
    assert found["before"] == 0, "without a GPU no picture is read back"
    assert len(found["pictures"]) == 1
    assert found["pictures"][0] >= found["panes"] >= 3
    assert found["worst"] <= 1


def test_a_newcomer_gets_three_panes_and_sentences_and_an_expert_everything(viewer: Page) -> None:
    expect(viewer.locator(".ls-panes .ls-pane")).to_have_count(3)
    gloss = viewer.locator(".ls-gloss[data-caption='pane.x_t']")
    expect(gloss).to_contain_text(
        "The noisy latents the network is given. They begin as pure noise. Their colours are wild"
    )
    expect(viewer.get_by_role("tab", name="Latent space")).to_be_hidden()
    pane = viewer.locator(".ls-panes .ls-pane").first
    expect(pane.locator(".ls-how")).to_be_hidden()  # "fast decoder, as is"
    expect(pane.locator(".ls-size-of")).to_be_hidden()  # RMS
    expect(viewer.locator(".ls-numbers")).to_be_hidden()
    expect(viewer.locator(".ls-schedule small")).to_have_text("share of picture, %")
    assert str(viewer.locator(".ls-where").get_attribute("title")).startswith(
        "An evaluation is one call of the network"
    )
    assert viewer.evaluate("document.querySelector('.ls-viewer').painter.isPlain"), "no GPU here: plain code is quicker"
    viewer.get_by_role("button", name="Show everything").click()
    expect(pane.locator(".ls-how")).to_be_visible()
    expect(viewer.locator(".ls-numbers abbr[title]")).to_have_count(9)
    hows = viewer.locator(".ls-picks-decoder button:visible")
    assert all(hows.evaluate_all("(all) => all.map((one) => one.title)"))  # "fast decoder" is explained on hover
    # Noise has less contrast and a hue of its own, until somebody wants it as the decoder makes it.
    noise = viewer.locator(".ls-panes .ls-pane").nth(2)
    expect(noise.locator(".ls-how")).to_have_text("fast decoder, contrast × 0.30")
    expect(viewer.locator(".ls-panes .ls-noise-tone")).to_have_count(1)
    calm = noise.locator("canvas").first.evaluate("(canvas) => canvas.toDataURL()")
    viewer.get_by_role("button", name="Calm noise").click()
    expect(noise.locator(".ls-how")).to_have_text("fast decoder")
    expect(viewer.locator(".ls-noise-tone")).to_have_count(0)
    assert noise.locator("canvas").first.evaluate("(canvas) => canvas.toDataURL()") != calm
    expect(gloss).to_be_hidden()
    viewer.get_by_role("tab", name="Latent space").click()
    expect(viewer.locator(".ls-channels .ls-pane")).to_have_count(4)
    expect(viewer.get_by_role("tabpanel", name="Latent space")).to_contain_text("48 times fewer")


def test_the_crosshair_is_shared_and_says_the_numbers_of_its_cell(viewer: Page) -> None:
    box = place_of(viewer.locator(".ls-panes canvas[data-quantity=denoised]"))
    viewer.mouse.move(box["x"] + box["width"] * (3.5 / 16), box["y"] + box["height"] * (9.5 / 16))
    for quantity in ("x_t", "denoised", "noise_pred"):
        pane = viewer.locator(".ls-pane", has=viewer.locator(f"canvas[data-quantity={quantity}]"))
        expect(pane.locator(".ls-values")).to_contain_text("cell 3, 9:")
        expect(pane.locator(".ls-loupe")).to_be_visible()
    # The fake engine hides rows from -1.5 to 1.5 in the first channel, columns in the second.
    values = viewer.locator(".ls-pane", has=viewer.locator("canvas[data-quantity=denoised]")).locator(".ls-values")
    expect(values).to_contain_text("0.30  −0.90")


def test_a_pane_shows_any_quantity_and_says_why_one_is_not_there(viewer: Page) -> None:
    viewer.get_by_role("button", name="Expert").click()
    third = viewer.get_by_label("What pane 3 shows")
    third.select_option("guidance")
    expect(viewer.locator(".ls-none").nth(2)).to_contain_text("with guidance 1 the network is called once")
    viewer.get_by_role("slider", name="Evaluations of this run").focus()
    viewer.keyboard.press("Home")
    third.select_option("change_x_t")
    expect(viewer.locator(".ls-panes .ls-pane").nth(2).locator("small").first).to_contain_text(
        "one scale for the whole run"
    )
    third.select_option("change_x0")
    expect(viewer.locator(".ls-none").nth(2)).to_contain_text("nothing before it")
    third.select_option("of_two.difference")
    expect(viewer.locator(".ls-none").nth(2)).to_be_hidden()
    viewer.get_by_role("group", name="Panes").get_by_role("button", name="4").click()
    expect(viewer.locator(".ls-panes .ls-pane")).to_have_count(4)


def test_the_address_keeps_what_is_shown(viewer: Page) -> None:
    viewer.get_by_role("button", name="Expert").click()
    viewer.get_by_role("button", name="Channels").click()
    viewer.get_by_label("What pane 2 shows").select_option("left_x0")
    viewer.get_by_role("tab", name="Latent space").click()
    viewer.get_by_role("slider", name="Evaluations of this run").focus()
    viewer.keyboard.press("Home")
    for _ in range(6):
        viewer.keyboard.press("ArrowRight")
    viewer.wait_for_function("/at=7&.*panes=x_t,left_x0,noise_pred&open=latent/.test(location.hash)")
    viewer.reload()
    ready(viewer)
    expect(viewer.locator(".ls-where")).to_have_text("Evaluation 7 of 25")
    expect(viewer.get_by_role("tab", name="Latent space")).to_have_attribute("aria-selected", "true")
    expect(viewer.get_by_label("What pane 2 shows")).to_have_value("left_x0")
    expect(viewer.get_by_role("button", name="Channels")).to_have_attribute("aria-pressed", "true")
    viewer.get_by_role("tab", name="Text to image").click()
    viewer.wait_for_function("location.hash === ''")


def test_a_run_is_left_at_an_evaluation_and_gone_on_with_otherwise(viewer: Page) -> None:
    viewer.get_by_role("button", name="Expert").click()
    viewer.get_by_role("tab", name="Branches").click()
    panel = viewer.get_by_role("tabpanel", name="Branches")
    viewer.get_by_role("slider", name="Evaluations of this run").focus()
    for _ in range(5):
        viewer.keyboard.press("ArrowLeft")
    asked: list[str] = []
    viewer.on("request", lambda request: asked.append(request.url) if "/branch/" in request.url else None)
    panel.get_by_label("Prompt", exact=True).fill("another way")
    levels = panel.get_by_label("Noise levels")
    panel.get_by_label("Scheduler").select_option("ddim")
    expect(levels.locator("option", has_text="Karras")).to_have_count(0)  # it works on whole timesteps
    panel.get_by_label("Scheduler").select_option("heun")
    expect(panel).to_contain_text("its first step is of order 1")
    levels.select_option("karras")
    panel.get_by_role("button", name="Go on from evaluation 20").click()
    expect(viewer.locator(".ls-run")).to_have_text("another way")
    expect(viewer.locator(".ls-where")).to_have_text("Evaluation 25 of 25")
    assert len(asked) == 1
    assert asked[0].endswith("?image=0&evaluation=19&prompt=another+way&scheduler=heun&noise_schedule=karras")
    expect(panel.locator(".ls-branch.ls-here")).to_have_count(1)
    # The same run with one change, its way beside this one's; what is refused is said where it is seen.
    viewer.get_by_role("tab", name="Trajectories").click()
    ways = viewer.get_by_role("tabpanel", name="Trajectories")
    ways.get_by_role("button", name="With another guidance").click()
    expect(ways.locator("polyline")).to_have_count(2)
    assert "&evaluation=0&guidance_scale=" in asked[-1]
    viewer.route("**/branch/**", lambda route: route.fulfill(status=409, body="Not now."))
    ways.get_by_role("button", name="The same with another seed").click()
    expect(panel).to_contain_text("Not now.")


def test_runs_stand_side_by_side_at_the_same_level_whatever_their_steps(viewer: Page) -> None:
    viewer.get_by_role("tab", name="Text to image").click()
    viewer.locator("#text_to_image-num_inference_steps input[type=number]").fill("10")
    generate(viewer, "in fewer steps")
    expect(stage(viewer).locator("img.ls-picture")).to_have_attribute("alt", "in fewer steps")
    finished(viewer)
    stage(viewer).get_by_role("button", name="Noise viewer").click()
    expect(viewer.locator(".ls-where")).to_have_text("Evaluation 10 of 10")
    viewer.get_by_role("button", name="Expert").click()
    viewer.get_by_role("tab", name="Side by side").click()
    panel = viewer.get_by_role("tabpanel", name="Side by side")
    panel.get_by_label("Add another of your runs…").select_option(index=1)
    expect(panel.locator(".ls-pane")).to_have_count(2)
    expect(panel.locator(".ls-pane").nth(1)).to_contain_text("to look into")
    viewer.get_by_role("slider", name="Evaluations of this run").focus()
    viewer.keyboard.press("Home")
    for _ in range(4):
        viewer.keyboard.press("ArrowRight")
    # sigma = 14.6 (1 - k / n)^3 + 0.03: the fifth of ten is the level of the eleventh of twenty-five.
    expect(panel.locator(".ls-pane").nth(0)).to_contain_text("evaluation 5, log-SNR")
    expect(panel.locator(".ls-pane").nth(1)).to_contain_text("evaluation 11, log-SNR")
    # The same two runs as ways in a plane, with a marker at this level on each.
    viewer.get_by_role("tab", name="Trajectories").click()
    ways = viewer.get_by_role("tabpanel", name="Trajectories")
    expect(ways.locator("polyline")).to_have_count(2)
    expect(ways.locator(".ls-marker")).to_have_count(2)
    expect(ways.locator(".ls-ways-runs li")).to_have_count(2)
    expect(ways.locator(".ls-ways-runs li").nth(1)).to_contain_text("“to look into”")
    assert ways.locator("canvas").count() >= 2
    boxes = ways.locator("canvas").evaluate_all("all => all.map((one) => one.getBoundingClientRect().toJSON())")
    for k, one in enumerate(boxes):
        for other in boxes[:k]:
            across = abs(one["x"] - other["x"]) >= one["width"] - 0.01
            assert across or abs(one["y"] - other["y"]) >= one["height"] - 0.01, "no picture covers another"
    ways.get_by_role("button", name="Remove").click()
    expect(ways.locator("polyline")).to_have_count(1)
    viewer.get_by_role("tab", name="Side by side").click()
    expect(panel.locator(".ls-pane")).to_have_count(1)


def test_the_files_of_a_run_are_links_to_what_was_chosen(viewer: Page) -> None:
    viewer.get_by_role("button", name="Expert").click()
    viewer.get_by_role("tab", name="Export").click()
    panel = viewer.get_by_role("tabpanel", name="Export")
    expect(panel.get_by_role("checkbox")).to_have_count(11)
    expect(panel.locator("a[download]:visible")).to_have_count(8)  # this engine records no attention
    panel.get_by_label("predicted noise", exact=True).uncheck()
    panel.get_by_label("frames per second").fill("12")
    panel.get_by_label("frames per second").press("Tab")
    film = panel.get_by_role("link", name="Film (MP4)").get_attribute("href")
    assert film is not None
    assert film.endswith("?kind=mp4&image=0&fps=12&how=fast&quantities=x_t%2Cdenoised")
    viewer.get_by_label("What pane 2 shows").select_option("change_x_t")
    viewer.get_by_role("button", name="Channels").click()
    panel.get_by_role("button", name="As in the panes above").click()
    film = panel.get_by_role("link", name="Film (GIF)").get_attribute("href")
    assert film is not None
    assert film.endswith("&how=channels&quantities=x_t%2Cnoise_pred%2Cchange_x_t")
    answer = viewer.request.get(f"{viewer.evaluate('location.origin')}{film}")
    assert answer.body()[:4] == b"GIF8"
    panel.get_by_role("button", name="Copy a link that makes this run again").click()
    link = panel.locator(".ls-run-link a")
    expect(link).to_be_visible()
    assert "?settings=text_to_image&v=1&prompt=to+look+into" in str(link.get_attribute("href"))
    assert "&seed=" in str(link.get_attribute("href"))


def test_a_large_run_comes_in_eight_bits_and_in_full_where_one_rests(
    viewer: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_format, "LEAN_BYTES", 0)
    kept = recorder.Recorder()
    decoder = (np.random.default_rng(5).normal(size=(192, 4, 3, 3)).astype(np.float32) / 6, np.zeros(192, np.float32))
    kept.begin("large", 0, {"total": 6, "prompt": "a large one", "prediction_type": "epsilon"}, decoder)
    maps = {"attention.down.8x8": np.full((3, 8, 8), 1 / 3, np.float16)}
    for index in range(6):
        two = np.random.default_rng(90 + index).normal(size=(2, 4, 8, 8)).astype(np.float32)
        seen = RecordedAttention(maps, 0, ())
        kept.add("large", 0, evaluation(index, outputs=two, guidance_scale=3.0, attention=seen), two[0])
    asked: list[str] = []

    def answer(route: Route) -> None:
        query = {
            name: int(value) for name, value in (one.split("=") for one in route.request.url.split("?")[1].split("&"))
        }
        asked.append(route.request.url.split("?")[1])
        data = kept.get("large", 0, query["since"], "finished", until=query.get("until"), lean="lean" in query)
        route.fulfill(body=data, content_type="application/octet-stream")

    viewer.route("**/record/**", answer)
    found = viewer.evaluate(
        f"async () => {{ const {{ Record }} = {MODULES}['viewer/static/record.js'];"
        """
          const record = new Record('large', 0);
          await record.grow();
          const take = (k) => [...record.latents(k, 'denoised')];
          const rough = [2, 3, 4, 5].map((k) => record.evaluations[k].rough);
          const before = [take(3), take(5)];
          const maps = [...record.evaluations[3].attention['down.8x8'].values];
          const there = await record.sharpen(3);
          const after = [2, 3, 4, 5].map((k) => record.evaluations[k].rough);
          return {rough, there, after, before, maps, full: [take(3), take(5)], many: record.evaluations.length,
                  bits: record.run.bits, state: record.run.state};
        }"""
    )
    assert asked == ["image=0&lean=1&since=0", "image=0&until=5&since=2"]
    assert (found["rough"], found["after"]) == ([True] * 4, [False, False, False, True])
    assert (found["there"], found["many"], found["bits"], found["state"]) == (True, 6, 8, "finished")
    assert np.abs(np.array(found["maps"]) - 1 / 3).max() < 1e-3
    exact = load(kept.get("large", 0, 0, "finished") or b"")
    output = exact["model_cond"].astype(float) + 2 * exact["model_difference"]
    for k, (before, full) in zip((3, 5), zip(found["before"], found["full"], strict=True), strict=True):
        wanted = ((exact["x_t"][k] - 0.8 * output[k]) / 0.6).ravel()
        assert 1e-4 < np.abs(before - wanted).max() < 0.2
        if k == 3:
            assert np.abs(full - wanted).max() < 1e-4


def test_a_run_is_watched_as_it_grows_until_somebody_goes_back(visitor: Visitor) -> None:
    page = visitor(width=1440, height=900)
    page.get_by_role("tab", name="Noise viewer").click()
    expect(page.locator(".ls-run-facts")).to_contain_text("a sample")
    page.evaluate(
        """() => {
          window.seen = [];
          let last = document.querySelector(".ls-where").textContent;
          new MutationObserver(() => {
            const where = document.querySelector(".ls-where");
            const marker = document.querySelector(".ls-schedule .ls-marker");
            if (!marker || where.textContent === last) return;
            last = where.textContent;
            const panes = [...document.querySelectorAll(".ls-pane canvas[data-quantity]")];
            window.seen.push([Number(marker.getAttribute("cx")), ...panes.map((one) => one.toDataURL())]);
          }).observe(document.body, { subtree: true, childList: true, characterData: true });
        }"""
    )
    page.locator("#noise_viewer-prompt").locator("input, textarea").fill("slow and seen")
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_function("window.seen.length >= 4", timeout=60_000)
    live = page.get_by_role("button", name="Follow")
    expect(live).to_have_attribute("aria-pressed", "true")
    markers, *panes = zip(*page.evaluate("window.seen"))
    assert list(markers) == sorted(set(markers)), "the marker of the schedule goes forward"
    assert len(panes) == 3
    assert len(set(panes[0])) == len(panes[0]), "x_t of each evaluation; this engine always predicts the same noise"
    page.get_by_role("slider", name="Evaluations of this run").focus()
    page.keyboard.press("Home")
    expect(live).to_have_attribute("aria-pressed", "false")
    page.wait_for_function("document.querySelector('.ls-viewer').record.ended", timeout=60_000)
    expect(page.locator(".ls-where")).to_have_text("Evaluation 1 of 25")


def test_on_a_phone_the_address_opens_the_viewer_out_of_the_menu(visitor: Visitor, studio: Studio) -> None:
    page = visitor(width=390, height=844)
    page.goto(f"{studio.url}?again#viewer:mode=beginner")
    expect(page.locator("#noise_viewer-prompt")).to_be_visible(timeout=60_000)


def test_the_studio_knows_when_a_visitor_opens_and_closes_the_page(visitor: Visitor, studio: Studio) -> None:
    """What Gradio's page keeps open as long as it lives: without it recordings would go half an hour late."""

    def told(visit: tuple[str, bool]) -> bool:
        end = time.monotonic() + 60
        while visit not in studio.engine.visits and time.monotonic() < end:
            page.wait_for_timeout(100)
        return visit in studio.engine.visits

    page = visitor()
    [cookie] = [one for one in page.context.cookies() if one.get("name") == "studio_owner"]
    owner = cookie.get("value", "")
    assert told((owner, True))
    assert (owner, False) not in studio.engine.visits
    page.goto("about:blank")
    assert told((owner, False))
