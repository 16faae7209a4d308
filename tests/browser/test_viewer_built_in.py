"""The noise viewer on the product itself: guidance, forward process, words and attention of the built-in model."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import place_of, quiet
from tests.browser.test_built_in_model import MODEL, url  # noqa: F401  (the fixture that serves the product)

pytestmark = pytest.mark.skipif(not MODEL.is_file(), reason="the built-in model is not in models/")

Visitor = Callable[..., Page]
# The record that the viewer shows; its quantities are functions of the page, so they are compared there.
RECORD = "const record = document.querySelector('.ls-viewer').record;"


@pytest.fixture
def viewer(visitor: Visitor, url: str) -> Page:  # noqa: F811
    """The viewer in expert mode, after a run of its own."""
    page = visitor(url=url, width=1440, height=900)
    page.get_by_role("tab", name="Noise viewer").click()
    page.locator("#noise_viewer-prompt input, #noise_viewer-prompt textarea").fill("a red apple in the snow")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator(".ls-where")).to_have_text("Evaluation 25 of 25", timeout=240_000)
    page.get_by_role("button", name="Expert").click()
    return page


def at(page: Page, evaluation: int) -> None:
    """Go to an evaluation, counted from 1."""
    page.get_by_role("slider", name="Evaluations of this run").focus()
    page.keyboard.press("Home")
    for _ in range(evaluation - 1):
        page.keyboard.press("ArrowRight")
    expect(page.locator(".ls-where")).to_have_text(f"Evaluation {evaluation} of 25")


def drawn(page: Page, canvas: str) -> str:
    return str(page.eval_on_selector(canvas, "(canvas) => canvas.toDataURL()"))


def test_run_takes_what_suits_the_checkpoint(viewer: Page) -> None:
    facts = viewer.evaluate(f"() => {{ {RECORD} return record.run; }}")
    assert (facts["guidance_scale"], facts["steps"], facts["scheduler"]) == (3.0, 25, "dpmpp_2m")
    assert (facts["width"], facts["height"]) == (128, 128)
    guided = viewer.evaluate(f"() => {{ {RECORD} return record.evaluations.map((one) => one.guidance_scale); }}")
    assert guided == [3.0] * 25
    expect(viewer.locator(".ls-viewer")).to_contain_text("guidance 3")
    # A newcomer's story ends with the picture, where the guess at it was.
    viewer.get_by_role("button", name="Beginner").click()
    picture = viewer.locator(".ls-pane canvas[data-quantity=picture]")
    expect(picture).to_be_visible(timeout=60_000)
    expect(viewer.locator(".ls-pane canvas[data-quantity=denoised]")).to_have_count(0)
    assert picture.evaluate("(canvas) => [canvas.width, canvas.height]") == [128, 128]
    # On a phone the timeline has fewer thumbnails, wide enough to be seen, and still leads to every evaluation.
    thumbnails = viewer.locator(".ls-timeline .ls-cells span")
    expect(thumbnails).to_have_count(25)
    viewer.set_viewport_size({"width": 390, "height": 844})
    expect(thumbnails).to_have_count(8)
    assert min(thumbnails.evaluate_all("(all) => all.map((one) => one.clientWidth)")) >= 39  # 1 px between two
    expect(thumbnails.locator("canvas")).to_have_count(8)
    viewer.set_viewport_size({"width": 1440, "height": 900})
    expect(thumbnails).to_have_count(25)
    at(viewer, 24)
    expect(picture).to_have_count(0)
    expect(viewer.locator(".ls-pane canvas[data-quantity=denoised]")).to_be_visible()


def test_what_if_is_the_recorded_picture_at_the_real_guidance_and_another_at_any_other(viewer: Page) -> None:
    viewer.get_by_role("tab", name="Guidance").click()
    at(viewer, 9)
    quiet(viewer)
    requests: list[str] = []
    viewer.on("request", lambda request: requests.append(request.url))
    assert drawn(viewer, "[data-guidance=what_if]") == drawn(viewer, "[data-guidance=real]")
    viewer.get_by_label("What if guidance were").fill("12")
    assert drawn(viewer, "[data-guidance=what_if]") != drawn(viewer, "[data-guidance=real]")
    viewer.locator(".ls-whatif .ls-tick").first.click()
    assert drawn(viewer, "[data-guidance=what_if]") == drawn(viewer, "[data-guidance=real]")
    assert requests == []
    worst = viewer.evaluate(
        f"""() => {{ {RECORD}
          let worst = 0;
          record.evaluations.forEach((entry, k) => {{
            const [real, other] = [record.latents(k, 'denoised'), record.whatIf(k, record.run.guidance_scale)];
            real.forEach((value, n) => {{ worst = Math.max(worst, Math.abs(value - other[n])); }});
          }});
          return worst;
        }}"""
    )
    assert worst < 1e-5


def test_the_equation_rebuilds_the_next_latents_from_what_the_page_shows(viewer: Page) -> None:
    at(viewer, 12)
    terms = viewer.eval_on_selector_all(
        ".ls-coefficient", "all => Object.fromEntries(all.map((one) => [one.dataset.term, one.textContent]))"
    )
    assert set(terms) == {"x_t", "x0", "x0_prev"}  # DPM++ 2M looks one evaluation back
    worst = viewer.evaluate(
        f"""() => {{ {RECORD}
          const k = 11, e = record.evaluations[k].step_equation;
          const [x, x0] = [record.latents(k, 'x_t'), record.latents(k, 'denoised')];
          const before = record.latents(k - 1, 'denoised');
          let worst = 0;
          record.latents(k + 1, 'x_t').forEach((value, n) => {{
            worst = Math.max(worst, Math.abs(value - e.x_t * x[n] - e.x0 * x0[n] - e.x0_prev * before[n]));
          }});
          return worst;
        }}"""
    )
    assert worst < 0.01  # the record is in half precision
    expect(viewer.locator(".ls-equation-rows")).to_contain_text(re.compile(r"removes \d+(\.\d)? % of the noise"))


def test_a_picture_is_noised_to_any_t_without_asking_and_its_losses_are_measured(viewer: Page) -> None:
    viewer.get_by_role("tab", name="Forward process").click()
    slider = viewer.get_by_label("Noise it to t")
    expect(slider).to_be_visible()
    for line in ("right caption", "no caption", "wrong caption"):  # without a click
        expect(viewer.locator(".ls-loss .ls-line-label", has_text=line)).to_have_count(1, timeout=120_000)
    quiet(viewer)
    requests: list[str] = []
    viewer.on("request", lambda request: requests.append(request.url))
    seen = set()
    for t in ("0", "200.5", "600", "999"):
        slider.fill(t)
        seen.add((drawn(viewer, "[data-forward=pixels]"), drawn(viewer, "[data-forward=latent]")))
    assert len(seen) == 4
    # At the last t nothing but the noise is left: standard deviation 1.
    expect(viewer.locator("figure", has=viewer.locator("[data-forward=latent]")).locator("small")).to_contain_text(
        re.compile(r"std (0\.9\d|1\.0\d)")
    )
    assert not [one for one in requests if "/ask/error" not in one]  # the map of the loss follows the slider
    viewer.get_by_role("button", name="Measure").click()
    expect(viewer.locator("figure", has=viewer.locator("[data-forward=error]")).locator("small")).to_contain_text(
        "mean squared error", timeout=120_000
    )
    for line in ("right caption", "no caption", "wrong caption"):
        expect(viewer.locator(".ls-loss .ls-line-label", has_text=line)).to_have_count(1)


def test_a_picture_goes_through_the_vae_and_patch_and_cell_are_one(viewer: Page) -> None:
    viewer.get_by_role("tab", name="VAE").click()
    panel = viewer.get_by_role("tabpanel", name="VAE")
    expect(panel).to_contain_text("48 times fewer", timeout=60_000)
    expect(panel).to_contain_text(re.compile(r"PSNR \d\d\.\d dB"))
    box = place_of(viewer.locator("[data-vae=original]"))
    viewer.mouse.move(box["x"] + box["width"] * (5.5 / 16), box["y"] + box["height"] * (2.5 / 16))
    expect(panel.locator(".ls-values")).to_contain_text("pixels from 40, 16: 8 × 8 × 3 = 192 numbers are kept in")
    expect(panel.locator(".ls-channels .ls-cross").first).to_be_visible()


def test_words_are_tokens_and_their_attention_adds_up_to_all_of_it(viewer: Page) -> None:
    viewer.get_by_role("tab", name="Words").click()
    expect(viewer.locator(".ls-token[data-kind=content]")).to_have_count(6)
    expect(viewer.locator(".ls-token").first).to_contain_text("begin")
    viewer.get_by_role("button", name="+ 69 × padding").click()
    expect(viewer.locator(".ls-token")).to_have_count(77)
    viewer.get_by_role("tab", name="Attention").click()
    at(viewer, 11)
    expect(viewer.get_by_role("button", name="Share among words")).to_have_attribute("aria-pressed", "true")
    apple = viewer.get_by_role("group", name="Words").get_by_role("button", name="apple")
    snow = viewer.get_by_role("group", name="Words").get_by_role("button", name="snow")
    snow.click()
    one = drawn(viewer, ".ls-heat")
    apple.click()
    assert drawn(viewer, ".ls-heat") != one
    before = viewer.locator(".ls-bar-row[data-word=apple] small").inner_text()
    box = place_of(viewer.locator(".ls-attended .ls-frame"))
    viewer.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    shares = viewer.eval_on_selector_all(
        ".ls-bar-row[data-word] small", "all => all.map((one) => Number(one.textContent))"
    )
    assert abs(sum(shares) - 100) < 1
    assert viewer.locator(".ls-bar-row[data-word=apple] small").inner_text() != before
    viewer.mouse.move(5, 5)
    assert abs(shares[3] - float(viewer.locator(".ls-bar-row[data-word=apple] small").inner_text())) < 1e-6  # kept
    expect(viewer.locator(".ls-qkv tbody tr")).not_to_have_count(0)
    # Which word will be lost: a line for each word that names something, and a mark where one is at risk.
    expect(viewer.locator(".ls-lost .ls-line-label")).to_have_text(["at risk", "red", "apple", "snow"])
    measures = viewer.evaluate(f"() => {{ {RECORD} return record.evaluations[10].lost_words; }}")
    limit = viewer.evaluate(f"() => {{ {RECORD} return record.run.lost_above[0]; }}")
    risky = [word for word, one in zip(["a", "red", "apple", "in", "the", "snow"], measures) if one > limit]
    named = [word for word in risky if word in ("red", "apple", "snow")]
    expect(viewer.locator(".ls-lost .ls-risk b")).to_have_text(named)
    expect(viewer.locator(".ls-word[data-risk]")).to_have_count(len(named))


def test_a_words_weight_changes_the_noise_at_once_and_the_run_without_it_is_shown_beside(viewer: Page) -> None:
    asked: list[str] = []
    viewer.on("request", lambda request: asked.append(request.url) if "/ask/" in request.url else None)
    viewer.get_by_role("tab", name="Weights").click()
    panel = viewer.get_by_role("tabpanel", name="Weights")
    at(viewer, 3)
    expect(panel.locator(".ls-weights").get_by_role("slider")).to_have_count(6)
    expect(panel.get_by_role("button", name="Go on from evaluation 3 with these weights")).to_be_disabled()
    assert asked == []
    panel.get_by_label("Weight of “apple”").fill("0")
    expect(panel.locator("p[role=status]").first).to_contain_text("The predicted noise changes by", timeout=60_000)
    assert drawn(viewer, "[data-weights=weighted]") != drawn(viewer, "[data-weights=recorded]")
    assert len(asked) == 1
    panel.get_by_label("Up to evaluation").fill("10")
    panel.get_by_label("Word", exact=True).select_option(label="apple")
    panel.get_by_role("button", name="Run without “apple”").click()
    expect(panel.locator(".ls-effect p[role=status]")).to_contain_text("stands among the branches", timeout=240_000)
    assert drawn(viewer, "[data-weights=with]") != drawn(viewer, "[data-weights=without]")
    expect(panel.locator(".ls-effect .ls-curve")).to_have_count(1)
    panel.get_by_role("button", name="Go on from evaluation 3 with these weights").click()
    expect(viewer.locator(".ls-where")).to_have_text("Evaluation 25 of 25", timeout=240_000)
    changed = viewer.evaluate(f"() => {{ {RECORD} return record.run.branch.changed; }}")
    assert changed == {"word_weights": "2:0", "weights_until": 10}
    viewer.get_by_role("tab", name="Branches").click()
    expect(viewer.locator(".ls-tree")).to_contain_text("weights apple 0, up to evaluation 10")
    # Another word in the place of one, where these weights hold no more.
    viewer.get_by_role("tab", name="Weights").click()
    at(viewer, 20)
    swap = panel.get_by_role("button", name="Go on from evaluation 20 with the new word")
    expect(swap).to_be_disabled()
    panel.get_by_label("Word to swap").select_option("apple")
    panel.get_by_label("Word in its place").fill("house")
    panel.get_by_label("Keeps the layout for so many evaluations").fill("3")
    swap.click()
    expect(viewer.locator(".ls-where")).to_have_text("Evaluation 25 of 25", timeout=240_000)
    assert viewer.evaluate(f"() => {{ {RECORD} return record.run.branch.changed; }}") == {
        "swap": "apple>house",
        "swap_until": 22,
    }
    viewer.get_by_role("tab", name="Branches").click()
    expect(viewer.locator(".ls-tree")).to_contain_text("swap apple → house, layout up to 22")


def test_schedules_are_compared_before_anything_is_run(visitor: Visitor, url: str) -> None:  # noqa: F811
    page = visitor(url=url, width=1440, height=900)
    page.get_by_role("tab", name="Noise viewer").click()
    expect(page.locator(".ls-run-facts")).to_contain_text("a sample")
    machine = page.locator("#noise_viewer-viewer .ls-machine")
    expect(machine).to_contain_text("4×16×16")  # of the loaded model
    expect(machine).to_have_attribute("data-begin", "noise")
    drawn_lines = {name: machine.locator(f".ls-machine-{name}").count() for name in ("block", "time", "way", "skip")}
    # Arrows between seven blocks, t into each from its rail, a skip for each way down
    assert drawn_lines == {"block": 7, "time": 8, "way": 6, "skip": 3}
    expect(machine.locator(".ls-machine-diamond")).to_have_count(3)  # where the words go in
    machine.locator("[data-part=decoder]").click()
    expect(page.get_by_role("tab", name="VAE")).to_have_attribute("aria-selected", "true")
    machine.locator("[data-part=unet]").click()
    lines = page.locator(".ls-unet-lines")
    expect(lines.locator(".ls-unet-way")).to_have_count(8)  # in, seven blocks, out
    counts = [lines.locator(f".ls-unet-{name}").count() for name in ("skip", "time", "words")]
    assert counts == [3, 8, 4]  # t and the words each from a rail
    page.get_by_role("button", name="Hide the drawing").click()
    expect(machine).to_be_hidden()
    page.get_by_role("button", name="Beginner").click()
    page.get_by_role("button", name="Expert").click()
    page.get_by_role("tab", name="Schedules").click()
    panel = page.get_by_role("tabpanel", name="Schedules")
    expect(panel.locator("polyline")).to_have_count(3)
    panel.get_by_label("Scheduler").select_option("heun")
    panel.get_by_role("button", name="Draw").click()
    expect(panel.locator("polyline")).to_have_count(4)
    expect(panel.locator(".ls-line-label", has_text="Heun")).to_have_count(1)
    panel.get_by_role("button", name="t", exact=True).click()
    expect(panel.locator(".ls-line-label", has_text="training")).to_have_count(1)


def test_a_recorded_evaluation_is_looked_at_again_when_it_is_clicked(viewer: Page) -> None:
    """The VAE at rest, self-attention of a place, single heads, contours; and what the whole run cost to fetch."""
    asked: list[str] = []
    viewer.on("request", lambda request: asked.append(request.url) if "/ask/" in request.url else None)
    at(viewer, 20)
    fast = drawn(viewer, ".ls-pane canvas[data-quantity=denoised]")
    viewer.get_by_role("button", name="VAE", exact=True).click()
    for pane in viewer.locator(".ls-panes figcaption > small:nth-of-type(1)").all():
        expect(pane).to_have_text("the VAE itself", timeout=60_000)
    assert drawn(viewer, ".ls-pane canvas[data-quantity=denoised]") != fast
    assert len(asked) == 3
    viewer.get_by_role("button", name="Fast decoder").click()
    assert drawn(viewer, ".ls-pane canvas[data-quantity=denoised]") == fast
    viewer.get_by_role("tab", name="Attention").click()
    panel = viewer.get_by_role("tabpanel", name="Attention")
    asked.clear()
    colours = drawn(viewer, ".ls-attended .ls-heat")
    panel.get_by_role("button", name="Contours").click()
    assert drawn(viewer, ".ls-attended .ls-heat") != colours
    assert asked == []
    box = place_of(panel.locator(".ls-attended .ls-frame"))
    viewer.mouse.click(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.6)
    expect(panel.locator("[data-places]")).to_be_visible(timeout=60_000)
    expect(panel.locator(".ls-places small")).to_contain_text("from cell 9, 9: probability, 0")
    here = drawn(viewer, "[data-places]")
    viewer.mouse.click(box["x"] + box["width"] * 0.1, box["y"] + box["height"] * 0.1)
    expect(panel.locator(".ls-places small")).to_contain_text("from cell 1, 1")
    assert drawn(viewer, "[data-places]") != here
    assert len(asked) == 1, "another place of the same evaluation is here already"
    panel.get_by_role("button", name="Ask each head").click()
    expect(panel.locator(".ls-heads canvas")).to_have_count(4, timeout=60_000)
    at(viewer, 19)
    expect(panel.get_by_role("button", name="Ask at this evaluation")).to_be_visible()
    expect(panel.locator(".ls-heads")).to_be_hidden()
    viewer.get_by_role("tab", name="Words").click()
    words = viewer.get_by_role("tabpanel", name="Words")
    expect(words.locator(".ls-matrix rect")).to_have_count(8 * 8, timeout=60_000)
    expect(words.locator(".ls-plane circle")).to_have_count(8)
    fetched = viewer.evaluate(
        """performance.getEntriesByType('resource').filter((one) => one.name.includes('/record/'))
          .reduce((sum, one) => sum + one.encodedBodySize, 0)"""
    )
    assert 100_000 < fetched < 1_000_000, "half of what fifty evaluations may cost"


def test_a_run_is_left_unchanged_and_with_painted_latents_and_exported(viewer: Page) -> None:
    viewer.get_by_role("tab", name="Branches").click()
    panel = viewer.get_by_role("tabpanel", name="Branches")
    viewer.evaluate("window.before = document.querySelector('.ls-viewer').record")
    at(viewer, 12)
    panel.get_by_role("button", name="Go on from evaluation 12").click()
    expect(panel.locator(".ls-branch.ls-here")).to_contain_text("nothing changed", timeout=120_000)
    viewer.wait_for_function("document.querySelector('.ls-viewer').record.ended", timeout=120_000)
    same = f"""() => {{ {RECORD}
      const equal = (one, other) => one.length === other.length && one.every((value, k) => value === other[k]);
      return record !== window.before && record.evaluations.length === 25 && equal(record.clean, window.before.clean)
        && record.evaluations.every((entry, k) => equal(entry.x_t, window.before.evaluations[k].x_t));
    }}"""
    assert viewer.evaluate(same)
    at(viewer, 12)
    panel.get_by_label("Scheduler").select_option("heun")
    panel.get_by_role("button", name="Go on from evaluation 12").click()
    expect(viewer.locator(".ls-run-facts")).to_contain_text("DPM++ 2M, from 12 on Heun", timeout=120_000)
    viewer.wait_for_function("document.querySelector('.ls-viewer').record.ended", timeout=120_000)
    expect(viewer.locator(".ls-where")).to_have_text("Evaluation 38 of 38")  # eleven, and two each for all but the last
    assert not viewer.evaluate(same)
    expect(panel.locator(".ls-branch.ls-here")).to_contain_text("Heun")
    panel.locator(".ls-branch").first.click()
    expect(viewer.locator(".ls-where")).to_have_text("Evaluation 25 of 25")
    viewer.get_by_role("tab", name="Latent space").click()
    latent = viewer.get_by_role("tabpanel", name="Latent space")
    at(viewer, 5)
    latent.get_by_role("button", name="Paint on the latents").click()
    expect(latent.get_by_role("button", name="Go on from evaluation 5 with it")).to_be_disabled()
    before = drawn(viewer, "[data-latent=fast]")
    box = place_of(latent.locator(".ls-channels .ls-frame").first)
    viewer.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.3)
    viewer.mouse.down()
    viewer.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.5, steps=6)
    viewer.mouse.up()
    assert drawn(viewer, "[data-latent=fast]") != before
    latent.get_by_role("button", name="Clear").click()
    assert drawn(viewer, "[data-latent=fast]") == before
    viewer.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
    latent.get_by_role("button", name="Go on from evaluation 5 with it").click()
    viewer.get_by_role("tab", name="Branches").click()
    expect(panel.locator(".ls-branch.ls-here")).to_contain_text("numbers painted", timeout=120_000)
    viewer.wait_for_function("document.querySelector('.ls-viewer').record.ended", timeout=120_000)
    assert not viewer.evaluate(same)
    expect(panel.locator(".ls-branch")).to_have_count(4)
    viewer.get_by_role("tab", name="Export").click()
    links = viewer.get_by_role("tabpanel", name="Export").locator("a[download]")
    begins = {
        "mp4": b"ftyp",
        "webp": b"RIFF",
        "gif": b"GIF8",
        "sheet": b"\x89PNG",
        "csv": b"index,",
        "html": b"<!doctype",
    }
    for kind, beginning in begins.items():
        address = links.and_(viewer.locator(f"[data-kind={kind}]")).get_attribute("href")
        answer = viewer.request.get(f"{viewer.evaluate('location.origin')}{address}", timeout=120_000)
        assert answer.ok, kind
        assert beginning in answer.body()[:12], kind


def test_a_picture_that_was_noised_is_denoised_from_there(viewer: Page) -> None:
    viewer.get_by_role("tab", name="Forward process").click()
    slider = viewer.get_by_label("Noise it to t")
    expect(slider).to_be_visible(timeout=60_000)
    again = viewer.get_by_role("button", name=re.compile("Denoise from here"))
    expect(again).to_be_visible(timeout=60_000)
    slider.fill("400")
    label = again.inner_text()
    steps = int(re.sub(r"\D", "", label))
    assert 1 < steps < 25
    again.click()
    expect(viewer.locator(".ls-where")).to_have_text(f"Evaluation {steps} of {steps}", timeout=120_000)
    expect(viewer.locator(".ls-run")).to_have_text("a red apple in the snow")
    # The same with a picture from disk, larger than the model's own size, and other words.
    file = io.BytesIO()
    Image.linear_gradient("L").resize((400, 400)).convert("RGB").save(file, "PNG")
    viewer.locator("#ls-tab-panel-forward input[type=file]").set_input_files(
        {"name": "grey.png", "mimeType": "image/png", "buffer": file.getvalue()}
    )
    panel = viewer.get_by_role("tabpanel", name="Forward process")
    expect(panel).to_contain_text("grey.png")
    expect(again).to_be_visible(timeout=60_000)
    panel.get_by_label("Right caption").first.fill("a blue house")
    slider.fill("300")
    fewer = int(re.sub(r"\D", "", again.inner_text()))
    again.click()
    expect(viewer.locator(".ls-run")).to_have_text("a blue house", timeout=120_000)
    expect(viewer.locator(".ls-where")).to_have_text(f"Evaluation {fewer} of {fewer}", timeout=120_000)
    # It began at that picture: its first prediction is a grey gradient, darker above than below.
    top, bottom = viewer.evaluate(
        f"""() => {{ {RECORD}
          const canvas = document.querySelector('.ls-pane canvas[data-quantity=denoised]');
          document.querySelector('.ls-viewer').dispatchEvent(new KeyboardEvent('keydown', {{key: 'Home'}}));
          const pen = canvas.getContext('2d');
          const mean = (y) => pen.getImageData(0, y, canvas.width, 8).data.reduce((a, b) => a + b) / canvas.width / 8;
          return [mean(0), mean(canvas.height - 8)];
        }}"""
    )
    assert bottom - top > 60
