"""The noise viewer on the product itself: guidance, forward process, words and attention of the built-in model."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import quiet
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
    expect(viewer.locator(".ls-kept")).to_contain_text(re.compile(r"takes away \d+(\.\d)? % of the noise"))


def test_a_picture_is_noised_to_any_t_without_asking_and_its_losses_are_measured(viewer: Page) -> None:
    viewer.get_by_role("tab", name="Forward process").click()
    slider = viewer.get_by_label("Noise it to t")
    expect(slider).to_be_visible()
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
    assert requests == []
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
    box = viewer.locator("[data-vae=original]").bounding_box()
    assert box
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
    apple = viewer.get_by_role("group", name="Words").get_by_role("button", name="apple")
    snow = viewer.get_by_role("group", name="Words").get_by_role("button", name="snow")
    snow.click()
    one = drawn(viewer, ".ls-heat")
    apple.click()
    assert drawn(viewer, ".ls-heat") != one
    before = viewer.locator(".ls-bar-row[data-word=apple] small").inner_text()
    box = viewer.locator(".ls-attended .ls-frame").bounding_box()
    assert box
    viewer.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    shares = viewer.eval_on_selector_all(".ls-bar-row small", "all => all.map((one) => Number(one.textContent))")
    assert abs(sum(shares) - 100) < 1
    assert viewer.locator(".ls-bar-row[data-word=apple] small").inner_text() != before
    viewer.mouse.move(5, 5)
    assert abs(shares[3] - float(viewer.locator(".ls-bar-row[data-word=apple] small").inner_text())) < 1e-6  # kept
    expect(viewer.locator(".ls-qkv tbody tr")).not_to_have_count(0)


def test_schedules_are_compared_before_anything_is_run(visitor: Visitor, url: str) -> None:  # noqa: F811
    page = visitor(url=url, width=1440, height=900)
    page.get_by_role("tab", name="Noise viewer").click()
    expect(page.locator(".ls-empty-note")).to_be_visible()
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
