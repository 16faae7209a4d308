"""Fields that not every run has: the noise at each step follows the scheduler, the second pass may have its own."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.conftest import Studio

Visitor = Callable[..., Page]


def choose(page: Page, label: str) -> None:
    box = page.locator("#text_to_image-scheduler input")
    box.click()
    page.get_by_role("option", name=label, exact=True).click()


def test_the_fold_of_the_noise_has_what_the_scheduler_has(visitor: Visitor, studio: Studio) -> None:
    page = visitor()
    workspace = page.locator("#text_to_image-workspace")
    fold = workspace.get_by_role("button", name="Noise at each step")
    expect(fold).to_have_count(0)  # DPM++ 2M adds none
    page.locator("#text_to_image-workspace").get_by_role("button", name="More").click()
    choose(page, "Euler")
    fold.click()
    expect(page.locator("#text_to_image-s_churn input")).to_be_visible()
    expect(page.locator("#text_to_image-eta input")).to_have_count(0)
    page.locator("#text_to_image-s_churn input").fill("5")
    choose(page, "Euler a")
    expect(page.locator("#text_to_image-s_churn input")).to_have_count(0)
    page.locator("#text_to_image-eta input").fill("0.5")
    workspace.get_by_role("button", name="Hires fix").click()
    workspace.get_by_role("button", name="Its own prompt, scheduler and guidance").click()
    page.locator("#text_to_image-hires_prompt textarea").fill("a wolf")
    page.locator("#text_to_image-prompt textarea").fill("a fox with noise")
    before = len(studio.engine.asked)
    page.locator("#text_to_image-generate").click()
    expect(page.locator("#text_to_image-stage")).to_contain_text("seed", ignore_case=True, timeout=20_000)
    request = studio.engine.asked[before].request
    assert (request.scheduler, request.eta, request.s_churn, request.hires_prompt) == ("euler_a", 0.5, 5.0, "a wolf")
