"""What axe-core finds on each tab, in light and in dark: nothing. And what a reload keeps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import quiet, ready
from tests.browser.test_page import finished, generate, stage

Visitor = Callable[..., Page]


def violations(page: Page) -> list[str]:
    """Rule and place of everything axe objects to."""
    found = Axe().run(page).response["violations"]
    return [f"{rule['id']}: {node['target']} {node['html'][:120]}" for rule in found for node in rule["nodes"]]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_on_any_tab(visitor: Visitor, theme: str) -> None:
    page = visitor(query=f"?__theme={theme}")
    generate(page, "a fox")
    finished(page)
    found = {"finished": violations(page)}
    stage(page).get_by_role("button", name="Noise viewer").click()
    expect(page.locator(".ls-where")).to_be_visible()
    for tab in page.locator("#tabs [role=tab]:visible").all():
        tab.click()
        expect(tab).to_have_attribute("aria-selected", "true")
        quiet(page)
        found[tab.inner_text()] = violations(page)
    assert {name: faults for name, faults in found.items() if faults} == {}


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
