"""What axe-core finds on each tab and in each state, light and dark, English and Chinese: nothing. And what a person
meets who uses the keyboard, a screen reader, a phone or large type, or a network without https."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from studio.ui import text
from tests.browser.conftest import MODULES, quiet, ready
from tests.browser.test_other_tabs import png
from tests.browser.test_page import finished, prompt, stage

Visitor = Callable[..., Page]
CASES = Path(__file__).parents[1] / "cases"
# A tab's own name => what is in sight where it is open
TABS = {
    "text_to_image": "#text_to_image-stage .ls-stage",
    "image_to_image": "#image_to_image-stage .ls-stage",
    "inpaint": "#inpaint-stage .ls-stage",
    "noise_viewer": ".ls-viewer",
    "compare": ".cmp",
    "library": ".ls-library",
    "learn": ".ls-learn",
    "models": ".ls-models",
}
# Where the last element ends; a page that hides what sticks out is too wide as well
RIGHT = """() => {
  const clipped = (one) => one && one !== document.body
    && (getComputedStyle(one).overflowX !== 'visible' || clipped(one.parentElement));
  return Math.max(document.documentElement.scrollWidth, ...[...document.querySelectorAll('body *')]
    .filter((one) => one.getClientRects().length && !clipped(one.parentElement))
    .map((one) => Math.floor(one.getBoundingClientRect().right)));
}"""
# The next Tab begins at the page's start
# Every visible element that Tab stops at, but for those that arrow keys reach within a group.
STOPS = """() => [...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex="0"]')]
  .filter((one) => !one.disabled && one.tabIndex >= 0 && one.type !== 'radio' && one.checkVisibility({
    visibilityProperty: true, opacityProperty: true }) && one.getClientRects().length
    && !one.closest('[inert], [aria-hidden=true]'))"""
FIRST = "document.body.tabIndex = -1; document.body.focus()"


def violations(page: Page) -> list[str]:
    """Rule and place of everything axe objects to."""
    found = Axe().run(page).response["violations"]
    return [
        f"{rule['id']}: {node['target']} {node['html'][:120]} {node['failureSummary']}"
        for rule in found
        for node in rule["nodes"]
    ]


def open_tab(page: Page, name: str) -> None:
    """Opens a tab by its own name, in any language and at any width."""
    page.evaluate(f"async (name) => {MODULES}['static/opening.js'].openTab(name)", name)
    expect(page.locator(TABS[name])).to_be_visible()


def in_language(page: Page, language: str) -> Page:
    if language != text.DEFAULT_LANGUAGE:
        page.evaluate("(language) => window.studioLanguage.choose(language)", language)
        page.reload()
        ready(page)
    return page


def run(page: Page, words: str) -> None:
    prompt(page).fill(words)
    page.locator("#text_to_image-generate").click()


def open_share(page: Page) -> Locator:
    """The owner's panel with all its parts unfolded."""
    page.locator(".ls-header-button:visible").first.click()
    dialog = page.locator("dialog[open]")
    expect(dialog.locator("details")).not_to_have_count(1)
    dialog.evaluate("(one) => one.querySelectorAll('details').forEach((part) => { part.open = true; })")
    expect(dialog.locator("#ls-programs-name")).to_be_visible()
    return dialog


def open_sheet(page: Page) -> None:
    """What a picture of another program says."""
    page.locator(".ls-sheet-choose + input").set_input_files(CASES / "a1111_nomodel.png")
    expect(page.locator("dialog[open] .ls-sharing-main")).to_be_visible()


def open_upscaling(page: Page) -> None:
    """The dialog that enlarges the picture on the stage, with fields for a size."""
    stage(page).locator(".ls-actions button:visible").nth(2).click()
    page.locator("#ls-upscaling-how").select_option("size")
    expect(page.locator("dialog[open] .ls-upscaling-becomes")).not_to_be_empty()


def open_drawer(page: Page) -> None:
    """The drawer of LoRAs with one in use, and a prompt whose tokens are shown."""
    workspace = page.locator("#text_to_image-workspace")
    workspace.locator(".ls-helper-open", has_text="LoRA").click()
    workspace.locator(".ls-card").first.click()
    expect(workspace.locator(".ls-used input")).to_be_visible()
    page.locator("#text_to_image-prompt .ls-count").click()
    expect(page.locator("#text_to_image-prompt .ls-piece").first).to_be_attached()


def open_presets(page: Page) -> None:
    """The box of presets with one of them, whose name is being changed, and one more."""
    block = page.locator("#text_to_image-presets")
    block.locator(".ls-helper-open").click()
    for name in ("One", "Two"):
        block.locator(".ls-preset-box > .ls-style-row input[type=text]").fill(name)
        page.keyboard.press("Enter")
        expect(block.locator(".ls-chip").filter(has_text=name)).to_be_visible()
    block.locator(".ls-style-delete").first.click()
    expect(block.locator(".ls-chips input")).to_be_focused()


# Each theme and each language once on every run; the other two pairs where there is time.
@pytest.mark.parametrize(
    ("theme", "language"),
    [
        ("light", "en"),
        ("dark", "zh"),
        pytest.param("dark", "en", marks=pytest.mark.slow),
        pytest.param("light", "zh", marks=pytest.mark.slow),
    ],
)
def test_axe_finds_nothing_on_any_tab_and_in_any_state(visitor: Visitor, theme: str, language: str) -> None:
    page = in_language(visitor(query=f"?__theme={theme}"), language)
    found = {}
    run(page, "slow fox")
    expect(stage(page)).to_have_attribute("data-state", "running")
    found["running"] = violations(page)
    finished(page)
    page.wait_for_timeout(300)  # the button's colours change slowly
    found["finished"] = violations(page)
    open_upscaling(page)
    found["upscaling"] = violations(page)
    page.keyboard.press("Escape")
    stage(page).locator(".ls-actions button:visible").nth(3).click()  # to the noise viewer
    expect(page.locator(".ls-where")).to_be_visible()
    for name in TABS:
        open_tab(page, name)
        quiet(page)
        found[name] = violations(page)
    page.locator(".ls-model-name").first.click()
    found["details of a model"] = violations(page)
    open_share(page)
    found["share"] = violations(page)
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.locator("dialog[open] .ls-keys").first).to_be_visible()
    found["shortcuts"] = violations(page)
    page.keyboard.press("Escape")
    open_tab(page, "text_to_image")
    open_sheet(page)
    found["a picture's settings"] = violations(page)
    page.keyboard.press("Escape")
    open_drawer(page)
    found["drawer"] = violations(page)
    open_presets(page)
    found["presets"] = violations(page)
    page.keyboard.press("Escape")
    for _ in range(2):
        block = page.locator("#text_to_image-presets")
        block.locator(".ls-style-delete").nth(1).click()
        expect(block.locator(".ls-preset-note button")).to_be_visible()
    expect(block.locator(".ls-style-delete")).to_have_count(0)
    run(page, "fail: oom")
    expect(stage(page)).to_have_attribute("data-state", "failed")
    found["failed"] = violations(page)
    page.locator("#text_to_image-seed input").fill("no number")
    page.locator("#text_to_image-generate").click()
    expect(page.locator(".ls-problem").first).to_be_visible()
    found["a field is wrong"] = violations(page)
    assert {name: faults for name, faults in found.items() if faults} == {}


def test_every_control_of_every_tab_is_reached_by_keyboard_both_ways_and_shows_that_it_is(visitor: Visitor) -> None:
    page = visitor()
    run(page, "a fox")
    finished(page)
    stage(page).locator(".ls-actions button:visible").nth(3).click()
    expect(page.locator(".ls-where")).to_be_visible()
    for name in TABS:
        open_tab(page, name)
        quiet(page)
        stops = page.evaluate(f"({STOPS})().length")
        page.evaluate(FIRST)
        page.evaluate("window.visited = new Set(); window.unseen = []; window.ended = false")
        for _ in range(stops + 20):
            page.keyboard.press("Tab")
            ended = page.evaluate(
                """() => {
                  const here = document.activeElement;
                  if (here === document.body || window.visited.has(here)) return (window.ended = true);
                  window.visited.add(here);
                  const looks = (one) => one && getComputedStyle(one);
                  const marked = [here, here.parentElement, here.nextElementSibling].some((one) => one
                    && ((looks(one).outlineStyle !== 'none' && parseFloat(looks(one).outlineWidth) > 0)
                    || looks(one).boxShadow !== 'none'));
                  if (!marked) window.unseen.push(here.outerHTML.slice(0, 160));
                }"""
            )
            if ended:
                break
        missed = page.evaluate(
            f"({STOPS})().filter((one) => !window.visited.has(one)).map((one) => one.outerHTML.slice(0, 160))"
        )
        assert (name, page.evaluate("window.ended"), missed, page.evaluate("window.unseen")) == (name, True, [], [])
        assert (name, differing_stops_backwards(page)) == (name, [])


def differing_stops_backwards(page: Page) -> list[list[str]]:
    """Where Shift+Tab from the last of `window.visited` stops elsewhere than Tab did, the other way round: the stop
    and what has the focus. Empty where it leads to the first one."""
    count = page.evaluate(
        """() => {
          window.forwards = [...window.visited];
          window.forwards.at(-1).focus();
          window.backwards = [];
          window.noteFocus ??= (event) => window.backwards.push(event.target);
          document.addEventListener('focusin', window.noteFocus);
          return window.forwards.length;
        }"""
    )
    for _ in range(count - 1):
        page.keyboard.press("Shift+Tab")
    found: list[list[str]] = page.evaluate(
        """() => {
          const text = (one) => one?.outerHTML.slice(0, 160) ?? 'nothing';
          return window.forwards.slice(0, -1).reverse().map((one, k) => [one, window.backwards[k]])
            .filter(([stop, focused]) => stop !== focused).map((pair) => pair.map(text));
        }"""
    )
    return found[:3]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_nothing_is_wider_than_a_phone_or_a_screen_at_two_hundred_percent(visitor: Visitor, language: str) -> None:
    page = in_language(visitor(width=640, height=400), language)
    wide = {}

    def look(name: str) -> None:
        for width, height in ((640, 400), (390, 844)):
            page.set_viewport_size({"width": width, "height": height})
            right = page.evaluate(RIGHT)
            if right > width:
                wide[name, width] = right
            dialog = page.locator("dialog[open]")
            assert not dialog.count() or dialog.evaluate("(one) => one.scrollWidth <= one.clientWidth")

    run(page, "a fox")
    finished(page)
    open_upscaling(page)
    look("upscaling")
    page.keyboard.press("Escape")
    for name in TABS:
        open_tab(page, name)
        look(name)
    open_share(page)
    look("share")
    page.keyboard.press("Escape")
    page.locator(".ls-open-keys").click()
    look("shortcuts")
    page.keyboard.press("Escape")
    open_sheet(page)
    look("a picture's settings")
    assert wide == {}


def test_the_first_stop_leads_past_the_header_to_the_content(visitor: Visitor) -> None:
    page = visitor()
    page.evaluate(FIRST)
    page.keyboard.press("Tab")
    link = page.get_by_role("link", name="Skip to the content")
    expect(link).to_be_focused()
    in_front = "(one, box = one.getBoundingClientRect()) => document.elementFromPoint(box.x + 9, box.y + 9) === one"
    assert link.evaluate(f"(one) => ({in_front})(one)")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("!!document.activeElement.closest('#text_to_image-workspace')")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_question_mark_opens_the_sheet_of_keys_but_not_in_a_field(visitor: Visitor, language: str) -> None:
    page = in_language(visitor(), language)
    words = text.column(language)
    dialog = page.get_by_role("dialog", name=words["shortcuts.title"])
    prompt(page).focus()
    page.keyboard.type("why?")
    expect(prompt(page)).to_have_value("why?")
    expect(dialog).to_have_count(0)
    button = page.locator("#text_to_image-generate")
    button.focus()
    page.keyboard.press("?")
    expect(dialog).to_contain_text(words["shortcuts.does.start"])
    expect(dialog).to_contain_text(words["shortcuts.app.menu"])
    page.keyboard.press("?")
    expect(dialog).to_have_count(1)
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(button).to_be_focused()


def test_keys_that_are_letters_can_be_turned_off_for_good(visitor: Visitor) -> None:
    page = visitor()
    page.locator("#text_to_image-generate").focus()
    page.keyboard.press("?")
    box = page.locator("dialog[open] .ls-letter-keys input")
    expect(box).to_be_checked()
    box.uncheck()
    page.keyboard.press("Escape")
    page.reload()
    ready(page)
    page.locator("#text_to_image-generate").focus()
    page.keyboard.press("?")
    expect(page.locator("dialog[open]")).to_have_count(0)
    page.locator(".ls-open-keys").click()
    expect(box).not_to_be_checked()


def test_a_run_is_announced_in_few_sentences(visitor: Visitor) -> None:
    page = visitor()
    page.evaluate(
        """() => {
          const line = document.getElementById('ls-announcements');
          window.spoken = [];
          new MutationObserver(() => window.spoken.push(line.textContent)).observe(line, { childList: true });
        }"""
    )
    run(page, "slow fox")
    finished(page)
    spoken = page.evaluate("window.spoken")
    assert spoken[-1].startswith("Done in"), spoken
    middle = ["25 percent done.", "50 percent done.", "75 percent done."]
    assert [one for one in spoken if "percent" in one] == middle
    assert "The run has started." in spoken
    assert len(spoken) <= 8, spoken
    run(page, "fail: oom")
    expect(stage(page)).to_have_attribute("data-state", "failed")
    message = stage(page).locator(".ls-message").inner_text()
    assert page.evaluate("window.spoken.at(-1)") in message


def test_the_page_can_be_installed(visitor: Visitor) -> None:
    page = visitor()
    session: Any = page.context.new_cdp_session(page)
    manifest = session.send("Page.getAppManifest")
    assert manifest["url"].endswith("/manifest.webmanifest")
    assert manifest["errors"] == []
    reasons = [error["errorId"] for error in session.send("Page.getInstallabilityErrors")["installabilityErrors"]]
    assert set(reasons) <= {"in-incognito"}  # a browser of tests is a private one


INSECURE = """
Object.defineProperty(window, 'isSecureContext', { get: () => false });
for (const name of ['clipboard', 'mediaDevices']) Object.defineProperty(navigator, name, { get: () => undefined });
"""


def test_without_https_copying_selects_the_camera_takes_a_file_and_both_say_why(visitor: Visitor) -> None:
    page = visitor(script=INSECURE)
    words = text.COLUMNS["en"]
    run(page, "a fox by plain http")
    finished(page)
    stage(page).locator(".ls-copy").click()
    expect(stage(page).locator(".ls-copy-note")).to_have_text(words["copying.insecure"])
    assert page.evaluate("getSelection().toString()").strip() == "a fox by plain http"
    open_tab(page, "image_to_image")
    camera = page.locator("#image_to_image-workspace .ls-camera-open")
    with page.expect_file_chooser() as chooser:
        camera.click()
    expect(page.locator("#image_to_image-workspace .ls-camera-note")).to_have_text(words["camera.insecure"])
    chooser.value.set_files({"name": "cat.png", "mimeType": "image/png", "buffer": png()})
    expect(page.locator("#image_to_image-image img")).to_be_visible()
    page.locator("body").press("?")
    expect(page.locator("dialog[open]")).to_contain_text(words["shortcuts.app.insecure"])


def test_nothing_moves_for_who_wants_no_motion(visitor: Visitor) -> None:
    page = visitor()
    page.emulate_media(reduced_motion="reduce")
    run(page, "slow fox")
    expect(stage(page)).to_have_attribute("data-state", "running")
    assert page.evaluate("document.getAnimations().map((one) => one.effect.target.outerHTML.slice(0, 120))") == []


def test_a_reload_opens_the_tab_one_was_in(visitor: Visitor) -> None:
    page = visitor()
    expect(page.get_by_role("tab", name="Text to image")).to_have_attribute("aria-selected", "true")
    page.get_by_role("tab", name="Noise viewer").click()
    page.reload()
    page.wait_for_selector("#tabs [role=tab]")
    expect(page.get_by_role("tab", name="Noise viewer")).to_have_attribute("aria-selected", "true")
    page.get_by_role("tab", name="Text to image").click()
    ready(page)


@pytest.mark.parametrize(("language", "label"), [("en", "Noise viewer"), ("zh", "噪声查看器")])
def test_a_tab_that_an_older_page_stored_by_its_english_label_opens(
    visitor: Visitor, language: str, label: str
) -> None:
    page = visitor()
    page.evaluate("sessionStorage.setItem('latent-studio-tab', 'Noise viewer')")
    page.evaluate("(language) => window.studioLanguage.choose(language)", language)
    page.reload()
    expect(page.get_by_role("tab", name=label)).to_have_attribute("aria-selected", "true")
