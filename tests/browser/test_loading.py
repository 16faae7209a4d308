"""A block whose script fails or does not come says so in its place, and the others go on; and the page's mathematics
equals Python's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from studio.diffusion.quantities import noise_terms, x0_terms
from studio.ui import assets
from studio.ui.text import say
from tests.browser.conftest import MODULES, Studio

Visitor = Callable[..., Page]
SCRIPT = "**/studio-static/page.*.js"


@pytest.fixture
def page(browser: Browser, studio: Studio) -> Any:
    context = browser.new_context()
    yield context.new_page()
    context.close()


def test_blocks_say_that_their_script_did_not_come(page: Page, studio: Studio) -> None:
    page.route(SCRIPT, lambda route: route.abort())
    page.goto(studio.url)
    page.get_by_role("tab", name="Text to image").wait_for()
    for block in ("#text_to_image-stage", ".ls-top"):
        expect(page.locator(f"{block} .ls-broken")).to_have_text(say("page.absent"))


def test_a_block_that_fails_says_so_and_the_others_are_drawn(page: Page, studio: Studio) -> None:
    source = assets.source(assets.PAGE)
    broken = source.replace("\n  stage,\n", "\n  stage: () => { throw new Error('broken on purpose'); },\n", 1)
    assert broken != source
    serve(page, studio, broken)
    expect(page.locator("#text_to_image-stage .ls-broken")).to_have_text(say("page.failed"))
    expect(page.locator(".ls-header h1")).to_have_text("Latent Studio")
    expect(page.locator(".ls-landmarks").first).to_be_visible()
    expect(page.locator(".ls-top .ls-broken")).to_have_count(0)


def test_a_panel_that_fails_says_so_in_its_place(page: Page, studio: Studio) -> None:
    act = """
      const panel = modules["viewer/static/panels.js"].PANELS.find((one) => one.name === "timeline");
      panel.build = () => { throw new Error("broken on purpose"); };"""
    serve(page, studio, assets.source(assets.PAGE) + act)
    page.get_by_role("tab", name="Noise viewer").click()
    expect(page.locator(".ls-viewer .ls-broken")).to_have_text(say("viewer.panel.failed"))
    expect(page.locator(".ls-viewer .ls-empty-note")).to_be_visible()


def serve(page: Page, studio: Studio, source: str) -> None:
    """Open the page with another script."""

    def answer(route: Route) -> None:
        route.fulfill(body=source, content_type="text/javascript")

    page.route(SCRIPT, answer)
    page.goto(studio.url)
    page.get_by_role("tab", name="Text to image").wait_for()


# ------------------------------------------------------------------------------------------------ the mathematics


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_the_pages_quantities_are_pythons(visitor: Visitor, kind: str) -> None:
    rng = np.random.default_rng(3)
    x_t, output = rng.normal(size=(2, 48)).astype(np.float32)
    a, s = 0.6, 0.8
    found = visitor().evaluate(
        f"""async ([type, x_t, output, a, s]) => {{
          const {{ predictedX0, predictedNoise }} = {MODULES}["viewer/static/quantities.js"];
          const at = {{ x_t, a, s }};
          return [[...predictedX0(type, at, output)], [...predictedNoise(type, at, output)]];
        }}""",
        [kind, x_t.tolist(), output.tolist(), a, s],
    )
    for values, terms in zip(found, (x0_terms(a, s, kind), noise_terms(a, s, kind))):
        assert terms is not None
        np.testing.assert_allclose(values, terms.of_input * x_t + terms.of_output * output, atol=2e-6)


def test_guidance_is_u_plus_w_times_the_difference(visitor: Visitor) -> None:
    rng = np.random.default_rng(4)
    cond, uncond = rng.normal(size=(2, 32)).astype(np.float32)
    for w in (0.0, 1.0, 5.5, 12.0):
        found = visitor().evaluate(
            f"""async ([model_cond, model_difference, w]) =>
              [...{MODULES}["viewer/static/quantities.js"].guided({{ model_cond, model_difference }}, w)]""",
            [cond.tolist(), (cond - uncond).tolist(), w],
        )
        np.testing.assert_allclose(found, uncond + w * (cond - uncond), atol=2e-5)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0.8, 0.9, 1.0], "They are apart from the first step on: by 0.800 there, by 1.000 at the end"),
        ([0.0, 0.1, 0.6, 1.0], "half of the last difference is there at 67 % of the way"),
        ([0.0, 0.5, 0.0], "They end alike: the largest difference on the way is 0.500"),
    ],
)
def test_where_two_runs_part_is_said_truly(visitor: Visitor, values: list[float], words: str) -> None:
    said = visitor().evaluate(
        f"""async ([points, words]) => {MODULES}["compare/static/curve.js"].sentenceOf(points, words)""",
        [
            [{"level": float(k), "value": value} for k, value in enumerate(values)],
            {key: say(f"compare.{key}") for key in ("curve.said", "curve.apart", "curve.meet")},
        ],
    )
    assert words in said
