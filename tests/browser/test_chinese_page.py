"""The whole page in Chinese, as a visitor sees it: no English is left on it, no label is cut off, and the switch keeps
what was typed."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from studio.ui.text import column
from tests.browser.conftest import Studio, ready, serve

TABS = ("text_to_image", "image_to_image", "inpaint", "library", "noise_viewer", "compare", "models", "learn")
PROMPT = "(a fox:1.2, AND __wild__"  # three remarks are made of it

# Words that are the same in both languages: names, units, symbols, and what stands in brackets behind a Chinese term.
TERMS = re.compile(
    r"""\([A-Za-z][A-Za-z .-]*\)|English|Latent\ Studio|Small\ World|Hugging\ Face|ControlNet|LoRA|VAE|U-Net|CLIP
    |SHA-256|GAN
    |Karras|DPM\+\+|2M|Euler|CFG|APG|sigma|Lanczos|SGM|AYS|SNR|RMS|PCA|log|dB|GB|MB|MiB|GiB|CPU|GPU|RAM|SDXL|SD|TI|CN|TAE|EDM
    |safetensors|pickle|fp16|sha256|models|PNG|JPEG|WebP|GIF|MP4|HTML|ZIP|CSV|JSON|Ctrl\+Enter|Ctrl|Esc|Home|End
    |x_t|x0|Q|K|V|softmax|std|px|Latent|TAESD|max""",
    re.VERBOSE,
)
# Names of models and files, prompts and the values of fields are whatever they are.
# What the fake engine calls its models and what the prompt above says.
NAMES = re.compile(
    r"Small World is ready|a fox in the snow"
    r"|Fake|Tiny|test|dreamland-xl|old-model|ckpt|bare|[\w-]+(?:/[\w-]+)+|fox|AND|__wild__|words:1"
)
OWN = ".ls-example, .ls-asked, .ls-model-name, .ls-where, .ls-chips, textarea, [dir=auto], q, option, .ls-vocabulary"

SEEN = """(own) => {
  const said = new Set();
  const visible = (one) => one.checkVisibility({ checkVisibilityCSS: true });
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const { parentElement: parent, textContent } = walker.currentNode;
    if (/^(SCRIPT|STYLE|NOSCRIPT)$/.test(parent.tagName) || parent.closest(own)) continue;
    if (textContent.trim() && visible(parent)) said.add(textContent.trim());
  }
  for (const name of ["aria-label", "title", "placeholder"])
    for (const one of document.querySelectorAll(`[${name}]`))
      if (!one.closest(own) && visible(one)) said.add(one.getAttribute(name));
  return [...said];
}"""
CUT = """() => [...document.querySelectorAll("button, label > span, select, h1, h2, h3, .ls-pick, legend")]
  .filter((one) => one.checkVisibility({ checkVisibilityCSS: true }) && one.clientWidth)
  .filter((one) => !one.matches("[role=tab], .sr-only") && one.scrollWidth > one.clientWidth + 1)
  .filter((one) => getComputedStyle(one).overflowX !== "visible" || one.scrollWidth > one.clientWidth + 4)
  .map((one) => `${one.className} ${one.textContent.trim().slice(0, 60)}`)"""


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A studio of its own: prompts of other tests' pictures are English on the wall of the library."""
    yield from serve(tmp_path_factory)


def open_tab(page: Page, name: str) -> None:
    page.evaluate(
        """(name) => {
          const { label } = gradio_config.components.find((one) => one.props.id === name).props;
          const buttons = "#tabs [role=tab][data-tab-id]";
          [...document.querySelectorAll(buttons)].find((one) => one.textContent.trim() === label).click();
        }""",
        name,
    )
    label = column("zh" if page.evaluate("document.documentElement.lang") == "zh-CN" else "en")[f"tab.{name}"]
    expect(page.get_by_role("tab", name=label, selected=True)).to_have_count(1)
    page.wait_for_timeout(300)


def english(said: list[str]) -> list[str]:
    rest = {one: re.findall(r"[A-Za-z]{3,}", TERMS.sub(" ", NAMES.sub(" ", one))) for one in said}
    return [f"{one[:120]}: {words}" for one, words in rest.items() if words]


def visit(browser: Browser, studio: Studio, *, width: int = 1280, height: int = 900, locale: str = "zh-CN") -> Page:
    page = browser.new_context(viewport={"width": width, "height": height}, locale=locale).new_page()
    page.goto(studio.url)
    page.wait_for_function("document.querySelector('.ls-dot')?.dataset.state === 'ready'", timeout=120_000)
    return page


def test_no_english_is_left_on_any_tab_and_nothing_is_cut_off(browser: Browser, studio: Studio) -> None:
    page = visit(browser, studio)
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    page.fill("#text_to_image-prompt textarea", PROMPT)
    page.fill("#text_to_image-num_inference_steps input[type=number]", "4")
    page.click("#text_to_image-generate")
    expect(page.locator("#text_to_image-stage .ls-actions button:visible").first).to_be_visible()
    said: set[str] = set()
    cut = []
    for name in TABS:
        open_tab(page, name)
        page.evaluate(
            """() => { for (const fold of document.querySelectorAll(".ls-fold > button.label-wrap:not(.open)"))
              if (fold.checkVisibility()) fold.click(); }"""
        )
        page.wait_for_timeout(300)
        if name == "noise_viewer":
            page.click("#noise_viewer-last")
            page.locator(".ls-picks-mode button").last.click()
            page.wait_for_timeout(500)
        said |= set(page.evaluate(SEEN, OWN))
        cut += page.evaluate(CUT)
    page.context.close()
    assert len(said) > 200
    left = english(sorted(said))
    assert not left, left
    assert not cut, cut


def test_a_refused_field_and_the_dialogs_are_in_chinese(browser: Browser, studio: Studio) -> None:
    page = visit(browser, studio)
    page.fill("#text_to_image-width input", "513")
    page.click("#text_to_image-generate")
    expect(page.locator("#text_to_image-width .ls-problem")).to_have_text(
        "这里不允许 513。允许：64 到 2048 之间 8 的倍数。"
    )
    page.get_by_role("button", name="分享").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    said = page.evaluate(SEEN, OWN)
    page.context.close()
    left = english(said)
    assert not left, left


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_nothing_is_cut_off_on_a_phone(browser: Browser, studio: Studio, locale: str) -> None:
    page = visit(browser, studio, width=390, height=844, locale=locale)
    cut = []
    for name in TABS:
        open_tab(page, name)
        cut += page.evaluate(CUT)
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, name
    page.context.close()
    assert not cut, cut


def test_the_switch_is_remembered_and_keeps_what_was_typed(browser: Browser, studio: Studio) -> None:
    page = visit(browser, studio, locale="en-US")
    open_tab(page, "image_to_image")
    page.fill("#image_to_image-prompt textarea", "a fox")
    page.get_by_label("Language").select_option("zh")
    expect(page.get_by_role("tab", name="图生图", selected=True)).to_be_visible(timeout=60_000)
    expect(page.locator("#image_to_image-prompt textarea")).to_have_value("a fox")
    again = page.context.new_page()
    again.goto(studio.url)
    expect(again.get_by_role("tab", name="文生图")).to_be_visible(timeout=60_000)
    again.close()
    page.get_by_label("语言").select_option("en")
    ready(page)
    expect(page.locator("#image_to_image-prompt textarea")).to_have_value("a fox")
    page.context.close()
