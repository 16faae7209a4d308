"""What the prompt fields can do: weights by keys, names that are completed, what is wrong underlined."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import ready

Visitor = Callable[..., Page]


def prompt_of(page: Page, tab: str = "text_to_image") -> Locator:
    return page.locator(f"#{tab}-prompt textarea")


def weighed(page: Page, text: str, place: tuple[int, int], *keys: str) -> str:
    """The prompt after keys with Ctrl held, the caret or selection being at `place`."""
    field = prompt_of(page)
    field.fill(text)
    field.focus()
    field.evaluate("(field, [start, end]) => field.setSelectionRange(start, end)", list(place))
    for key in keys:
        page.keyboard.press(f"Control+{key}")
    return field.input_value()


def test_ctrl_and_an_arrow_change_the_weight_of_what_the_caret_is_in(visitor: Visitor) -> None:
    page = visitor()
    up, down = "ArrowUp", "ArrowDown"
    assert weighed(page, "a red fox, snow", (3, 3), up) == "a (red:1.1) fox, snow"
    assert weighed(page, "a red fox, snow", (3, 3), up, up, down) == "a (red:1.1) fox, snow"
    assert weighed(page, "a red fox, snow", (3, 3), up, down) == "a red fox, snow"  # 1 needs no brackets
    assert weighed(page, "a red fox, snow", (1, 9), down) == "a (red fox:0.9), snow"  # spaces stay outside
    assert weighed(page, "a (red (big:1.3) fox:0.5)", (9, 9), up) == "a (red (big:1.4) fox:0.5)"  # the innermost
    assert weighed(page, "a (red big fox:0.5)", (9, 9), up) == "a (red big fox:0.6)"
    assert weighed(page, r"a \\(red:2\\) fox", (5, 5), up).startswith(r"a \\((red")  # escaped ones are text
    assert weighed(page, "<lora:ink-lines:1> fox", (4, 4), up) == "<lora:ink-lines:1.05> fox"
    assert weighed(page, "<lora:ink-lines:0.8:0.5> fox", (4, 4), down) == "<lora:ink-lines:0.75:0.5> fox"
    assert weighed(page, "fox , snow", (4, 4), up) == "fox , snow"  # nothing to weigh
    assert weighed(page, "(fox:0.1)", (2, 2), down, down) == "(fox:0)"
    assert weighed(page, "(fox:9.95)", (2, 2), up, up) == "(fox:10)"
    weighed(page, "a red fox", (3, 3), up)
    page.keyboard.press("Control+z")
    expect(prompt_of(page)).to_have_value("a red fox")


def test_names_are_completed_and_unknown_ones_underlined(visitor: Visitor) -> None:
    page = visitor()
    field = prompt_of(page)
    offers = page.locator("#text_to_image-prompt .ls-offers li")
    field.focus()
    field.press_sequentially("a fox <ink")
    expect(offers).to_have_count(1)
    expect(offers.first).to_have_attribute("aria-selected", "true")
    expect(field).to_have_attribute("aria-activedescendant", str(offers.first.get_attribute("id")))
    page.keyboard.press("Enter")
    expect(field).to_have_value("a fox <lora:ink-lines:1> ink lines")  # with its trigger word
    expect(offers).to_have_count(0)
    field.press_sequentially(", __co")
    page.keyboard.press("Tab")
    expect(field).to_have_value("a fox <lora:ink-lines:1> ink lines, __colors__")
    field.press_sequentially(" <")
    expect(offers).to_have_count(1)
    page.keyboard.press("Escape")
    expect(offers).to_have_count(0)
    page.keyboard.press("Tab")
    expect(field).not_to_be_focused()  # without a list Tab is Tab

    marks = page.locator("#text_to_image-prompt .ls-marks mark")
    field.fill("(a fox <lora:nobody:1> __colors__ __none__ [x] smile :)")
    expect(marks).to_have_text(["<lora:nobody:1>", "__none__"])
    field.fill("((a fox) <hypernet:x:1>")
    expect(marks).to_have_text(["(", "<hypernet:x:1>"])
    text, mark = field.bounding_box(), marks.first.bounding_box()
    assert text is not None
    assert mark is not None
    assert text["x"] <= mark["x"] < text["x"] + 30  # under the first letter
    field.fill("a fox")
    expect(marks).to_have_count(0)
    tokens_are_counted_and_shown(page, field)
    the_drawer_puts_loras_in_and_weighs_them(page, field)
    tags_and_styles_are_completed(page, field)


def tokens_are_counted_and_shown(page: Page, field: Locator) -> None:
    counter = page.locator("#text_to_image-prompt .ls-count")
    ends = page.locator("#text_to_image-prompt .ls-chunk-end")
    pieces = page.locator("#text_to_image-prompt .ls-piece")
    expect(counter).to_have_text("2/75")
    counting = page.evaluate(
        "window.gradio_config.dependencies.filter((one) => one.api_name.startsWith('count')).map((one) => one.id)"
    )
    assert counting
    requests: list[int] = []
    page.on("request", lambda one: requests.append(one.post_data_json["fn_index"]) if "predict" in one.url else None)
    field.fill("")
    field.press_sequentially("one two three four five six seven eight nine ten")
    expect(counter).to_have_text("10/75")
    assert 1 <= sum(number in counting for number in requests) < 5  # not one for each of the 48 keys
    expect(pieces).to_have_count(0)
    counter.click()
    expect(counter).to_have_attribute("aria-pressed", "true")
    expect(pieces).to_have_count(10)
    expect(pieces.nth(2)).to_have_text("three")
    field.fill("word " * 80)
    expect(counter).to_have_text("80/150")
    expect(ends).to_have_count(1)
    field.press("Control+Home")
    page.keyboard.insert_text("fresh ")
    expect(counter).to_have_text("81/150")
    words = "[...document.querySelector('#text_to_image-prompt .ls-marks').childNodes]"
    chunk = f"{words}.slice(0, {words}.findIndex((one) => one.className === 'ls-chunk-end'))"
    assert page.evaluate(f"{chunk}.map((one) => one.textContent).join('').trim().split(' ').length") == 75
    layer = "#text_to_image-prompt .ls-marks"
    for zoom in ("1.5", "1"):
        page.evaluate("(zoom) => { document.body.style.zoom = zoom }", zoom)
        field.evaluate("(field) => { field.scrollTop = 9999 }")
        page.wait_for_function(
            "(css) => { const [layer, field] = [css, '#text_to_image-prompt textarea'].map(one => "
            "document.querySelector(one)); return Math.abs(layer.scrollTop - field.scrollTop) < 2 "
            "&& layer.scrollHeight === field.scrollHeight && layer.clientWidth === field.clientWidth }",
            arg=layer,
        )
    counter.click()
    expect(pieces).to_have_count(0)
    field.fill("")
    expect(counter).to_be_hidden()


def the_drawer_puts_loras_in_and_weighs_them(page: Page, field: Locator) -> None:
    workspace = page.locator("#text_to_image-workspace")
    fold = workspace.get_by_role("button", name="LoRAs and embeddings")
    field.fill("a fox # a remark")
    fold.click()
    card = workspace.locator(".ls-card", has_text="ink-lines")
    expect(card).to_have_attribute("aria-pressed", "false")
    page.wait_for_function("document.querySelector('.ls-card img')?.naturalWidth > 0")
    card.focus()
    page.keyboard.press("Enter")
    expect(field).to_have_value("a fox <lora:ink-lines:1> ink lines # a remark")
    expect(card).to_have_attribute("aria-pressed", "true")
    expect(fold).to_have_text("LoRAs and embeddings (1)")
    slider = workspace.get_by_role("slider", name="Weight of ink-lines")
    slider.focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    expect(field).to_have_value("a fox <lora:ink-lines:0.85> ink lines # a remark")
    expect(slider).to_be_focused()
    words = workspace.get_by_role("group", name="Words of ink-lines").get_by_role("button")
    expect(words).to_have_text(["ink lines", "fox", "snow"])
    words.nth(2).click()
    expect(field).to_have_value("a fox <lora:ink-lines:0.85> ink lines, snow # a remark")
    field.fill("a <lora:INK-lines.safetensors:0.5:1> fox")  # as typed by hand, with a weight of its own for the U-Net
    expect(slider).to_have_value("0.5")
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(field).to_have_value("a <lora:INK-lines.safetensors:0.55:1> fox")
    workspace.get_by_role("button", name="Take ink-lines out").click()
    expect(field).to_have_value("a fox")
    expect(slider).to_have_count(0)


def tags_and_styles_are_completed(page: Page, field: Locator) -> None:
    offers = page.locator("#text_to_image-prompt .ls-offers li")
    line = page.locator("#text_to_image-workspace .ls-tag-file")
    bad = {"name": "bad.csv", "mimeType": "text/csv", "buffer": b"\x00\x01"}
    line.locator("input").set_input_files(bad)  # type: ignore[arg-type]
    expect(line).to_contain_text("bad.csv has no tags")
    rows = 'name,type,count,aliases\nlong_hair,0,900,"longhair,very_hair"\nlong_sleeves,0,950,\n^_^,0,5,\n'
    rows += 'fox_(animal),0,20,"kitsune"\n'
    file = {"name": "danbooru.csv", "mimeType": "text/csv", "buffer": rows.encode()}
    line.locator("input").set_input_files(file)  # type: ignore[arg-type]
    expect(line).to_contain_text("danbooru.csv completes 4 tags")
    field.fill("")
    field.focus()
    field.press_sequentially("a fox, long h")  # a phrase goes on, not only its last word
    expect(offers).to_have_count(1)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(field).to_have_value("a fox, long hair")
    field.press_sequentially(", kits")
    expect(offers).to_contain_text("fox_(animal)")
    offers.first.click()
    expect(field).to_have_value(r"a fox, long hair, fox \(animal\)")
    field.fill("")
    field.press_sequentially("ink")  # the trigger word of a LoRA
    expect(offers.first).to_contain_text("ink-lines")
    offers.first.click()
    expect(field).to_have_value("ink lines")
    page.evaluate("fetch('styles', {method: 'POST', body: JSON.stringify({name: 'Oil', prompt: 'in oil, {prompt}'})})")
    page.reload()
    ready(page)
    field.fill("")
    field.focus()
    field.press_sequentially("a fox, long_s")
    expect(offers).to_have_text(["long_sleeves950"])  # the file of tags is still there
    page.keyboard.press("Escape")
    field.fill("a fox, ")
    field.press("Control+End")
    field.press_sequentially("oil")
    expect(offers.first).to_contain_text("Oil")
    offers.first.click()
    expect(field).to_have_value("in oil, a fox, ")
    page.evaluate("fetch('styles', {method: 'POST', body: JSON.stringify({delete: 'Oil'})})")
