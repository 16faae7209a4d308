"""The tab Models in Chromium, on models that are not there; and the picker that aims the fields at a model's kind."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Studio
from tests.ui.fake_models import MODELS

Visitor = Callable[..., Page]


@pytest.fixture(autouse=True)
def _models_as_new(studio: Studio) -> None:
    studio.engine.models.reset()


def opened(visitor: Visitor, **size: int) -> Page:
    page = visitor(**size)
    page.get_by_role("tab", name="Models").click()
    expect(page.locator(".ls-model")).to_have_count(len(MODELS))
    return page


def line(page: Page, name: str) -> Locator:
    return page.locator(".ls-model").filter(has=page.get_by_role("button", name=name, exact=True))


def test_everything_found_is_listed_with_what_it_is(visitor: Visitor) -> None:
    page = opened(visitor)
    expect(line(page, "dreamland-xl")).to_contain_text("SDXL · fp16 · 6.9 GB · stable-diffusion-webui/models")
    expect(line(page, "Small World")).to_contain_text("loaded")
    expect(line(page, "old-model")).to_contain_text("which could run code when it is read")
    expect(line(page, "mystery")).to_contain_text("no kind of model that the studio knows")
    expect(page.locator(".ls-memory-bar")).to_have_count(2)
    expect(page.locator(".ls-memory-bar").first).to_contain_text("models 30 MB of 24 GB")


def test_search_and_filters_narrow_the_list(visitor: Visitor) -> None:
    page = opened(visitor)
    page.get_by_role("searchbox", name="Search models").fill("xl webui")
    expect(page.locator(".ls-model")).to_have_count(1)
    page.get_by_role("searchbox", name="Search models").fill("nothing like this")
    expect(page.locator(".ls-models-none")).to_have_text("No model matches the search.")
    page.get_by_role("searchbox", name="Search models").fill("")
    page.locator(".ls-models-kinds").get_by_role("button", name="LoRAs 1").click()
    expect(page.locator(".ls-model-name")).to_have_text(["ink-lines"])
    page.locator(".ls-models-kinds").get_by_role("button", name="Not usable 3").click()
    expect(page.locator(".ls-model-name")).to_have_text(["old-model", "bare", "mystery"])
    page.locator(".ls-models-kinds").get_by_role("button", name="All 9").click()
    page.get_by_label("Family").select_option("SDXL")
    expect(page.locator(".ls-model-name")).to_have_text(["dreamland-xl", "ink-lines"])


def test_a_model_is_loaded_and_let_go(visitor: Visitor) -> None:
    page = opened(visitor)
    page.get_by_role("button", name="Load dreamland-xl").first.click()
    expect(line(page, "dreamland-xl")).to_contain_text("loaded")
    expect(line(page, "Small World")).to_contain_text("in RAM")
    expect(page.locator(".ls-memory-bar").first).to_contain_text("models 6.9 GB")
    page.get_by_role("button", name="Unload dreamland-xl").first.click()
    expect(page.get_by_role("button", name="Load dreamland-xl").first).to_be_visible()


def test_details_notes_and_a_corrected_prediction_type(visitor: Visitor, studio: Studio) -> None:
    page = opened(visitor)
    page.get_by_role("button", name="Small World", exact=True).click()
    drawer = page.get_by_role("complementary", name="Details")
    expect(drawer).to_contain_text("5c1ab9d0e2")
    expect(drawer).to_contain_text("128 × 128")
    drawer.get_by_label("Note").fill("good for tests")
    drawer.get_by_label("Note").blur()
    drawer.get_by_label("Predicts").select_option("v_prediction")
    expect(drawer.get_by_label("Predicts").locator("option").first).to_have_text("As the file says")
    model = studio.engine.models.all[MODELS[0].id]
    assert (model.note, model.prediction_type, model.prediction_corrected) == ("good for tests", "v_prediction", True)
    drawer.get_by_role("button", name="Close the details").click()
    expect(drawer).to_be_hidden()


def test_a_checkpoint_without_a_vae_is_given_one(visitor: Visitor, studio: Studio) -> None:
    page = opened(visitor)
    expect(line(page, "bare")).to_contain_text("needs a VAE")
    page.get_by_role("button", name="Choose a VAE for bare").click()
    drawer = page.get_by_role("complementary", name="Details")
    choice = drawer.get_by_label("VAE", exact=True)
    expect(choice).to_be_focused()
    expect(choice.locator("option")).to_have_text(["None: choose one", "soft-vae"])
    choice.select_option("soft-vae")
    expect(line(page, "bare").get_by_role("button", name="Load bare")).to_be_visible()
    bare = next(m for m in studio.engine.models.all.values() if m.name == "bare")
    assert studio.engine.models.all[bare.vae].name == "soft-vae"
    page.get_by_role("button", name="dreamland-xl", exact=True).click()
    expect(choice.locator("option")).to_have_text(["Its own"])


def test_a_pickle_is_converted(visitor: Visitor, studio: Studio) -> None:
    page = opened(visitor)
    page.get_by_role("button", name="Convert old-model safely").click()
    conversion = page.locator(".ls-conversion")
    expect(conversion).to_contain_text("old-model.ckpt")
    expect(conversion).to_contain_text("writing the safetensors file")
    expect(conversion.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "50")
    expect(page.get_by_role("button", name="Convert old-model safely")).to_have_count(0)
    models = studio.engine.models
    models.converted = [replace(models.converted[0], state="failed", message="It asks for os.system.")]
    expect(conversion).to_contain_text("not converted")
    expect(conversion).to_contain_text("It asks for os.system.")
    expect(page.get_by_role("button", name="Convert old-model safely")).to_be_visible()


def test_what_a_file_says_of_itself_is_text(visitor: Visitor) -> None:
    page = opened(visitor)
    page.get_by_role("button", name="Tiny <b>test</b>", exact=True).click()
    drawer = page.get_by_role("complementary", name="Details")
    expect(drawer.locator(".ls-model-picture")).to_have_js_property("naturalWidth", 96)
    drawer.get_by_text("The file's own metadata").click()
    expect(drawer).to_contain_text("<img src=x onerror=window.__xss=1>")
    assert not page.evaluate("window.__xss")


def test_new_files_come_without_a_restart(visitor: Visitor, studio: Studio) -> None:
    page = opened(visitor)
    models = studio.engine.models
    del models.all[MODELS[-1].id]
    expect(page.locator(".ls-model")).to_have_count(len(MODELS) - 1)
    page.get_by_role("button", name="Scan again").click()
    expect(page.get_by_role("button", name="Scan again")).not_to_have_attribute("aria-busy", "true")
    assert models.refreshed == 1


def test_on_a_phone_nothing_is_wider_than_the_screen(visitor: Visitor) -> None:
    page = opened(visitor, width=390, height=844)
    page.get_by_role("button", name="dreamland-xl", exact=True).click()
    expect(page.get_by_role("complementary", name="Details")).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    # What is wider than the screen may also be cut off in silence, which no scroll width tells.
    parts = page.locator(".ls-memory-track, .ls-model, .ls-models-tools").all()
    boxes = [box for part in parts if (box := part.bounding_box()) is not None]
    assert len(boxes) > len(MODELS)
    assert max(box["x"] + box["width"] for box in boxes) <= 390


def test_the_picker_aims_the_fields_at_the_models_kind_unless_they_were_changed(visitor: Visitor) -> None:
    page = visitor()

    def choose(label: str) -> None:
        page.locator("#text_to_image-checkpoint input").click()
        page.get_by_role("option", name=re.compile(re.escape(label))).click()

    steps = page.locator("#text_to_image-num_inference_steps input[type=number]")
    guidance = page.locator("#text_to_image-guidance_scale input[type=number]")
    width = page.locator("#text_to_image-width input")
    page.locator("#text_to_image-workspace").get_by_role("button", name="More").click()
    choose("Quick one")
    expect(width).to_have_value("512")
    expect(steps).to_have_value("4")
    expect(guidance).to_have_value("1")
    expect(page.locator("#text_to_image-scheduler input")).to_have_value("Euler a")
    landmarks = page.locator("#text_to_image-workspace .ls-landmarks button")
    expect(landmarks.filter(has_text="good")).to_have_text("good 4")
    expect(landmarks.filter(has_text="balanced")).to_have_count(0)
    guidance.fill("3")
    guidance.blur()
    choose("Small World")
    expect(width).to_have_value("128")
    expect(steps).to_have_value("25")
    expect(page.locator("#text_to_image-scheduler input")).to_have_value("DPM++ 2M")
    expect(guidance).to_have_value("3")
    expect(landmarks.filter(has_text="good")).to_have_text("good 25")
    landmarks.filter(has_text="balanced").click()
    expect(guidance).not_to_have_value("3")


def test_what_is_chosen_is_loaded_at_once_and_the_page_says_so(visitor: Visitor, studio: Studio) -> None:
    page = visitor()
    engine = studio.engine
    engine.switching.set()
    try:
        page.locator("#text_to_image-checkpoint input").click()
        page.get_by_role("option", name=re.compile("Quick one")).click()
        expect(page.locator(".ls-engine")).to_have_text("Loading quick 40 %")
        expect(page.locator("#text_to_image-generate")).to_have_text("Generate when the model is loaded")
        assert engine.prepared[-1] == "quick"
        engine.switching.clear()
        expect(page.locator(".ls-engine")).to_have_text("Small World is ready")
        expect(page.locator("#text_to_image-generate")).to_have_text("Generate")
    finally:
        engine.switching.clear()


def test_the_picker_of_compare_aims_its_fields_too(visitor: Visitor, studio: Studio) -> None:
    page = visitor()
    page.get_by_role("tab", name="Compare").click()
    page.locator("#compare-workspace").get_by_role("button", name="What stays the same").click()
    page.locator("#compare-checkpoint input").click()
    page.get_by_role("option", name=re.compile("Quick one")).click()
    expect(page.locator("#compare-width input")).to_have_value("512")
    expect(page.locator("#compare-num_inference_steps input[type=number]")).to_have_value("4")
    expect(page.locator("#compare-scheduler input")).to_have_value("Euler a")
    assert studio.engine.prepared[-1] == "quick"


def test_a_repository_is_looked_at_and_fetched_from(visitor: Visitor) -> None:
    page = opened(visitor)
    page.get_by_text("Add from Hugging Face").click()
    page.get_by_label("owner/model, or its address").fill("gated/one")
    page.get_by_role("button", name="Show files").click()
    expect(page.locator(".ls-models-message")).to_have_text("gated/one is gated. Give a token.")
    page.get_by_label("Token, for gated models").fill("secret")
    page.get_by_role("button", name="Show files").click()
    expect(page.locator(".ls-hub-files li")).to_have_count(2)
    page.get_by_role("button", name="Download 1 file, 2.0 GB").click()
    download = page.locator(".ls-hub-download")
    expect(download).to_contain_text("gated/one · small.safetensors")
    expect(download).to_contain_text("1.0 GB of 2.0 GB · 50 MB/s")
    page.get_by_role("button", name="Cancel the download of gated/one").click()
    expect(download).to_contain_text("cancelled")


def test_a_file_is_added_by_link_and_two_checkpoints_are_merged(visitor: Visitor) -> None:
    page = opened(visitor)
    page.get_by_text("Add by link").click()
    link = page.get_by_label("https://… of a file, or of a model on Civitai")
    link.fill("http://civitai.com/models/7")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator(".ls-models-message")).to_contain_text("Allowed: an address that begins with https://")
    expect(link).to_have_value("http://civitai.com/models/7")
    link.fill("https://civitai.com/models/7")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator(".ls-hub-download")).to_contain_text("civitai.com/models/7 · dream.safetensors")
    expect(link).to_have_value("")
    page.get_by_text("Merge checkpoints").click()
    form = page.locator(".ls-merge-form")
    expect(form.get_by_label("A", exact=True)).to_have_value("tiny-testxxxxxxx")
    expect(form.get_by_label("C", exact=True)).to_be_hidden()
    form.get_by_label("B", exact=True).select_option("dreamland-xl")
    form.get_by_label("w", exact=True).fill("0.3")
    expect(form.get_by_label("Name", exact=True)).to_have_attribute("placeholder", "0.7(tiny-test) + 0.3(dreamland-xl)")
    form.get_by_label("Method", exact=True).select_option("add_difference")
    expect(form.get_by_label("C", exact=True)).to_be_visible()
    form.get_by_label("Method", exact=True).select_option("weighted_sum")
    form.get_by_label("Name", exact=True).fill("dreams")
    form.get_by_role("button", name="Merge").click()
    merge = page.locator(".ls-merge")
    expect(merge).to_contain_text("dreams")
    expect(merge).to_contain_text("writing · 0.7(tiny-test) + 0.3(dreamland-xl)")
    expect(merge.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "50")
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]  # type: ignore[index]
    page.get_by_role("button", name="Stop merging dreams").click()
    expect(merge).to_contain_text("stopped; nothing of it is kept")
