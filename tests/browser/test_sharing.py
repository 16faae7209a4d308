"""Sharing in the browser: the owner's panel, the guests' link, a guest's own link, and the end of it all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from studio.picture.gallery import Gallery
from studio.web.access import Access
from tests.browser.test_accessibility import violations
from tests.share_stand_ins import wait_for
from tests.ui.fake_app import Served, launch
from tests.ui.fake_engine import FakeEngine
from tests.web.test_sharing import Tunnel


class Here(Tunnel):
    """A tunnel whose far end is this machine under another name."""

    link = "http://localhost"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Served, str]]:
    engine = FakeEngine(Gallery(tmp_path))
    page, url = launch(engine, engine.gallery, access=Access(), open_tunnel=Here)
    yield page, url
    page.close()
    engine.close()


def open_page(browser: Browser, url: str) -> Page:
    page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.goto(url)
    return page


def ready(page: Page) -> None:
    expect(page.get_by_role("button", name="Generate").first).to_be_visible(timeout=60_000)


def test_an_owner_shares_a_guest_comes_in_and_it_ends(browser: Browser, served: tuple[Served, str]) -> None:
    _, url = served
    owner = open_page(browser, url)
    owner.get_by_role("button", name="Share", exact=True).click(timeout=60_000)
    panel = owner.get_by_role("dialog", name="Share this studio")
    expect(panel).to_contain_text("They see no files, folders, settings")
    expect(panel).to_contain_text("A public link ends after a week at most")
    panel.get_by_label("For").select_option("1 hour")
    panel.get_by_role("button", name="Share", exact=True).click()
    link = panel.get_by_label("Guests' link", exact=True).input_value(timeout=30_000)
    assert link.startswith("http://localhost/enter#")
    picture = panel.get_by_role("img", name="QR code of the guests' link")
    wait_for(lambda: picture.evaluate("(image) => image.complete && image.naturalWidth") > 0)
    panel.get_by_role("button", name="Copy").click()
    expect(panel.locator("small[role=status]").first).not_to_be_empty()

    guest = open_page(browser, link.replace("http://localhost/", url))
    ready(guest)
    assert guest.url == url, "the key is gone from the address"
    assert "#" not in guest.evaluate("history.length > 0 && location.href")
    expect(guest.get_by_role("button", name="Share", exact=True)).to_be_hidden()
    guest.get_by_role("button", name="My link").click()
    mine = guest.get_by_role("dialog", name="My link").get_by_label("My link").input_value(timeout=30_000)
    phone = open_page(browser, mine)
    ready(phone)
    [one] = {c["value"] for p in (guest, phone) for c in p.context.cookies() if c["name"] == "studio_owner"}

    row = panel.get_by_role("row").nth(1)
    expect(row.get_by_role("button", name="Show guest")).to_be_visible(timeout=30_000)
    assert one not in panel.inner_text()
    panel.get_by_role("button", name="End sharing").click()
    expect(panel.get_by_role("button", name="Share", exact=True)).to_be_visible()
    assert guest.evaluate("fetch('/config').then((answer) => answer.headers.get('x') || answer.status)") == 200
    owner.keyboard.press("Escape")
    expect(panel).to_be_hidden()


def test_a_link_that_is_over_says_so(browser: Browser, served: tuple[Served, str]) -> None:
    _, url = served
    owner = open_page(browser, url)
    ready(owner)
    owner.evaluate("fetch('/share', {method: 'POST', body: JSON.stringify({action: 'begin'})})")
    late = open_page(browser, f"{url}enter#{'a' * 22}")
    expect(late.get_by_role("status")).to_have_text("This link no longer works. Ask the owner for a new one.")
    assert late.url == f"{url}enter"


def test_a_token_is_made_copied_once_and_revoked_with_the_keyboard(
    browser: Browser, served: tuple[Served, str]
) -> None:
    _, url = served
    owner = open_page(browser, url)
    owner.get_by_role("button", name="Share", exact=True).click(timeout=60_000)
    panel = owner.get_by_role("dialog", name="Share this studio")
    panel.get_by_text("Programs", exact=True).focus()
    owner.keyboard.press("Enter")
    expect(panel).to_contain_text("There are no tokens yet.")
    panel.get_by_label("Name", exact=True).focus()
    owner.keyboard.type("my <b>script</b>")
    owner.keyboard.press("Enter")
    token = panel.get_by_label("Token of my <b>script</b>", exact=True).input_value(timeout=30_000)
    assert owner.evaluate("document.activeElement.value") == token, "ready to be copied"
    for theme in ("light", "dark"):
        owner.evaluate(f"document.body.classList.toggle('dark', {str(theme == 'dark').lower()})")
        assert violations(owner) == [], theme
    owner.set_viewport_size({"width": 360, "height": 740})
    assert panel.evaluate("(box) => box.scrollWidth <= box.clientWidth"), "no scrolling sideways on a phone"
    row = panel.get_by_role("row").nth(1)
    expect(row).to_contain_text("my <b>script</b>")
    expect(row).to_contain_text("never")
    header = {"authorization": f"Bearer {token}"}
    assert owner.request.get(f"{url}models-found", headers=header).json()["manages"] is False
    row.get_by_role("button", name="Revoke the token of my <b>script</b>").focus()
    owner.keyboard.press("Enter")
    expect(panel).to_contain_text("There are no tokens yet.")
    assert panel.get_by_role("textbox", name="Token of").count() == 0
    assert owner.request.get(f"{url}models-found", headers=header).status == 401


def shared(browser: Browser, url: str) -> tuple[Page, Locator]:
    """The owner's page, and its panel once there is a link."""
    owner = open_page(browser, url)
    owner.get_by_role("button", name="Share", exact=True).click(timeout=60_000)
    panel = owner.get_by_role("dialog", name="Share this studio")
    panel.get_by_role("button", name="Share", exact=True).click()
    expect(panel.get_by_label("Guests' link", exact=True)).to_be_visible(timeout=30_000)
    return owner, panel


def invited(browser: Browser, url: str, panel: Locator) -> Page:
    """A guest's page."""
    link = panel.get_by_label("Guests' link", exact=True).input_value()
    guest = open_page(browser, link.replace("http://localhost/", url))
    ready(guest)
    return guest


def test_the_owner_decides_by_keyboard_which_models_and_words_guests_may_use(
    browser: Browser, served: tuple[Served, str]
) -> None:
    _, url = served
    owner, panel = shared(browser, url)
    fold = panel.locator("summary").filter(has_text="Models")
    expect(fold).to_contain_text("all")
    fold.focus()
    owner.keyboard.press("Enter")
    panel.get_by_label("Only those that I tick").focus()
    owner.keyboard.press("Space")
    for name in ("small-world-128", "ink-lines"):
        panel.get_by_role("checkbox", name=name).first.focus()
        owner.keyboard.press("Space")
    expect(fold).to_contain_text(" of ")
    words = panel.locator("summary").filter(has_text="Refused words")
    words.focus()
    owner.keyboard.press("Enter")
    panel.get_by_label("Refused words").fill("red fox\n裸体")
    panel.get_by_role("button", name="Save").click()
    expect(words).to_contain_text("2")
    expect(panel.get_by_text("Saved.")).to_be_visible()

    guest = invited(browser, url, panel)
    field = guest.locator("#text_to_image-checkpoint input")
    expect(field).not_to_have_value("")
    field.click()
    choices = guest.locator("#text_to_image-checkpoint [role=option]")
    expect(choices.first).to_be_visible()
    texts = choices.all_inner_texts()
    assert not [text for text in texts if "Small World" in text], "it is the one that was unticked"
    assert [text for text in texts if "Tiny" in text]
    listed = guest.evaluate("fetch('/models-found').then((answer) => answer.text())")
    assert "small-world-128" not in listed


def the_branch_fields_of_a_guest_are_fixed_too(guest: Page) -> None:
    """In a lesson whose seed is fixed, and whose guidance is not."""
    guest.locator("#text_to_image-prompt textarea").fill("a whale")
    guest.get_by_role("button", name="Generate").first.click()
    guest.locator("#text_to_image-stage").get_by_role("button", name="Noise viewer").click(timeout=30_000)
    guest.get_by_role("button", name="Show everything").click(timeout=30_000)
    guest.get_by_role("tab", name="Branches").click()
    branches = guest.locator(".ls-branches")
    expect(branches.get_by_label("Other noise around the same predicted picture")).to_be_disabled(timeout=30_000)
    expect(branches.get_by_label("Guidance")).to_be_enabled()
    expect(branches.get_by_text("The owner has fixed the grey fields")).to_be_visible()
    guest.get_by_role("tab", name="Text to image").click()


def test_a_lesson_and_the_wall_reach_a_guest_and_end_with_the_share(
    browser: Browser, served: tuple[Served, str]
) -> None:
    _, url = served
    owner, panel = shared(browser, url)
    panel.locator("summary").filter(has_text="Lesson").click()
    for field, value in (("Steps", "12"), ("Seed", "7")):
        panel.get_by_label("Lock a field").select_option(field)
        panel.get_by_label(field, exact=True).fill(value)
    panel.get_by_label("Example prompts").fill("a red fox\na whale")
    panel.get_by_role("button", name="Save").click()
    expect(panel.locator("summary").filter(has_text="Lesson")).to_contain_text("locked: 2, examples: 2")

    guest = invited(browser, url, panel)
    steps = guest.locator("#text_to_image-num_inference_steps input[type=number]")
    expect(steps).to_have_value("12")
    expect(steps).to_be_disabled()
    expect(guest.locator("#text_to_image-seed textarea, #text_to_image-seed input")).to_have_value("7")
    expect(guest.locator("#text_to_image-num_inference_steps")).to_contain_text("Fixed by the owner")
    expect(guest.get_by_role("button", name="a whale").first).to_be_visible()
    the_branch_fields_of_a_guest_are_fixed_too(guest)

    panel.locator("summary").filter(has_text="Wall").click()
    panel.get_by_label("Show guests' new pictures").check()
    guest.reload()
    expect(guest.get_by_text("Shared wall: all guests and the owner see")).to_be_visible(timeout=30_000)
    expect(guest.get_by_role("button", name="a whale").first).to_be_visible()
    guest.locator("#text_to_image-prompt textarea").fill("a red fox")
    guest.get_by_role("button", name="Generate").first.click()
    guest.get_by_role("button", name="Wall", exact=True).click()
    expect(guest.get_by_role("dialog", name="Wall")).to_contain_text("Guest 1 · you", timeout=30_000)
    expect(guest.get_by_role("dialog", name="Wall").get_by_role("img", name="a red fox")).to_be_visible()
    panel.get_by_role("button", name="Open the wall").click()
    owner.get_by_role("button", name="Take down the picture of guest 1").click()
    expect(owner.get_by_role("dialog", name="Wall")).to_contain_text("There is no picture on the wall yet.")
    owner.get_by_role("dialog", name="Wall").get_by_role("button", name="Close").click()
    panel.get_by_role("button", name="End sharing").click()
    expect(panel.locator("summary").filter(has_text="Lesson")).to_contain_text("none")
